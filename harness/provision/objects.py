"""The record of what a process owns, `objects.jsonl`: one JSON object a line, locked with flock while its writer lives.

The lock, not a process id, tells a living record from a dead one: the kernel gives it back whatever the writer dies of.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.errors import MachineError
from harness.provision.owner import Owner

RECORD = "objects.jsonl"
LOCK_S = 2.0
"""A process that is just being started holds the files of the one that starts it until it has its own program."""
_POLL_S = 0.01


@dataclass
class OwnedObject:
    """An object of a run: `made` is False while only the intention is recorded, `gone` True once removed."""

    number: int
    kind: str
    name: str
    identity: dict[str, Any] = field(default_factory=dict)
    made: bool = False
    gone: bool = False


@dataclass
class Record:
    """What a record says. owner: None in one that was cut off before its first line; kept: its objects were left
    standing on purpose."""

    owner: Owner | None = None
    started_ns: int = 0
    kept: bool = False
    objects: dict[int, OwnedObject] = field(default_factory=dict)


def read_record(path: Path) -> Record:
    """Read as far as it goes: a line torn by a crash is dropped. Empty where there is no record."""
    record = Record()
    try:
        lines = path.read_text(errors="replace").splitlines()
    except (FileNotFoundError, NotADirectoryError):
        return record
    for line in lines:
        try:
            _enter(record, json.loads(line))
        except (ValueError, KeyError, TypeError):
            continue
    return record


def _enter(record: Record, entry: dict[str, Any]) -> None:
    step = entry["step"]
    if step == "owner":
        record.owner, record.started_ns = Owner.parse(entry), int(entry["started_ns"])
    elif step == "kept":
        record.kept = True
    elif step == "intend":
        number = int(entry["number"])
        record.objects[number] = OwnedObject(number, str(entry["kind"]), str(entry["name"]), dict(entry["identity"]))
    elif step == "made":
        item = record.objects[int(entry["number"])]
        item.made = True
        item.identity.update(entry["identity"])
    elif step == "gone":
        record.objects[int(entry["number"])].gone = True


def read_objects(path: Path) -> list[OwnedObject]:
    """Objects of a record in the order of their creation."""
    return list(read_record(path).objects.values())


def open_record(folder: Path) -> int:
    """Make or open the record in a folder and lock it; a descriptor to append to. OSError; MachineError when somebody
    else holds it."""
    deadline = time.monotonic() + LOCK_S
    while True:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            descriptor = os.open(folder / RECORD, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        except FileNotFoundError:  # `clean` has just taken the empty folder away
            if time.monotonic() > deadline:
                raise
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            if time.monotonic() > deadline:
                raise MachineError(f"{folder / RECORD}: is held by another process; try again") from None
            time.sleep(_POLL_S)
            continue
        status = os.fstat(descriptor)
        if status.st_nlink:
            if status.st_size and os.pread(descriptor, 1, status.st_size - 1) != b"\n":
                os.write(descriptor, b"\n")  # the next line has to be one of its own
            return descriptor
        os.close(descriptor)  # removed between opening and locking


def claim_record(path: Path) -> int | None:
    """Lock a record whose writer has ended, to work it off; a descriptor to close. None where the writer lives, or the
    record is gone or being worked off by somebody else."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None
    deadline = time.monotonic() + LOCK_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = read_record(path).owner
            if owner is not None and owner.has_ended and time.monotonic() < deadline:
                time.sleep(_POLL_S)
                continue
        else:
            if os.fstat(descriptor).st_nlink:
                return descriptor
        os.close(descriptor)
        return None
