"""What each figure of merit reads from a summary, and what counts as not measured."""

from __future__ import annotations

import pytest

from harness.record.summary import MigrationSummary, PortDepths
from harness.report.metrics import METRICS

COMPLETED = MigrationSummary(
    outcome="completed",
    duration_ns=250_000_000,
    snapshot_bytes=20_000_000,
    statelet_stream_bytes=3_000_000,
    pkt_q_max_packets=PortDepths(interior=7, exterior=12),
)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("window.loss_s", 0.25),
        ("window.rtt_late_s", 0.5),
        ("window.largest_mean_rtt_ms", 12.5),
        ("migration.duration_s", 0.25),
        ("migration.pkt_q_max_packets", 12),
        ("migration.state_traffic_mb", 23.0),
    ],
)
def test_values_in_the_unit_of_the_name(run, name, expected):
    summary = run(loss_s=0.25, rtt_late_s=0.5, largest_bin_mean_rtt_ns=12.5e6, migration=COMPLETED)
    assert METRICS[name].read(summary) == pytest.approx(expected)


@pytest.mark.parametrize("name", METRICS)
def test_a_run_without_measurements_has_no_value(run, name):
    summary = run("statelet", window=None, migration=MigrationSummary(outcome="failed"))
    assert METRICS[name].read(summary) is None


@pytest.mark.parametrize("name", [name for name, metric in METRICS.items() if not metric.of_control])
def test_the_control_has_no_figures_of_a_migration(run, name):
    depths = PortDepths(interior=0, exterior=0)
    assert METRICS[name].read(run("none", migration=MigrationSummary(outcome="none", pkt_q_max_packets=depths))) is None


def test_an_aborted_migration_has_no_duration_and_an_unused_queue_no_length(run):
    early = MigrationSummary(
        outcome="aborted", duration_ns=5, phases={"snapshot": 1}, pkt_q_max_packets=PortDepths(interior=0, exterior=0)
    )
    assert METRICS["migration.duration_s"].read(run(migration=early)) is None
    assert METRICS["migration.pkt_q_max_packets"].read(run(migration=early)) is None
    late = early.model_copy(update={"phases": {"snapshot": 1, "commit": 1}})
    assert METRICS["migration.pkt_q_max_packets"].read(run(migration=late)) == 0
