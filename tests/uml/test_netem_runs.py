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
    f"timing.late={LATE_NS}ns",
    f"uplink.latency={LATENCY_NS}ns",
    "uplink.latency_backend=netem",
)
Summary = Mapping[str, Any]


def command(profile: str, *overrides: str) -> list[str]:
    words = [sys.executable, "-m", "harness", "run", profile, "--results", str(SCRATCH / "results")]
    return [*words, *(word for override in (*SLOW, *overrides) for word in ("--set", override))]


def summaries(folder: Path) -> dict[tuple[str, str], Summary]:
    """By profile and mode; the last of each, where there are several."""
    found = [json.loads(path.read_bytes()) for path in sorted(folder.glob("results/*/*/summary.json"))]
    return {(summary["profile"], summary["mode"]): summary for summary in found}


@pytest.fixture(scope="module")
def carried_out(folder: Path) -> tuple[dict[tuple[str, str], Summary], Ended]:
    """Every run of the module. What is INVALID for once is repeated once: the machine below the guest may be busy."""
    modes = ", ".join(f'"{mode}"' for mode in MODES)
    ended, _ = boot(
        folder,
        [command("profiles/smoke.toml", f"migration.modes=[{modes}]"), ["cp", "-r", f"{SCRATCH}/results", str(OUT)]],
        150,
    )
    return summaries(folder), ended


@pytest.fixture(params=MODES)
def smoke(request: pytest.FixtureRequest, carried_out: tuple[dict[tuple[str, str], Summary], Ended]) -> Summary:
    found, ended = carried_out
    assert ended.exit_status == 0, ended.output
    assert ("smoke", request.param) in found, ended.output
    return found["smoke", request.param]


pytestmark = pytest.mark.timeout(30, func_only=True)  # the guest has a deadline of its own


def test_a_run_is_valid_and_loses_nothing(smoke: Summary) -> None:
    assert smoke["validity"] == {"verdict": "VALID", "reasons": []}
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
