from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from pydantic import ValidationError

from harness.errors import UsageError
from harness.measure.hops import HopCounters, InstanceCounters
from harness.measure.host import HostLoad, ProcessLoad
from harness.measure.invariants import Invariant
from harness.measure.ledger import Ledger, LedgerRow
from harness.measure.metrics import TrafficMetrics
from harness.measure.validity import Validity
from harness.record.lineprotocol import format_point
from harness.record.points import deepest_pkt_q, run_summary_fields, unexplained_packets
from harness.record.rundir import write_json
from harness.record.schema import SCHEMA
from harness.record.summary import (
    HostSummary,
    InvariantSummary,
    LedgerSummary,
    LoadSummary,
    MigrationSummary,
    RunSummary,
    TrafficSummary,
    ValiditySummary,
    is_run_summary,
    read_summary,
)


def metrics() -> TrafficMetrics:
    values = {f.name: 3 for f in dataclasses.fields(TrafficMetrics)}
    return TrafficMetrics(**{**values, "rtt_p50_ns": None})


def ledger() -> Ledger:
    refusals = LedgerRow("vnf_refusal", 2, 1, (LedgerRow("no mapping", 2, 1),))
    rows = (LedgerRow("delivered", 5, 4), refusals, LedgerRow("unexplained", 1, -2))
    from harness.measure.hops import hop_balances

    balances = hop_balances(HopCounters(1, 0, 0, 0, 0, InstanceCounters()), 1, 0)
    return Ledger(8, 3, rows, tuple(balances), 0, True)


def summary(**changed: object) -> RunSummary:
    fields = {
        "run_id": "abc",
        "profile": "nat",
        "mode": "statelet",
        "started_utc": "2026-01-01T00:00:00+00:00",
        "validity": ValiditySummary(verdict="VALID"),
        "load": LoadSummary(offered_bps=600_000_000, frame_bytes=1400),
        "migration": MigrationSummary(outcome="completed"),
    }
    return RunSummary(**{**fields, **changed})


def test_takes_what_measurement_makes_and_survives_the_disk(tmp_path: Path) -> None:
    host = HostLoad(10, 0.1, 0.5, {"source": ProcessLoad(0.5, None, 7)})
    run = summary(
        window=TrafficSummary.model_validate(metrics()),
        ledger=LedgerSummary.model_validate(ledger()),
        invariants=(InvariantSummary.model_validate(Invariant("x", "unknown", "y")),),
        validity=ValiditySummary.model_validate(Validity("INVALID", ("because",))),
        host=HostSummary.model_validate(host),
    )
    assert run.window.intended_packets == 3
    assert run.ledger.rows[1].reasons[0].name == "no mapping"
    assert [hop.residual_packets for hop in run.ledger.hops if hop.residual_packets] == [1]
    assert run.host.processes["source"].resident_bytes == 7
    write_json(tmp_path / "summary.json", run)
    assert read_summary(tmp_path / "summary.json", RunSummary) == run
    assert is_run_summary(tmp_path / "summary.json")


def test_traffic_fields_are_those_of_the_measurement() -> None:
    assert list(TrafficSummary.model_fields) == [f.name for f in dataclasses.fields(TrafficMetrics)]


def test_unknown_key_and_nan_are_refused() -> None:
    with pytest.raises(ValidationError, match="extra"):
        summary(colour="red")
    values = dataclasses.asdict(metrics())
    with pytest.raises(ValidationError, match="finite"):
        TrafficSummary(**{**values, "loss_s": float("nan")})
    with pytest.raises(ValidationError):
        MigrationSummary(outcome="fine")


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b"\xff\xfe", b'{"run_id": 5}', b"[" * 100_000])
def test_foreign_file_is_one_line_with_its_path(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "summary.json"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=r"summary\.json: ") as caught:
        read_summary(path, RunSummary)
    assert "\n" not in str(caught.value)
    with pytest.raises(UsageError, match="cannot be read"):
        read_summary(tmp_path / "none.json", RunSummary)


def test_point_has_every_field_of_the_schema() -> None:
    migration = MigrationSummary(
        outcome="completed",
        duration_ns=5,
        snapshot_bytes=6,
        statelet_stream_bytes=7,
        statelets=8,
        pkt_q_max_packets={"interior": 3, "exterior": 9},
        st_q_out_max_packets=1,
        st_q_in_max_packets=2,
        downtime_ns=4,
    )
    run = summary(
        window=TrafficSummary.model_validate(metrics()),
        ledger=LedgerSummary.model_validate(ledger()),
        migration=migration,
    )
    fields = run_summary_fields(run)
    assert set(fields) == {field.name for field in SCHEMA["run_summary"].fields}
    line = format_point("run_summary", {"run_id": "abc", "profile": "nat", "mode": "statelet"}, fields, 1)
    assert "pkt_q_max_packets=9i" in line
    assert "unexplained_packets=-1i" in line
    assert "rtt_p50_ns" not in line


def test_what_was_not_measured_is_none() -> None:
    run = summary()
    assert (deepest_pkt_q(run), unexplained_packets(run)) == (None, None)
    partial = summary(migration=MigrationSummary(outcome="failed", pkt_q_max_packets={"interior": 0}))
    assert deepest_pkt_q(partial) == 0
