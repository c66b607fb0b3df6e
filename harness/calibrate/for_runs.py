"""The calibration of an experiment: what is known of links like its own, or a short measurement on its testbed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from harness.calibrate.calibration import Calibration, calibrate, calibrate_standing
from harness.calibrate.store import as_recorded, keep, measured_on, recall
from harness.experiment.experiment import new_run_id
from harness.profile.model import Profile
from harness.profile.topology import make_topology
from harness.record.calibration import LinkCalibration, not_calibrated
from harness.testbed.testbed import Testbed

Choice = Literal["cached", "fresh", "off"]


def calibration_of_links(
    choice: Choice, testbed: Testbed, profile: Profile, tell: Callable[[str], None]
) -> LinkCalibration:
    """For the provisioned testbed of an experiment, before its first run. HarnessError as `calibrate_standing`."""
    if choice == "off":
        return not_calibrated("--calibration off")
    holds_for = measured_on(testbed, profile)
    if choice == "cached" and (known := recall(holds_for)) is not None:
        return known
    found = as_recorded(calibrate_standing(testbed, profile, tell), holds_for)
    keep(found)
    return found


def calibrate_and_keep(profile: Profile, tell: Callable[[str], None]) -> tuple[Calibration, LinkCalibration]:
    """A whole calibration on a testbed of its own, kept for the runs of the next hour. Errors as `calibrate`."""
    calibration = calibrate(profile, tell)
    found = as_recorded(calibration, measured_on(Testbed(make_topology(profile, new_run_id())), profile))
    keep(found)
    return calibration, found
