"""Whole runs in the guest, as a user starts them, with the kernel's netem in the links."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.uml.boot import OUT, SCRATCH, Ended, boot

MODES = ("none", "statelet", "duplication")
LATENCY_NS, LATE_NS = 5_000_000, 30_000_000
# A system call costs the guest 15 us, where a kernel of its own takes a hundredth of that, and it has one CPU for the
# five processes of a run: hence a twentieth of the profile's load, and links of 5 ms, whose base RTT the guest's own
# 1.1 ms are no tenth of.
SLOW = (
    "load.rate=1M",
    "load.new_flows_per_s=2",
    "timing.interval=500ms",
    "timing.wait_for_replies=2s",
    f"timing.late={LATE_NS}ns",
    f"uplink.latency={LATENCY_NS}ns",
    "uplink.latency_backend=netem",
)
STARVED = ("generator late", "generator stood still", "CPU time stolen", " waited for a CPU")
"""In the reasons of a run whose processes were not given their CPU in time."""
Summary = Mapping[str, Any]


IMPAIRED = Path(__file__).with_name("impaired.toml")


def command(profile: str | Path, *overrides: str) -> list[str]:
    # A calibration would find the guest's own 1.1 ms in every link, and its host's other work in their rates.
    words = [sys.executable, "-m", "harness", "run", str(profile), "--results", str(SCRATCH / "results")]
    words += ["--calibration", "off"]
    return [*words, *(word for override in overrides for word in ("--set", override))]


def summaries(folder: Path) -> dict[tuple[str, str], Summary]:
    """By profile and mode; the last of each, where there are several."""
    found = [json.loads(path.read_bytes()) for path in sorted(folder.glob("results/*/*/summary.json"))]
    return {(summary["profile"], summary["mode"]): summary for summary in found}


@pytest.fixture(scope="module")
def carried_out(folder: Path) -> tuple[dict[tuple[str, str], Summary], Ended]:
    """Every run of the module, and how the first command ended."""
    modes = ", ".join(f'"{mode}"' for mode in MODES)
    runs = [command("profiles/smoke.toml", *SLOW, f"migration.modes=[{modes}]"), command(IMPAIRED)]
    ended = boot(folder, [*runs, ["cp", "-r", f"{SCRATCH}/results", str(OUT)]], 300)
    return summaries(folder), ended[0]


@pytest.fixture(params=MODES)
def smoke(request: pytest.FixtureRequest, carried_out: tuple[dict[tuple[str, str], Summary], Ended]) -> Summary:
    found, ended = carried_out
    assert ended.exit_status == 0, ended.output
    assert ("smoke", request.param) in found, ended.output
    return found["smoke", request.param]


pytestmark = pytest.mark.timeout(30, func_only=True)  # the guest has a deadline of its own


def test_a_run_is_valid_and_loses_nothing(smoke: Summary) -> None:
    # What the machine did not give the guest is no fault of its links; nothing else may be wrong.
    reasons = smoke["validity"]["reasons"]
    assert [reason for reason in reasons if not any(words in reason for words in STARVED)] == []
    assert smoke["validity"]["verdict"] == ("INVALID" if reasons else "VALID")
    assert smoke["calibration"]["latency_backend"] == "netem"
    assert (smoke["window"]["lost_packets"], smoke["total"]["lost_packets"]) == (0, 0)
    assert smoke["window"]["intended_packets"] > 300


def test_the_links_make_the_base_rtt(smoke: Summary) -> None:
    added_ns = smoke["calibration"]["base_rtt_median_ns"] - 4 * LATENCY_NS
    assert 0 < added_ns < 2_000_000


def test_every_packet_is_in_one_row_of_the_ledger(smoke: Summary) -> None:
    rows = {row["name"]: row["echo_packets"] + row["server_packets"] for row in smoke["ledger"]["rows"]}
    assert rows["delivered"] + rows["late"] == sum(rows.values())
    assert rows["delivered"] > 0.9 * sum(rows.values())
    assert {invariant["verdict"] for invariant in smoke["invariants"]} == {"holds"}


def test_both_modes_migrate(carried_out: tuple[dict[tuple[str, str], Summary], Ended]) -> None:
    found, ended = carried_out
    for mode in MODES[1:]:
        migration = found["smoke", mode]["migration"]
        assert migration["outcome"] == "completed", ended.output
        assert migration["snapshot_bytes"] > 1 << 20
        # Of every round trip between the instances the links make 4 x 5 ms.
        assert migration["duration_ns"] > 4 * LATENCY_NS


def test_links_that_are_impaired_and_change_under_the_load_lose_what_the_profile_says(
    carried_out: tuple[dict[tuple[str, str], Summary], Ended],
) -> None:
    found, _ = carried_out
    run = found["impaired", "none"]
    # Whether the guest kept its time is not the question here: no promise may be broken, and none unchecked.
    reasons = run["validity"]["reasons"]
    assert run["validity"]["verdict"] != "FAILED", reasons
    assert {invariant["verdict"] for invariant in run["invariants"]} == {"holds"}
    rows = {row["name"]: row["echo_packets"] + row["server_packets"] for row in run["ledger"]["rows"]}
    intended = run["ledger"]["echo_intended_packets"] + run["ledger"]["server_intended_packets"]
    assert sum(rows.values()) == intended
    assert rows["unexplained"] == 0
    if starved := [reason for reason in reasons if not reason.startswith("end of the load")]:
        pytest.skip(f"the machine did not give the guest its time: {'; '.join(starved)}")
    assert [step["error"] for step in run["impairments"][:4]] == [None] * 4
    # 300 ms of 244 requests and 50 packets of the server a second, and what was under way on both sides of them.
    assert 70 <= rows["link_down"] <= 140
    # Of some 900 packets that the echoserver sends 5 % are lost: within five standard deviations.
    assert 45 - 33 <= rows["impairment"] <= 45 + 33
    assert run["ledger"]["duplicate_packets"] == 0
    # In 500 ms at 1 Mbit/s, 2 Mbit/s do not pass: they wait, and beyond 20 KiB they are dropped.
    assert 10 <= rows["meter"] <= 150
    assert rows["late"] > 20
    assert {name for name, packets in rows.items() if packets} <= {
        *("delivered", "late", "link_down", "impairment", "meter"),
    }
