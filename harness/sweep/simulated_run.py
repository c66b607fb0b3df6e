"""A run on a simulated testbed: a recorded result, given back after its recorded duration, scaled.

`replayed` stands where `remote_run.carry_out` stands on a real testbed; everything around it is the same.
"""

from __future__ import annotations

import io
import json
import secrets
import tarfile
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from harness.errors import UsageError
from harness.record.rundir import SUMMARY
from harness.record.sweep import Results, read_entries


@dataclass(frozen=True)
class Recorded:
    """One recorded experiment with one run: its files by name below its directory, and how long it took."""

    mode: str
    files: Mapping[str, bytes]
    wall_s: float


def read_recorded(results: Results, summaries_only: bool = False) -> tuple[Recorded, ...]:
    """What may be replayed: the VALID runs of a sweep, of their files all or only summary.json. UsageError where there
    is none."""
    walls_s = {entry.folder: entry.wall_s for entry in read_entries(results.path)[0]} if results.manifest else {}
    found = []
    for result in results.results:
        wall_s = walls_s.get(str(result.folder.relative_to(results.path.resolve())), 0.0) if walls_s else 0.0
        if result.verdict != "VALID" or result.superseded or result.summary is None or not wall_s:
            continue
        experiment = result.folder.parent
        every = sorted(path for path in experiment.rglob("*") if path.is_file())
        names = [result.folder / SUMMARY] if summaries_only else every
        files = {path.relative_to(experiment).as_posix(): path.read_bytes() for path in names}
        found.append(Recorded(result.mode, files, wall_s))
    if not found:
        raise UsageError(f"{results.path}: no VALID run of a sweep to be replayed")
    return tuple(found)


@dataclass(frozen=True)
class Stage:
    """What a process of simulated testbeds replays. time_scale: seconds slept per second recorded."""

    recorded: tuple[Recorded, ...]
    time_scale: float


_stage: Stage | None = None
_numbers = iter(range(1 << 62))
_lock = threading.Lock()


def set_stage(stage: Stage) -> None:
    """For this process, before its first run."""
    global _stage
    _stage = stage


def replayed(request: Mapping[str, Any]) -> dict[str, Any]:
    """One recorded run in the request's mode after the other, told as the run that is asked for."""
    assert _stage is not None
    with _lock:
        number = next(_numbers)
    of_mode = [one for one in _stage.recorded if one.mode == request["mode"]] or list(_stage.recorded)
    chosen = of_mode[number % len(of_mode)]
    if _stage.time_scale:
        time.sleep(chosen.wall_s * _stage.time_scale)
    return {"archive": _archive(chosen, str(request["mode"]), int(request["repetition"]))}


def _archive(recorded: Recorded, mode: str, repetition: int) -> bytes:
    """As harness.sweep.archive packs it."""
    top, buffer = f"simulated-{secrets.token_hex(6)}", io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=1) as tar:
        for name, content in recorded.files.items():
            if name == f"01-{recorded.mode}/{SUMMARY}":
                content = json.dumps({**json.loads(content), "mode": mode, "repetition": repetition}).encode()
            member = tarfile.TarInfo(f"{top}/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()
