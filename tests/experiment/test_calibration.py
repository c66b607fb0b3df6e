"""What is known of the links in the verdict of a run and on the terminal."""

from __future__ import annotations

from typing import Any

import pytest

from harness.errors import HarnessError
from harness.experiment.calibration import calibrated, with_links
from harness.record.calibration import LinkCalibration, calibration_line
from harness.record.summary import LoadSummary, MigrationSummary, RunSummary, ValiditySummary

PROBLEM = "source uplink, from the instance: rate 930 Mbit/s measured"
BREACHED = LinkCalibration(verdict="breached", origin="measured", age_s=4.0, problems=(PROBLEM,))


def summary(verdict: Any, *reasons: str) -> RunSummary:
    return RunSummary(
        run_id="a-01",
        profile="p",
        mode="none",
        started_utc="2026-01-01T00:00:00+00:00",
        validity=ValiditySummary(verdict=verdict, reasons=reasons),
        load=LoadSummary(offered_bps=1, frame_bytes=100),
        migration=MigrationSummary(outcome="none"),
    )


@pytest.mark.parametrize(("verdict", "expected"), [("VALID", "INVALID"), ("INVALID", "INVALID"), ("FAILED", "FAILED")])
def test_links_off_their_calibration_are_a_reason_against_every_run(verdict: Any, expected: str) -> None:
    found = with_links(summary(verdict, *(["before"] if verdict != "VALID" else [])), BREACHED)
    assert found.validity.verdict == expected
    assert found.validity.reasons[-1] == f"links off their calibration: {PROBLEM}"
    assert (found.calibration.links, found.calibration.links_age_s) == ("breached", 4.0)


@pytest.mark.parametrize("verdict", ["held", "doubts", "not calibrated"])
def test_nothing_else_changes_the_verdict(verdict: Any) -> None:
    found = with_links(summary("VALID"), LinkCalibration(verdict=verdict, doubts=("slow machine",)))
    assert found.validity == ValiditySummary(verdict="VALID")
    assert found.calibration.links == verdict


def test_every_breach_and_doubt_is_told() -> None:
    told: list[str] = []
    known = BREACHED.model_copy(update={"doubts": ("a doubt",)})
    assert calibrated(lambda *_: known, None, None, told.append) == known  # type: ignore[arg-type]
    assert told == ["links: off their calibration, measured 4 s before", f"  {PROBLEM}", "  a doubt"]


def test_a_measurement_that_fails_leaves_the_links_unknown() -> None:
    def fail(*_arguments: object) -> LinkCalibration:
        raise HarnessError("calibration: no trace of the source")

    told: list[str] = []
    found = calibrated(fail, None, None, told.append)  # type: ignore[arg-type]
    assert found.verdict == "not calibrated"
    assert told == ["links: not calibrated (calibration: no trace of the source)"]


@pytest.mark.parametrize(
    ("age_s", "origin", "line"),
    [
        (8.4, "measured", "links: as calibrated, measured 8 s before"),
        (1_500.0, "cache", "links: as calibrated, measured 25 min before by an earlier command"),
        (10_800.0, "sweep", "links: as calibrated, measured 3 h before for the sweep"),
    ],
)
def test_the_line_says_age_and_origin(age_s: float, origin: str, line: str) -> None:
    assert calibration_line("held", age_s, origin) == line
