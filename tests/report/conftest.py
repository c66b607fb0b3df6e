from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from harness.record.rundir import RunDirectory
from harness.record.summary import (
    ExperimentRun,
    ExperimentSummary,
    InvariantSummary,
    LedgerRowSummary,
    LedgerSummary,
    LoadSummary,
    MigrationSummary,
    RunSummary,
    TrafficSummary,
    ValiditySummary,
)

TRAFFIC = dict.fromkeys(TrafficSummary.model_fields) | {
    "window_ns": 15_000_000_000,
    "intended_packets": 1000,
    "delivered_packets": 998,
    "lost_packets": 2,
    "late_packets": 5,
    "lossy_intervals": 1,
    "lossy_intervals_s": 0.1,
    "duplicate_packets": 0,
    "reordered_packets": 0,
    "reordered_flows": 0,
    "server_intended_packets": 10,
    "server_delivered_packets": 10,
    "server_lost_packets": 0,
    "server_duplicate_packets": 0,
    "offered_bps": 600e6,
    "rtt_p50_ns": 10_250_000,
}

RunFactory = Callable[..., RunSummary]


def make_run(mode: str = "statelet", **changed: object) -> RunSummary:
    traffic = {key: changed.pop(key) for key in list(changed) if key in TRAFFIC}
    fields: dict[str, object] = {
        "run_id": "abc",
        "profile": "nat_1400B",
        "mode": mode,
        "started_utc": "2026-01-01T00:00:00+00:00",
        "validity": ValiditySummary(verdict="VALID"),
        "load": LoadSummary(offered_bps=600_000_000, frame_bytes=1400),
        "window": TrafficSummary(**{**TRAFFIC, **traffic}),
        "migration": MigrationSummary(outcome="none" if mode == "none" else "completed"),
        "invariants": (InvariantSummary(name="external mappings unchanged", verdict="holds", detail="128 flows"),),
        "ledger": LedgerSummary(
            echo_intended_packets=1000,
            server_intended_packets=10,
            rows=(
                LedgerRowSummary(name="delivered", echo_packets=993, server_packets=10),
                LedgerRowSummary(name="late", echo_packets=5, server_packets=0),
                LedgerRowSummary(name="meter", echo_packets=0, server_packets=0),
                LedgerRowSummary(
                    name="vnf_refusal",
                    echo_packets=2,
                    server_packets=0,
                    reasons=(LedgerRowSummary(name="pool [full]", echo_packets=2, server_packets=0),),
                ),
                LedgerRowSummary(name="unexplained", echo_packets=0, server_packets=0),
            ),
        ),
    }
    return RunSummary(**{**fields, **changed})


@pytest.fixture(scope="session")
def run() -> RunFactory:
    return make_run


@pytest.fixture
def experiment(tmp_path: Path) -> RunDirectory:
    """A finished experiment of three modes."""
    directory = RunDirectory.create(tmp_path, "nat_1400B", "abc")
    entries = []
    for number, mode in enumerate(["duplication", "statelet", "none"], 1):
        folder = directory.run(number, mode)
        folder.write_json("summary.json", make_run(mode, lost_packets=number))
        entries.append(ExperimentRun(folder=folder.path.name, mode=mode, verdict="VALID"))
    summary = ExperimentSummary(
        experiment_id="abc",
        profile="nat_1400B",
        started_utc="2026-01-01T00:00:00+00:00",
        ended_utc="2026-01-01T00:01:00+00:00",
        completed=True,
        runs=tuple(entries),
    )
    directory.write_json("summary.json", summary)
    return directory
