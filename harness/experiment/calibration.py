"""What an experiment makes of the calibration of its links: a file, and what it means for the verdict of a run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from harness.errors import HarnessError
from harness.profile.model import Profile
from harness.record.calibration import LinkCalibration, calibration_line, not_calibrated
from harness.record.summary import RunSummary, ValiditySummary
from harness.testbed.testbed import Testbed

Calibrate = Callable[[Testbed, Profile, Callable[[str], None]], LinkCalibration]
"""Called once the testbed stands, before the first run; it leaves the testbed as it was. HarnessError."""


def calibrated(
    calibrate: Calibrate | None, testbed: Testbed, profile: Profile, tell: Callable[[str], None]
) -> LinkCalibration:
    """The links' calibration, and a line about it. HarnessError of `calibrate` becomes "not calibrated" and its reason:
    a run that cannot be carried out says so itself."""
    if calibrate is None:
        return not_calibrated("")
    try:
        found = calibrate(testbed, profile, lambda step: tell(f"calibration: {step}"))
    except HarnessError as error:
        found = not_calibrated(str(error)[:2_000])
    tell(calibration_line(found.verdict, found.age_s, found.origin, found.reason))
    for line in (*found.problems, *found.doubts):
        tell(f"  {line}")
    return found


def with_links(summary: RunSummary, links: LinkCalibration) -> RunSummary:
    """The summary with what is known of the links: a breach makes a VALID run INVALID, whatever else it shows."""
    calibration = summary.calibration.model_copy(update={"links": links.verdict, "links_age_s": links.age_s})
    validity = summary.validity
    if links.verdict == "breached":
        verdict: Literal["FAILED", "INVALID"] = "FAILED" if validity.verdict == "FAILED" else "INVALID"
        reasons = tuple(f"links off their calibration: {problem}" for problem in links.problems)
        validity = ValiditySummary(verdict=verdict, reasons=(*validity.reasons, *reasons))
    return summary.model_copy(update={"calibration": calibration, "validity": validity})
