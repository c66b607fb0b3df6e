"""A sweep on disk, and reading any results directory (sweep, experiment or run) into one shape.

results/<UTC>-<name>-<id>/
    sweep.toml sweep.json manifest.json calibration.json    as given, as understood, on what it ran
    runs.jsonl                                              one SweepEntry per attempt, appended and fsynced
    runs/<experiment directory>/01-<mode>/summary.json      each run is an experiment directory with one run
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from harness.errors import UsageError
from harness.record.incomplete import is_experiment, run_folders, unfinished_runs, why_incomplete
from harness.record.rundir import EFFECTIVE, SUMMARY
from harness.record.summary import ExperimentSummary, RunSummary, Verdict, is_run_summary, read_summary
from harness.units import UnitError, parse_load, parse_rate, parse_size

SWEEP = "sweep.json"
SWEEP_AS_GIVEN = "sweep.toml"
ENTRIES = "runs.jsonl"
RUNS = "runs"
CALIBRATION = "calibration.json"
MAX_LINE_BYTES = 1 << 20


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, frozen=True)


class SweepCell(_Part):
    """One point of the matrix: an effective profile, without the mode.

    `digest` is that of the effective profile; loads count both directions. `nominal_*` are the figures before scaling
    (equal to the others when scale is 1): the axis of the paper's figures.
    """

    digest: Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
    profile: str
    image: str
    frame_bytes: int
    load_bps: int
    uplink_bps: int
    nominal_load_bps: int
    nominal_uplink_bps: int
    settings: dict[str, Any] = Field(default_factory=dict)
    """Values of the matrix's axes at this point, by key."""


class SweepManifest(_Part):
    """sweep.json"""

    schema_version: Literal[1] = 1
    sweep_id: str
    name: str
    description: str = ""
    started_utc: str
    seed: int
    repetitions: Annotated[int, Field(ge=1)]
    modes: tuple[str, ...]
    control_repetitions: Annotated[int, Field(ge=0)] = 0
    scale: Annotated[float, Field(gt=0, le=1)] = 1.0
    scale_reason: str = ""
    """Where the scale comes from ("asked for on the command line", "from bench: ..."); empty without scaling."""
    digest: str = ""
    """Of everything that decides which runs are made and how: a sweep is resumed only where it is the same."""
    retries: Annotated[int, Field(ge=0)] = 0
    keep: str = "all"
    stop: dict[str, Any] | None = None
    """The stopping rule ([sweep.stop] of the file), where there is one."""
    calibration: str = ""
    """Whether the links were measured before the first run; the figures are in calibration.json."""
    cells: tuple[SweepCell, ...]


class SweepEntry(_Part):
    """One attempt at one run: a line of runs.jsonl.

    `key` names the run whatever the attempt: digest of the cell, mode, repetition. `folder` is relative to the sweep's
    directory and holds the run's summary.json, unless the run was `interrupted` (by the user, a crash or a testbed that
    could not be built): such an attempt has no result, is made again, and is listed.
    """

    key: str
    cell: Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
    mode: str
    repetition: Annotated[int, Field(ge=1)]
    attempt: Annotated[int, Field(ge=1)] = 1
    folder: str
    verdict: Verdict
    reasons: tuple[str, ...] = ()
    started_utc: str
    wall_s: Annotated[float, Field(ge=0)]
    window_s: Annotated[float, Field(ge=0)]
    interrupted: bool = False
    host: str = ""
    """Host of the inventory it was made on; empty: where the sweep was started."""


@dataclass(frozen=True)
class Result:
    """One run with where it belongs. `summary` is None when its directory is damaged, or the run was interrupted;
    `damage` then says how. `superseded` attempts were repeated, or will be when the sweep is resumed: they count in no
    figure, and are listed.
    """

    cell: SweepCell
    mode: str
    repetition: int
    attempt: int
    folder: Path
    verdict: Verdict
    summary: RunSummary | None
    damage: str = ""
    superseded: bool = False
    host: str = ""
    """Of the inventory; empty: where the sweep was started."""
    lost: bool = False
    """An attempt that came to nothing with its host."""


@dataclass(frozen=True)
class Results:
    """Everything found in a results directory, in the order in which it was run."""

    path: Path
    kind: Literal["sweep", "experiment", "run"]
    name: str
    manifest: SweepManifest | None
    results: tuple[Result, ...]
    incomplete: str = ""
    """Why an experiment is not whole; of a sweep only where none of its runs has ended."""

    @property
    def scale(self) -> float:
        return 1.0 if self.manifest is None else self.manifest.scale


def run_key(digest: str, mode: str, repetition: int) -> str:
    """Key of a run of a sweep."""
    return f"{digest}-{mode}-r{repetition}"


def append_entry(sweep: Path, entry: SweepEntry) -> None:
    """Append to runs.jsonl and wait until it is on the disk."""
    with (sweep / ENTRIES).open("ab") as file:
        file.write(entry.model_dump_json().encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())


def read_entries(sweep: Path) -> tuple[tuple[SweepEntry, ...], tuple[str, ...]]:
    """(entries, complaints): lines that do not parse (a torn last line after a crash, say) are reported, not fatal."""
    path = sweep / ENTRIES
    entries: list[SweepEntry] = []
    complaints: list[str] = []
    try:
        lines = path.read_bytes().split(b"\n") if path.exists() else []
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror})") from error
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            if len(line) > MAX_LINE_BYTES:
                raise ValueError("line too long")
            entries.append(SweepEntry.model_validate_json(line))
        except (ValidationError, ValueError) as error:
            complaints.append(f"{path}:{number}: not an entry of a sweep ({str(error).splitlines()[0]:.80})")
    return tuple(entries), tuple(complaints)


def read_manifest(sweep: Path) -> SweepManifest:
    """sweep.json, checked. UsageError with the path and the first wrong key."""
    path = sweep / SWEEP
    try:
        return SweepManifest.model_validate_json(path.read_bytes())
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror})") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise UsageError(f"{path}: {where}: {first['msg']}") from error


def is_sweep(path: Path) -> bool:
    """Whether a directory is that of a sweep."""
    return (path / SWEEP).is_file()


def read_results(path: Path) -> Results:
    """Read a sweep, experiment or run directory. A damaged run is a Result without summary; the rest is read.

    One that was cut off is `incomplete`, and may hold no run. UsageError when the directory is none of the three.
    """
    if not path.is_dir():
        raise UsageError(f"{path}: not a directory; give the directory of a run, an experiment or a sweep")
    found = _read_sweep(path) if is_sweep(path) else _read_experiment(path)
    if not found.results and not found.incomplete:
        raise UsageError(f"{path}: holds no run of this program")
    return found


def _read_sweep(path: Path) -> Results:
    manifest = read_manifest(path)
    cells = {cell.digest: cell for cell in manifest.cells}
    entries, _ = read_entries(path)
    last = {entry.key: entry.attempt for entry in entries if not entry.interrupted}
    results = []
    for entry in entries:
        if entry.cell not in cells:
            raise UsageError(
                f"{path / ENTRIES}: run {entry.key} is of no cell of {SWEEP}; the two do not belong together"
            )
        folder = _inside(path, entry.folder)
        summary, damage = (None, "; ".join(entry.reasons)) if entry.interrupted else _summary(folder)
        results.append(
            Result(
                cell=cells[entry.cell],
                mode=entry.mode,
                repetition=entry.repetition,
                attempt=entry.attempt,
                folder=folder,
                verdict=entry.verdict,
                summary=summary,
                damage=damage,
                superseded=entry.interrupted or entry.attempt < last[entry.key],
                host=entry.host,
                lost=entry.interrupted and bool(entry.host),
            )
        )
    incomplete = "" if results else "no run of the sweep has ended; resume it"
    return Results(path, "sweep", manifest.name, manifest, tuple(results), incomplete)


def _inside(path: Path, folder: str) -> Path:
    found = (path / folder).resolve()
    if not found.is_relative_to(path.resolve()):
        raise UsageError(f"{path / ENTRIES}: folder {folder!r:.80} lies outside the sweep's directory")
    return found


def _read_experiment(path: Path) -> Results:
    incomplete, unfinished = "", {}
    if is_run_summary(path / SUMMARY):
        folders, experiment, kind = [path], path.resolve().parent, "run"
    elif (path / SUMMARY).is_file() or is_experiment(path):
        incomplete = why_incomplete(path)
        unfinished = {run.folder: f"incomplete: {run.text}" for run in unfinished_runs(path)}
        folders, experiment, kind = _folders(path), path, "experiment"
        if incomplete and not (path / EFFECTIVE).is_file():
            return Results(path, "experiment", path.resolve().name, None, (), incomplete)
    else:
        raise UsageError(f"{path}: holds no run of this program; {SUMMARY} is missing")
    cell = read_cell(experiment)
    results = []
    for folder in folders:
        summary, damage = (None, unfinished[folder]) if folder in unfinished else _summary(folder)
        mode = summary.mode if summary else folder.name.partition("-")[2]
        results.append(
            Result(
                cell=cell,
                mode=mode,
                repetition=summary.repetition if summary else 1,
                attempt=1,
                folder=folder,
                verdict=summary.validity.verdict if summary else "INVALID",
                summary=summary,
                damage=damage,
            )
        )
    return Results(path, kind, cell.profile, None, tuple(results), incomplete)  # type: ignore[arg-type]


def _folders(experiment: Path) -> list[Path]:
    """Of the runs that are there, and of those that should be."""
    found = set(run_folders(experiment))
    if (experiment / SUMMARY).is_file():
        listed = read_summary(experiment / SUMMARY, ExperimentSummary)
        found |= {experiment / run.folder for run in listed.runs}
    return sorted(found)


def _summary(folder: Path) -> tuple[RunSummary | None, str]:
    try:
        return read_summary(folder / SUMMARY, RunSummary), ""
    except UsageError as error:
        return None, str(error)


def read_cell(experiment: Path) -> SweepCell:
    """The cell an experiment directory stands for, from its effective profile. UsageError when it does not tell."""
    path = experiment / EFFECTIVE
    try:
        data = json.loads(path.read_bytes())
        profile, plan = data["profile"], data["plan"]
        load_bps, uplink_bps = parse_load(profile["load"]["rate"]), parse_rate(profile["uplink"]["rate"])
        return SweepCell(
            digest=plan["profile_digest"],
            profile=plan["profile"],
            image=profile["vnf"]["image"],
            # An experiment made before its plan named the mean size has frames of one size.
            frame_bytes=plan.get("frame_bytes") or parse_size(profile["load"]["frame"]),
            load_bps=load_bps,
            uplink_bps=uplink_bps,
            nominal_load_bps=load_bps,
            nominal_uplink_bps=uplink_bps,
        )
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, TypeError, KeyError, UnitError, RecursionError) as error:
        raise UsageError(f"{path}: not an effective profile ({error!r:.80})") from error
