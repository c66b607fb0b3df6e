"""A run that ended without records still has its point: failed runs are part of every statistic."""

from __future__ import annotations

from harness.experiment.points import summary_point
from harness.record.summary import LoadSummary, MigrationSummary, RunSummary, ValiditySummary


def test_a_run_without_records_has_its_verdict_and_leaves_out_what_was_not_measured():
    summary = RunSummary(
        run_id="abc-01",
        profile="p",
        mode="statelet",
        repetition=1,
        started_utc="2026-01-01T00:00:00+00:00",
        validity=ValiditySummary(verdict="FAILED", reasons=("the destination is gone",)),
        load=LoadSummary(offered_bps=1, frame_bytes=512),
        migration=MigrationSummary(outcome="failed", reason="the destination is gone"),
    )
    head, fields, time_ns = summary_point(summary, 1_767_225_600_000_000_000).split(" ")
    assert head == "run_summary,load=1bit,mode=statelet,profile=p,run_id=abc-01"
    assert time_ns == "1767225600000000000"
    assert {'validity="FAILED"', 'outcome="failed"', "frame_bytes=512i"} <= set(fields.split(","))
    assert "loss_s" not in fields
    assert "migration_duration_ns" not in fields
