from __future__ import annotations

import pytest

from harness.record.summary import LoadSummary, MigrationSummary, RunSummary, ValiditySummary
from harness.sweep.metric import metric_problem, metric_value

SUMMARY = RunSummary(
    run_id="x",
    profile="x",
    mode="statelet",
    started_utc="2026-01-01T00:00:00+00:00",
    validity=ValiditySummary(verdict="VALID"),
    load=LoadSummary(offered_bps=10, frame_bytes=512),
    migration=MigrationSummary(outcome="completed", duration_ns=7),
)


@pytest.mark.parametrize("path", ["window.loss_s", "window.rtt_late_s", "migration.duration_ns", "window.rtt_p99_ns"])
def test_figures_of_a_run_are_known(path):
    assert metric_problem(path) == ""


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("windw.loss_s", "did you mean window?"),
        ("window", "is not a number"),
        ("mode", "is not a number"),
        ("mode.x", "has nothing below it"),
        ("", "has no ''"),
        ("ledger.overexplained", "is not a number"),
    ],
)
def test_what_is_no_figure_is_refused(path, problem):
    assert problem in metric_problem(path)


def test_value_of_a_run():
    assert metric_value(SUMMARY, "migration.duration_ns") == 7.0
    assert metric_value(SUMMARY, "window.loss_s") is None
