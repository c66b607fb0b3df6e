"""How far a run's points.lp has been delivered to a target: a file per target in the run's folder.

The offset moves only behind lines that the server has confirmed or that are in the quarantine, and the file is replaced
atomically: whatever dies at whatever moment, a later delivery begins at or before the first line that is missing. The
file is also the note that a target shall get this run at all.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from harness.errors import UsageError
from harness.record.rundir import POINTS, write_json
from harness.sink.target import Target, make_target

PREFIX = "influxdb-"
MAX_STATE_BYTES = 65_536
_CHUNK_BYTES = 1 << 20

Count = Annotated[int, Field(ge=0)]


class Delivered(BaseModel):
    """influxdb-<key>.json"""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    schema_version: Literal[1] = 1
    url: str
    org: str
    bucket: str
    offset_bytes: Count = 0
    """Everything before it was stored or put into the quarantine; always behind a line end."""
    stored_lines: Count = 0
    rejected_lines: Count = 0


def state_path(folder: Path, target: Target) -> Path:
    """The file of a target in a run's folder."""
    return folder / f"{PREFIX}{target.key}.json"


def read_delivered(folder: Path, target: Target) -> Delivered:
    """What was delivered. From the start where nothing is recorded, the file is damaged, or points.lp does not have a
    line end where it says: sending a point again changes nothing at the server."""
    found = _read(state_path(folder, target))
    fresh = Delivered(url=target.url, org=target.org, bucket=target.bucket)
    if found is None or (found.url, found.org, found.bucket) != (target.url, target.org, target.bucket):
        return fresh
    return found if _is_line_start(folder / POINTS, found.offset_bytes) else fresh


def write_delivered(folder: Path, target: Target, delivered: Delivered) -> None:
    """Onto the disk. OSError."""
    write_json(state_path(folder, target), delivered)


def note(folder: Path, target: Target) -> None:
    """Note that the target shall get this run, unless that is known. OSError."""
    if not state_path(folder, target).exists():
        write_delivered(folder, target, read_delivered(folder, target))


def noted_targets(folder: Path) -> tuple[Target, ...]:
    """Targets that shall get this run, as far as their files can be read."""
    found = []
    for path in sorted(folder.glob(f"{PREFIX}*.json")):
        delivered = _read(path)
        if delivered is not None:
            # Checked like any other: a results directory may come from anywhere.
            with suppress(UsageError):
                found.append(make_target(delivered.url, delivered.org, delivered.bucket, str(path)))
    return tuple(found)


def lines_left(folder: Path, target: Target) -> int:
    """Complete lines of points.lp behind the offset. OSError."""
    path = folder / POINTS
    if not path.exists():
        return 0
    with path.open("rb") as file:
        file.seek(read_delivered(folder, target).offset_bytes)
        return sum(chunk.count(b"\n") for chunk in iter(lambda: file.read(_CHUNK_BYTES), b""))


def _read(path: Path) -> Delivered | None:
    try:
        with path.open("rb") as file:
            return Delivered.model_validate_json(file.read(MAX_STATE_BYTES))
    except (OSError, ValidationError):
        return None


def _is_line_start(path: Path, offset_bytes: int) -> bool:
    if offset_bytes == 0:
        return True
    try:
        with path.open("rb") as file:
            file.seek(offset_bytes - 1)
            return file.read(1) == b"\n"
    except OSError:
        return False
