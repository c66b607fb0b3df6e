"""The links of a sweep's testbeds are what its profiles say: measured before its first run."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from harness.errors import MachineError
from harness.profile.model import Profile
from harness.record.calibration import LinkCalibration
from harness.record.rundir import write_json
from harness.record.sweep import CALIBRATION
from harness.sweep.matrix import Cell

Calibrate = Callable[[Profile], LinkCalibration]


def calibrate_cells(
    sweep: Path, cells: Sequence[Cell], calibrate: Calibrate, tell: Callable[[str], None]
) -> dict[str, LinkCalibration]:
    """Measure every kind of link among the cells once and write calibration.json; what an earlier session of the sweep
    measured stays in it. Returns what holds for each cell, by its digest. MachineError with every breach.
    """
    done = _earlier(sweep / CALIBRATION)
    problems: list[str] = []
    by_kind: dict[str, LinkCalibration] = {}
    for kind, cell in _kinds(cells).items():
        tell(f"calibrating the links: {_uplink(cell)}")
        found = calibrate(cell.profile)
        problems += [f"calibration: {problem}" for problem in found.problems]
        done.append({"cell": cell.digest, **found.model_dump(mode="json")})
        write_json(sweep / CALIBRATION, {"calibrations": done})
        by_kind[kind] = found.model_copy(update={"origin": "sweep"})
    if problems:
        problems.append("the links are not what the profile says; --no-calibration goes on nevertheless, and says so")
        raise MachineError("\n".join(problems))
    return {cell.digest: by_kind[_kind(cell)] for cell in cells}


def note_skipped(sweep: Path) -> None:
    """Write into calibration.json that a session of the sweep went without."""
    entry = {"skipped": "--no-calibration", "started_utc": datetime.now(UTC).isoformat(timespec="seconds")}
    write_json(sweep / CALIBRATION, {"calibrations": [*_earlier(sweep / CALIBRATION), entry]})


def _kinds(cells: Sequence[Cell]) -> dict[str, Cell]:
    """The first cell of every kind of links."""
    kinds: dict[str, Cell] = {}
    for cell in cells:
        kinds.setdefault(_kind(cell), cell)
    return kinds


def _kind(cell: Cell) -> str:
    document = cell.profile.document()
    return json.dumps([document["uplink"], document.get("links"), document["dataplane"]], sort_keys=True, default=str)


def _uplink(cell: Cell) -> str:
    uplink = cell.profile.document()["uplink"]
    return f"{uplink['rate']}/s, {uplink['latency']} per direction"


def _earlier(path: Path) -> list[Any]:
    try:
        found = json.loads(path.read_bytes())["calibrations"]
    except (OSError, ValueError, KeyError, TypeError):
        return []  # of an interrupted session or edited since; it decides about nothing
    return found if isinstance(found, list) else []
