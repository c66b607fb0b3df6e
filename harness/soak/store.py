"""What a soak has found so far: one line of JSON per schedule, on the disk before the next one begins."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from harness.errors import UsageError
from harness.record.summary import AttemptSummary, FaultSummary

RESULTS = "soak.jsonl"


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, from_attributes=True)


class CheckedPromise(_Part):
    """See harness.faults.checker.Promise."""

    name: str
    verdict: Literal["kept", "broken", "unknown"]
    detail: str


class SoakEntry(_Part):
    """One schedule. number: from 0, seed: of its faults; folder: of the run, empty where it was removed."""

    number: int
    seed: int
    profile_digest: str
    mode: str
    faults: tuple[FaultSummary, ...]
    attempts: tuple[AttemptSummary, ...]
    validity: str
    reasons: tuple[str, ...]
    promises: tuple[CheckedPromise, ...]
    verdict: Literal["kept", "broken", "unknown"]
    took_s: float
    folder: str = ""


def read_entries(path: Path) -> list[SoakEntry]:
    """Every whole line; the last may have been cut off when the soak was ended. UsageError for any other damage."""
    if not path.exists():
        return []
    lines = path.read_bytes().split(b"\n")
    try:
        return [SoakEntry.model_validate_json(line) for line in lines[:-1] if line]
    except ValidationError as error:
        raise UsageError(f"{path}: not the results of a soak ({error.error_count()} faults); move it away") from None


def append_entry(path: Path, entry: SoakEntry) -> None:
    """Write and wait until it is on the disk. A line that was cut off is removed first."""
    with path.open("ab") as file:
        pass
    content = path.read_bytes()
    if content and not content.endswith(b"\n"):
        with path.open("r+b") as file:
            file.truncate(content.rfind(b"\n") + 1)
    with path.open("ab") as file:
        file.write(entry.model_dump_json().encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())
