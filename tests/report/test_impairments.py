from __future__ import annotations

from harness.record.summary import ImpairmentSummary
from harness.report.impairments import impairment_lines
from harness.report.table import comparison_rows
from tests.report.conftest import make_run


def step(at_ms: int, text: str, error: str | None = None) -> ImpairmentSummary:
    return ImpairmentSummary(at_ns=at_ms * 1_000_000, text=text, late_ns=10, duration_ns=20, error=error)


def test_runs_without_impairments_have_no_row_and_no_line() -> None:
    runs = [make_run("none"), make_run("statelet")]
    assert impairment_lines(runs) == []
    assert "impairments carried out" not in dict(comparison_rows(runs))


def test_what_was_done_on_purpose_stands_beside_the_figures() -> None:
    steps = (step(1_000, "link of source down"), step(1_500, "end of link of source down"))
    runs = [
        make_run("none", impairments=steps, links={"source up": "loss 0.001"}),
        make_run("statelet", impairments=(steps[0], step(1_500, steps[1].text, "refused"))),
    ]
    assert dict(comparison_rows(runs))["impairments carried out"] == ["2 of 2", "1 of 2"]
    assert impairment_lines(runs) == [
        "link source up: loss 0.001 (in 1 of 2 runs)",
        "s+1s link of source down",
        "s+1.5s end of link of source down (in 1 of 2 runs)",
    ]
