from __future__ import annotations

from dataclasses import replace

import pytest

from harness.measure.invariants import Invariant
from harness.measure.validity import RunConditions, ValidityLimits, decide_validity

GOOD = RunConditions(
    unsent_packets=0,
    send_lateness_p99_ns=200_000,
    send_lateness_max_ns=5_000_000,
    meter_burst_ns=20_000_000,
    loadgen_kernel_dropped_packets=0,
    echoserver_kernel_dropped_packets=0,
    run_delay_fractions={"loadgen": 0.02, "source": 0.01},
    steal_fraction=0.0,
    base_rtt_median_ns=10_260_000,
    base_rtt_expected_ns=10_000_000,
    migration_outcome="completed",
    migration_reason="",
    invariants=(Invariant("x", "holds", ""),),
)


def test_good_run_is_valid_without_reasons() -> None:
    assert decide_validity(GOOD) == decide_validity(GOOD, ValidityLimits())
    assert (decide_validity(GOOD).verdict, decide_validity(GOOD).reasons) == ("VALID", ())


def test_without_a_load_of_ours_the_generator_is_not_judged() -> None:
    nothing = {
        "unsent_packets": None,
        "send_lateness_p99_ns": None,
        "send_lateness_max_ns": None,
        "loadgen_kernel_dropped_packets": None,
    }
    unmeasured = replace(GOOD, **nothing, echoserver_kernel_dropped_packets=None)
    assert decide_validity(replace(unmeasured, has_generator=False)).verdict == "VALID"
    assert len(decide_validity(unmeasured).reasons) == 5
    assert decide_validity(replace(unmeasured, has_generator=False, steal_fraction=0.2)).verdict == "INVALID"


@pytest.mark.parametrize(
    ("changed", "verdict", "texts"),
    [
        ({"failures": ["client: exit status 1"]}, "FAILED", ["client: exit status 1"]),
        ({"doubts": ["client: too early"]}, "INVALID", ["client: too early"]),
        ({"unsent_packets": 3}, "INVALID", ["3 packets, limit 0 packets"]),
        ({"send_lateness_p99_ns": 7_500_000}, "INVALID", ["7.5 ms, limit 5 ms"]),
        ({"send_lateness_max_ns": 20_000_001}, "INVALID", ["beyond the meter's: 20 ms, limit 20 ms"]),
        ({"send_lateness_max_ns": 60_800_000}, "INVALID", ["60.8 ms, limit 20 ms"]),
        ({"send_lateness_max_ns": 60_800_000, "meter_burst_ns": 100_000_000}, "VALID", []),
        ({"loadgen_kernel_dropped_packets": 1}, "INVALID", ["loadgen"]),
        ({"echoserver_kernel_dropped_packets": 1}, "INVALID", ["echoserver"]),
        ({"run_delay_fractions": {"source": 0.4}}, "INVALID", ["source waited for a CPU: 40 %", "limit 25 %"]),
        ({"run_delay_fractions": {"source": None}}, "INVALID", ["not measured"]),
        ({"steal_fraction": 0.2}, "INVALID", ["20 %, limit 10 %"]),
        ({"steal_fraction": None}, "INVALID", ["not measured"]),
        ({"base_rtt_median_ns": 8_500_000}, "INVALID", ["1.5 ms, limit 1 ms"]),
        ({"base_rtt_median_ns": 11_000_001}, "INVALID", ["1 ms, limit 1 ms"]),
        ({"base_rtt_median_ns": 11_500_000, "late_ns": 60_000_000}, "INVALID", ["1.5 ms, limit 1 ms"]),
        ({"base_rtt_median_ns": 42_000_000, "base_rtt_expected_ns": 40_000_000}, "INVALID", ["2 ms, limit 1 ms"]),
        (
            {"base_rtt_median_ns": 44_000_000, "base_rtt_expected_ns": 40_000_000, "late_ns": 60_000_000},
            "VALID",
            [],
        ),
        (
            {"base_rtt_median_ns": 44_000_000, "base_rtt_expected_ns": 40_000_000, "late_ns": 50_000_000},
            "INVALID",
            ["4 ms, limit 2 ms"],
        ),
        ({"base_rtt_median_ns": 11_500_000, "base_rtt_tolerance_ns": 500_000}, "VALID", []),
        ({"base_rtt_median_ns": 11_500_001, "base_rtt_tolerance_ns": 500_000}, "INVALID", ["limit 1.5 ms"]),
        ({"contends_on_purpose": True}, "VALID", []),
        (
            {"contends_on_purpose": True, "unsent_packets": 3},
            "INVALID",
            ["3 packets, limit 0 packets (under the CPU contention that was asked for)"],
        ),
        ({"base_rtt_median_ns": None}, "INVALID", ["not measured"]),
        ({"base_rtt_median_ns": None, "base_rtt_expected_ns": None}, "VALID", []),
        ({"migration_outcome": "none"}, "VALID", []),
        ({"migration_outcome": "aborted", "migration_reason": "deadline"}, "FAILED", ["aborted: deadline"]),
        ({"migration_outcome": "failed"}, "FAILED", ["no reason recorded"]),
        ({"invariants": (Invariant("x", "broken", "why"),)}, "FAILED", ["x: broken (why)"]),
        ({"invariants": (Invariant("x", "unknown", "why"),)}, "INVALID", ["x: unknown (why)"]),
    ],
)
def test_each_figure_decides(changed, verdict, texts) -> None:
    found = decide_validity(replace(GOOD, **changed))
    assert found.verdict == verdict
    assert bool(found.reasons) == (verdict != "VALID")
    for text in texts:
        assert text in " ".join(found.reasons)


def test_failed_wins_and_keeps_every_reason() -> None:
    found = decide_validity(replace(GOOD, unsent_packets=1, migration_outcome="failed", migration_reason="x"))
    assert (found.verdict, len(found.reasons)) == ("FAILED", 2)


def test_the_limit_itself_is_allowed() -> None:
    at = replace(GOOD, steal_fraction=0.10, send_lateness_p99_ns=5_000_000, base_rtt_median_ns=11_000_000)
    assert decide_validity(at).verdict == "VALID"
