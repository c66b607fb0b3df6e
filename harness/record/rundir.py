"""The run directory: where everything measured goes, written so that a crash loses nothing already there.

results/<UTC yyyymmddThhmmssZ>-<profile>-<id>/     an experiment
    profile.toml effective.json manifest.json      as given, as understood, on what it ran (all before the run)
    calibration.json                               what is known of the links (before the first run)
    events.jsonl                                   appended while it runs
    summary.json
    01-statelet/ 02-duplication/ ...               one folder per run
        events.jsonl points.lp series.npz *.npz *.json logs/ summary.json
"""

from __future__ import annotations

import io
import json
import math
import os
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel

from harness.errors import MachineError, UsageError
from harness.record.events import Event, EventLog

PROFILE = "profile.toml"
EFFECTIVE = "effective.json"
MANIFEST = "manifest.json"
EVENTS = "events.jsonl"
POINTS = "points.lp"
SERIES = "series.npz"
SUMMARY = "summary.json"
LOGS = "logs"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


def finite(value: object) -> object:
    """The rule for JSON: NaN and infinities become null ("not measured"), at any depth; everything else stays."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): finite(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(entry) for entry in value]
    if isinstance(value, np.generic):
        return finite(value.item())
    return value


def write_atomically(path: Path, content: bytes) -> None:
    """Replace `path`: a reader, or a crash at any moment, sees the old content or the new, never a part. OSError."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def write_json(path: Path, data: Mapping[str, object] | BaseModel) -> None:
    """Write atomically, indented, NaN as null (`finite`). TypeError for what JSON cannot hold."""
    plain = data.model_dump(mode="json") if isinstance(data, BaseModel) else data
    text = json.dumps(finite(plain), indent=2, allow_nan=False, ensure_ascii=False)
    write_atomically(path, text.encode(errors="backslashreplace") + b"\n")


class Folder:
    """An existing folder of results and its files."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def file(self, name: str) -> Path:
        """Path of a file of this folder, for a process that writes it itself."""
        return self.path / name

    def write_json(self, name: str, data: Mapping[str, object] | BaseModel) -> None:
        write_json(self.path / name, data)

    def write_text(self, name: str, text: str) -> None:
        write_atomically(self.path / name, text.encode())

    def write_arrays(self, name: str, arrays: Mapping[str, npt.NDArray[np.generic]]) -> None:
        """Write an .npz of plain arrays (no objects: nothing in it needs unpickling)."""
        buffer = io.BytesIO()
        np.savez_compressed(buffer, allow_pickle=False, **dict(arrays))
        write_atomically(self.path / name, buffer.getvalue())

    def append_points(self, lines: Iterable[str]) -> None:
        """Append lines of InfluxDB line protocol to points.lp and wait until they are on the disk. OSError, and then
        nothing was appended."""
        with (self.path / POINTS).open("ab") as file:
            size = file.tell()
            try:
                file.write("".join(f"{line}\n" for line in lines).encode())
                file.flush()
                os.fsync(file.fileno())
            except OSError:
                os.ftruncate(file.fileno(), size)
                raise

    def events(self, heard: Callable[[Event], None] = lambda _event: None) -> EventLog:
        """Open the event log for appending; the caller closes it. heard: is told every event (see EventLog)."""
        return EventLog(self.path / EVENTS, heard=heard)

    def log(self, name: str) -> Path:
        """Path for the log of a process."""
        folder = self.path / LOGS
        folder.mkdir(exist_ok=True)
        return folder / f"{name}.log"


class RunDirectory(Folder):
    """The directory of an experiment; `create` makes a new one."""

    @classmethod
    def create(cls, results: Path, profile: str, experiment_id: str, now: datetime | None = None) -> RunDirectory:
        """Make `results/<UTC>-<profile>-<id>/`.

        UsageError when a name is not a plain file name or the directory exists; MachineError when it cannot be made.
        """
        for what, name in (("profile", profile), ("id", experiment_id)):
            if not _NAME.fullmatch(name):
                raise UsageError(f"{what} {name!r} is not usable in a file name; use letters, digits, '_', '-' and '.'")
        stamp = (now or datetime.now(UTC)).astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
        return cls(_make(results / f"{stamp}-{profile}-{experiment_id}", parents=True))

    def run(self, number: int, name: str) -> Folder:
        """Make the folder of run `number` (from 1), `<nn>-<name>`. Errors as `create`."""
        if number < 1 or not _NAME.fullmatch(name):
            raise UsageError(f"run {number} {name!r} is not usable as a folder name")
        return Folder(_make(self.path / f"{number:02d}-{name}"))


def _make(path: Path, *, parents: bool = False) -> Path:
    try:
        if parents:
            path.parent.mkdir(parents=True, exist_ok=True)
        try:
            path.mkdir()
        except FileExistsError as error:
            reason = "already exists; results are never overwritten, move it or use another id"
            raise UsageError(f"{path} {reason}") from error
    except OSError as error:
        raise MachineError(f"cannot create {path}: {error.strerror}; choose another results directory") from error
    _sync_folder(path.parent)
    return path


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
