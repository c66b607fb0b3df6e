"""One run of a sweep on the real testbed: an experiment directory of its own with exactly that run."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import tomli_w

from harness.experiment.calibration import Calibrate
from harness.experiment.experiment import run_quietly
from harness.experiment.placed import WHY_NOT_CALIBRATED
from harness.options import Recorded, RunOptions
from harness.provision.connections.template import Template
from harness.record.calibration import LinkCalibration, not_calibrated
from harness.sweep.engine import RunFunction
from harness.sweep.matrix import Cell, plan_of
from harness.sweep.order import SweepRun
from harness.sweep.placed import SpreadOf


def run_function(
    sweep_name: str,
    command_line: Sequence[str],
    template: Template | None = None,
    recorded: Recorded | None = None,
    links: Mapping[str, LinkCalibration] | None = None,
    calibrate: Calibrate | None = None,
    spread_of: SpreadOf = lambda _profile: None,
) -> RunFunction:
    """A RunFunction that carries runs out in this process; what it provisions goes to a log in the run's directory.

    template: what the processes of the runs are forked from, which spares each most of a second of loading;
    recorded: as in RunOptions; links: what the sweep measured of each cell's, by its digest; calibrate: what is asked
    of a run's own links instead; spread_of: the hosts of a cell's nodes.
    """
    taken_s = time.monotonic()

    def known(digest: str) -> LinkCalibration:
        found = (links or {}).get(digest)
        if found is None:
            return not_calibrated("--no-calibration")
        return found.model_copy(update={"age_s": (found.age_s or 0.0) + time.monotonic() - taken_s})

    def carry_out(cell: Cell, run: SweepRun, runs: Path) -> Path:
        text = f"# Cell {cell.digest} of the sweep {sweep_name}, after overrides and scaling.\n\n"
        options = RunOptions(
            results=runs,
            command_line=tuple(command_line),
            profile_text=text + tomli_w.dumps(cell.profile.document()),
            recorded=recorded,
        )
        spread = spread_of(cell.profile)
        own = known(cell.digest) if spread is None else not_calibrated(WHY_NOT_CALIBRATED)
        asked = calibrate or (lambda _testbed, _profile, _tell: own)
        result = run_quietly(cell.profile, plan_of(cell, run), options, template, asked, spread)
        return result.path / str(result.summary["runs"][0]["folder"])

    return carry_out
