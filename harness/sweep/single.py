"""One run of a sweep on the real testbed: an experiment directory of its own with exactly that run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import tomli_w

from harness.experiment.experiment import run_quietly
from harness.options import Recorded, RunOptions
from harness.provision.connections.template import Template
from harness.sweep.engine import RunFunction
from harness.sweep.matrix import Cell, plan_of
from harness.sweep.order import SweepRun


def run_function(
    sweep_name: str,
    command_line: Sequence[str],
    template: Template | None = None,
    recorded: Recorded | None = None,
) -> RunFunction:
    """A RunFunction that carries runs out in this process; what it provisions goes to a log in the run's directory.

    template: what the processes of the runs are forked from, which spares each most of a second of loading;
    recorded: as in RunOptions.
    """

    def carry_out(cell: Cell, run: SweepRun, runs: Path) -> Path:
        text = f"# Cell {cell.digest} of the sweep {sweep_name}, after overrides and scaling.\n\n"
        options = RunOptions(
            results=runs,
            command_line=tuple(command_line),
            profile_text=text + tomli_w.dumps(cell.profile.document()),
            recorded=recorded,
        )
        result = run_quietly(cell.profile, plan_of(cell, run), options, template)
        return result.path / str(result.summary["runs"][0]["folder"])

    return carry_out
