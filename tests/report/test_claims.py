"""Every claim against results that confirm it, contradict it, and do not contain it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from harness.record.sweep import Results
from harness.report.claims import RULES, Claim, claims
from tests.report.published import Place, published
from tests.report.sweeps import cell, result, results, summary

NEVER_MEASURABLE = "priority-fails"
IDS = [rule.id for rule in RULES if rule.id != NEVER_MEASURABLE]
ABORTED = {"verdict": "FAILED", "outcome": "aborted", "duration_ns": None}


def judged(found: Results) -> dict[str, Claim]:
    return {claim.id: claim for claim in claims(found)}


def at(
    image: str, mode: str, *loads: int, frame: int | None = None, **changed: Any
) -> Callable[[Place], dict[str, Any]]:
    """Different figures at some loads (all when none is given)."""

    def alter(place: Place) -> dict[str, Any]:
        here = (place.image, place.mode) == (image, mode) and (not loads or place.load in loads)
        return changed if here and frame in (None, place.frame) else {}

    return alter


def without(image: str, mode: str, wanted: Callable[[int], bool] = lambda load: True) -> Callable[[Place], dict | None]:
    """Nothing measured at some loads."""

    def alter(place: Place) -> dict | None:
        return None if (place.image, place.mode) == (image, mode) and wanted(place.load) else {}

    return alter


BROKEN: dict[str, Callable[[Place], dict[str, Any] | None]] = {
    "low-rates-loss": at("nat", "duplication", 200, frame=512, loss_s=0.2),
    "low-rates-late": at("nat", "statelet", 100, frame=1400, rtt_late_s=0.2),
    "duplication-starts-loss": at("nat", "duplication", 300, frame=512, loss_s=0.0),
    "duplication-starts-late": at("nat", "duplication", 300, frame=1400, rtt_late_s=0.01),
    "statelet-no-loss": at("nat", "statelet", 700, frame=512, loss_s=0.1),
    "statelet-not-late": at("nat", "statelet", 800, rtt_late_s=0.1),
    "duplication-outage": at("nat", "duplication", 800, loss_s=0.2),
    "duplication-last-loss": at("nat", "duplication", 950, loss_s=1.0),
    "duplication-last-late": at("nat", "duplication", 950, rtt_late_s=9.0),
    "statelet-fails": at("nat", "statelet", 500, loss_s=0.1),
    "late-clearly-better": at("nat", "statelet", 300, rtt_late_s=0.14),
    "pg-small-loss": at("pg", "statelet", 800, loss_s=0.5),
    "pg-loss-cause": at("pg", "statelet", 700, ledger={"wrong_cell": 10, "meter": 300}),
    "loss-indicates-failure": at("nat", "statelet", 500, **ABORTED),
    "eventual-success": at("nat", "duplication", 800, **ABORTED),
    "baseline-rtt": at("nat", "none", 500, rtt_p50_ns=14_000_000),
    "duplication-delays": at("nat", "duplication", 400, largest_bin_mean_rtt_ns=10_000_000.0),
    "pkt-q-delays": at("nat", "duplication", 400, pkt_q_max_packets={"interior": 10}),
    "statelet-large-rtt": at("nat", "statelet", 600, largest_bin_mean_rtt_ns=30_000_000.0),
    "statelet-rtt-bounded": at("nat", "statelet", 950, largest_bin_mean_rtt_ns=200_000_000.0),
    "pkt-q-overflow": at("nat", "duplication", 500, pkt_q_max_packets={"interior": 500}, ledger={"meter": 1}),
    "overflow-loses": at("nat", "duplication", 600, loss_s=0.01),
    "short-at-low-rates": at("nat", "duplication", 100, duration_ns=1_500_000_000),
    "duplication-grows": at("nat", "duplication", 800, duration_ns=1_000_000_000),
    "duplication-duration": at("nat", "duplication", 800, duration_ns=2_000_000_000),
    "statelet-duration": at("nat", "statelet", 800, duration_ns=1_100_000_000),
    "a-third-of-the-time": at("nat", "statelet", 600, duration_ns=3_000_000_000),
    "utilisation-tripled": at("nat", "statelet", 300, loss_s=0.2),
    "pg-duration": at("pg", "statelet", 900, duration_ns=9_000_000_000),
    "pg-tendency": at("pg", "statelet", duration_ns=350_000_000),
    "pg-statelets": at("pg", "statelet", 500, statelets=50_000),
    "snapshot-baseline": at("nat", "statelet", 100, statelet_stream_bytes=20_000_000),
    "pg-traffic": at("pg", "statelet", 900, statelet_stream_bytes=9_000_000),
    "less-traffic": at("nat", "statelet", 200, statelet_stream_bytes=60_000_000),
    "in-order": at("nat", "statelet", 300, reordered_packets=1),
}
ABSENT: dict[str, Callable[[Place], dict[str, Any] | None]] = {
    "low-rates-loss": without("nat", "duplication", lambda load: load < 300),
    "low-rates-late": without("nat", "statelet", lambda load: load < 300),
    "duplication-starts-loss": without("nat", "duplication", lambda load: load == 300),
    "duplication-starts-late": without("nat", "duplication", lambda load: load == 300),
    "statelet-no-loss": without("nat", "statelet", lambda load: load == 800),
    "statelet-not-late": without("nat", "statelet", lambda load: load >= 800),
    "duplication-outage": without("nat", "duplication", lambda load: load == 800),
    "duplication-last-loss": without("nat", "duplication", lambda load: load > 850),
    "duplication-last-late": without("nat", "duplication", lambda load: load > 850),
    "statelet-fails": without("nat", "statelet", lambda load: load > 800),
    "late-clearly-better": without("nat", "duplication", lambda load: load > 200),
    "pg-small-loss": without("pg", "statelet", lambda load: load > 500),
    "pg-loss-cause": at("pg", "statelet", ledger={"wrong_cell": 0}),
    "loss-indicates-failure": without("nat", "duplication", lambda load: load > 300),
    "eventual-success": lambda place: {} if place.load <= 500 else None,
    "baseline-rtt": without("nat", "none"),
    "duplication-delays": without("nat", "statelet"),
    "pkt-q-delays": without("nat", "duplication", lambda load: load >= 300),
    "statelet-large-rtt": without("nat", "statelet", lambda load: load > 850),
    "statelet-rtt-bounded": without("nat", "statelet", lambda load: load > 850),
    "pkt-q-overflow": without("nat", "duplication", lambda load: load > 300),
    "overflow-loses": without("nat", "duplication", lambda load: load > 300),
    "short-at-low-rates": without("nat", "duplication", lambda load: load == 100),
    "duplication-grows": without("nat", "duplication", lambda load: load not in (100, 800)),
    "duplication-duration": without("nat", "duplication", lambda load: load == 800),
    "statelet-duration": without("nat", "statelet", lambda load: load == 800),
    "a-third-of-the-time": without("nat", "duplication", lambda load: load >= 500),
    "utilisation-tripled": without("nat", "duplication", lambda load: load in (200, 300, 400)),
    "pg-duration": without("nat", "statelet"),
    "pg-tendency": without("pg", "statelet", lambda load: load > 600),
    "pg-statelets": without("pg", "statelet"),
    "snapshot-baseline": at("nat", "statelet", filler_bytes=1_000_000),
    "pg-traffic": without("pg", "statelet", lambda load: load != 400),
    "less-traffic": without("nat", "duplication"),
    "in-order": lambda place: None if place.load != 100 else {"verdict": "INVALID"},
}


@pytest.fixture(scope="module")
def confirmed() -> dict[str, Claim]:
    return judged(published())


def test_every_claim_is_tested_here_and_named_once() -> None:
    assert sorted(BROKEN) == sorted(ABSENT) == sorted(IDS)
    assert len({rule.id for rule in RULES}) == len(RULES)


@pytest.mark.parametrize("name", IDS)
def test_published_results_confirm(name: str, confirmed: dict[str, Claim]) -> None:
    claim = confirmed[name]
    assert claim.verdict == "holds", claim
    assert "n = " in claim.measured or any(digit in claim.measured for digit in "0123456789")
    assert claim.detail.startswith("rule: ")


@pytest.mark.parametrize("name", IDS)
def test_a_counterexample_refutes(name: str) -> None:
    claim = judged(published(BROKEN[name]))[name]
    assert claim.verdict == "does not hold", claim
    assert claim.measured != "-"


@pytest.mark.parametrize("name", IDS)
def test_what_was_not_measured_is_never_guessed(name: str) -> None:
    claim = judged(published(ABSENT[name]))[name]
    assert claim.verdict == "not measurable here", claim
    assert "missing: " in claim.detail or "left out" in claim.detail or "too far apart" in claim.measured


def test_a_profile_with_priorities_does_not_exist(confirmed: dict[str, Claim]) -> None:
    assert confirmed[NEVER_MEASURABLE].verdict == "not measurable here"


def test_nothing_measured_is_no_verdict_on_anything() -> None:
    found = claims(results(result(cell(), summary(verdict="INVALID"))))
    assert {claim.verdict for claim in found} == {"not measurable here"}
    assert {claim.measured for claim in found} == {"-"}


def test_a_scaled_experiment_is_read_on_the_papers_axis(confirmed: dict[str, Claim]) -> None:
    quarter = judged(published(scale=0.25))
    assert {name: claim.verdict for name, claim in quarter.items()} == {
        name: claim.verdict for name, claim in confirmed.items()
    }
    assert "nat 512 B statelet 800M" in quarter["statelet-no-loss"].measured


def test_a_failed_run_refutes_what_must_be_seamless() -> None:
    claim = judged(published(at("nat", "statelet", 500, frame=512, verdict="FAILED")))["statelet-no-loss"]
    assert claim.verdict == "does not hold"
    assert claim.measured.startswith("nat 512 B statelet 500M: 1 of 1 runs FAILED")


def test_one_size_that_contradicts_is_enough_and_one_that_agrees_is_not() -> None:
    def only(frame: int, **changed: Any) -> Callable[[Place], dict[str, Any] | None]:
        return lambda place: (changed if place.load == 300 else {}) if place.frame == frame else None

    contradicted = judged(published(only(1400, loss_s=0.001)))["duplication-starts-loss"]
    assert contradicted.verdict == "does not hold"
    agreed = judged(published(only(1400)))["duplication-starts-loss"]
    assert agreed.verdict == "not measurable here"
    assert "nat 512 B duplication 300M: not measured" in agreed.detail
    assert "nat 1400 B duplication 300M: 0.050 s" in agreed.measured


def test_where_the_control_is_as_late_nothing_can_be_said() -> None:
    late = {"rtt_late_s": 0.2}
    claim = judged(
        published(
            lambda place: late if place.image == "nat" and place.load == 600 and place.mode != "duplication" else {}
        )
    )["statelet-not-late"]
    assert claim.verdict == "not measurable here"
    assert "control alone shows 0.200 s" in claim.measured


def test_the_ratio_is_a_range_where_loads_are_far_apart() -> None:
    def only(*loads: int) -> Claim:
        return judged(published(lambda place: {} if place.load in loads else None))["utilisation-tripled"]

    fine, coarse, one_sided = only(200, 300, 800, 900), only(100, 500, 800, 950), only(200, 300, 800)
    assert "ratio 2.67 to 4.50" in fine.measured
    assert "ratio 1.60 to 9.50" in coarse.measured
    assert (fine.verdict, coarse.verdict) == ("holds", "not measurable here")
    assert "ratio at least 2.67" in one_sided.measured


def test_repetitions_show_their_interval_and_significance() -> None:
    found = judged(published(repetitions=5))
    assert "+- 0.000 s (n = 5)" in found["duplication-outage"].measured
    assert "p = 0.0" in found["less-traffic"].measured


def test_overlapping_repetitions_are_no_significant_difference() -> None:
    base = published(lambda place: {} if place.load == 300 and place.image == "nat" else None, repetitions=5)
    changed = []
    for item in base.results:
        assert item.summary is not None
        if item.mode == "statelet" and item.repetition > 2:
            more = item.summary.migration.model_copy(update={"statelet_stream_bytes": 90_000_000})
            item = replace(item, summary=item.summary.model_copy(update={"migration": more}))
        changed.append(item)
    assert judged(replace(base, results=tuple(changed)))["less-traffic"].verdict == "does not hold"


def test_superseded_runs_do_not_count() -> None:
    bad = replace(result(cell(load_m=800), summary(loss_s=5.0), 2), superseded=True)
    good = result(cell(load_m=800), summary(loss_s=0.0), 2, attempt=2)
    claim = judged(results(bad, good))["statelet-no-loss"]
    assert claim.verdict == "holds"
    assert "(n = 1)" in claim.measured


@pytest.mark.parametrize(
    ("changed", "at_cell", "said"),
    [
        ({"filler_bytes": 1_000_000}, {}, "filler of 1 MB"),
        ({"calibration": {"base_rtt_expected_ns": 20_000_000}}, {}, "base RTT of 20 ms"),
        ({}, {"frame_bytes": 300}, "not of the paper's evaluation"),
    ],
)
def test_cells_of_another_kind_are_left_out_and_said(changed: dict, at_cell: dict, said: str) -> None:
    claim = judged(results(result(cell(load_m=800, **at_cell), summary(loss_s=0.0, **changed))))["statelet-no-loss"]
    assert claim.verdict == "not measurable here"
    assert said in claim.detail


def test_two_profiles_at_the_same_load_are_not_mixed() -> None:
    cells = [cell(load_m=800, settings={"load.arrivals": name}) for name in ("constant", "poisson")]
    claim = judged(results(*(result(one, summary(loss_s=0.0)) for one in cells)))["statelet-no-loss"]
    assert claim.verdict == "not measurable here"
    assert "2 different profiles at this load" in claim.detail


def test_a_load_between_two_of_the_grid_stands_for_neither() -> None:
    claim = judged(results(*(result(cell(load_m=load), summary(loss_s=0.0)) for load in (780, 820))))[
        "statelet-no-loss"
    ]
    assert claim.verdict == "not measurable here"
    assert judged(results(result(cell(load_m=803), summary(loss_s=0.0))))["statelet-no-loss"].verdict == "holds"
