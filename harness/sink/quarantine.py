"""Lines a server will not take, with its reason: a file per target in the run's folder, beside the offset."""

from __future__ import annotations

import json
import os
from pathlib import Path

from harness.sink.offset import PREFIX
from harness.sink.target import Target


def quarantine_path(folder: Path, target: Target) -> Path:
    """The file of a target in a run's folder; it exists only where lines were rejected."""
    return folder / f"{PREFIX}{target.key}.rejected.jsonl"


def put(folder: Path, target: Target, offset_bytes: int, line: bytes, reason: str) -> None:
    """Append one line of points.lp, which begins at `offset_bytes`, and wait until it is on the disk. OSError.

    A line that is there already, because the program died before it moved the offset, is not added again.
    """
    path = quarantine_path(folder, target)
    if offset_bytes in _offsets(path):
        return
    entry = {
        "offset_bytes": offset_bytes,
        "reason": reason,
        "line": line.decode(errors="backslashreplace").rstrip("\n"),
    }
    with path.open("ab") as file:
        file.write(json.dumps(entry, ensure_ascii=True).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())


def _offsets(path: Path) -> set[object]:
    found: set[object] = set()
    if not path.exists():
        return found
    for line in path.read_bytes().splitlines():
        try:
            found.add(json.loads(line)["offset_bytes"])
        except (ValueError, KeyError, TypeError, RecursionError):
            continue  # torn by a crash; its line is added again
    return found
