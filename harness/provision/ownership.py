"""Who owns what: one lock per machine and a write-ahead record of every object, so that a dead run can be removed.

State directory: `lock`, held with flock by the present run and naming it, and `<run_id>/objects.jsonl`, one JSON object
a line, fsynced before the object it speaks of is made. Root and the users of a machine have directories of their own
and share the machine's lock; whoever chooses a directory with SLIM_HARNESS_STATE has chosen that lock, too.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.errors import HarnessError, MachineError
from harness.provision.connections.spawned import process_start_ticks
from harness.provision.machine_lock import MachineLock
from harness.provision.state_directory import LOCK, STATE_VARIABLE, lock_state, make_state_directory, state_directory

_RECORD = "objects.jsonl"


def link_alias(run_id: str) -> str:
    """The mark every link of a run carries as its alias."""
    return f"slim-harness run={run_id}"


@dataclass
class OwnedObject:
    """An object of a run: `made` is False while only the intention is recorded, `gone` True once removed."""

    number: int
    kind: str
    name: str
    identity: dict[str, Any] = field(default_factory=dict)
    made: bool = False
    gone: bool = False


def read_objects(path: Path) -> list[OwnedObject]:
    """Objects of a record in the order of their creation. A torn last line (the crash came while writing it) is
    dropped.
    """
    objects: dict[int, OwnedObject] = {}
    try:
        lines = path.read_text(errors="replace").splitlines()
    except FileNotFoundError:
        return []
    for line in lines:
        try:
            entry = json.loads(line)
            number, step = int(entry["number"]), entry["step"]
            if step == "intend":
                objects[number] = OwnedObject(number, str(entry["kind"]), str(entry["name"]), dict(entry["identity"]))
            elif step == "made":
                objects[number].made = True
                objects[number].identity.update(entry["identity"])
            elif step == "gone":
                objects[number].gone = True
        except (ValueError, KeyError, TypeError):
            continue
    return list(objects.values())


class Ownership:
    """The present run's record. Use as a context manager, or call `release` when nothing of the run is left."""

    def __init__(
        self, run_id: str, directory: Path, lock_descriptor: int, machine_lock: MachineLock | None = None
    ) -> None:
        self.run_id = run_id
        self.directory = directory
        self._lock_descriptor = lock_descriptor
        self._machine_lock = machine_lock
        self._guard = threading.Lock()
        self._path = directory / run_id / _RECORD
        self._objects: dict[int, OwnedObject] = {}
        self._descriptor = -1
        if lock_descriptor < 0:
            return
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._objects = {item.number: item for item in read_objects(self._path)}
        self._descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)

    @classmethod
    def preview(cls, run_id: str) -> Ownership:
        """A record that owns nothing and must stay so: for looking without touching (--check)."""
        return cls(run_id, state_directory(), -1)

    @classmethod
    def acquire(cls, run_id: str, directory: Path | None = None) -> Ownership:
        """Become the one run on this machine; MachineError naming the present owner when there is one already."""
        where = directory if directory is not None else state_directory()
        try:
            make_state_directory(where)
            descriptor = lock_state(where)
        except BlockingIOError:
            owner = describe_owner(read_owner(where))
            raise MachineError(f"another run is active on this machine: {owner}; wait for it or end it") from None
        except OSError as error:
            raise MachineError(f"state directory {where}: {error.strerror}; set {STATE_VARIABLE} to another") from error
        chosen = directory is not None or os.environ.get(STATE_VARIABLE)
        try:
            machine_lock = None if chosen else MachineLock()
        except MachineError:
            os.close(descriptor)
            raise
        owner_text = json.dumps(
            {
                "run_id": run_id,
                "pid": os.getpid(),
                "start_ticks": process_start_ticks(os.getpid()),
                "argv": sys.argv,
                "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            }
        )
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, owner_text.encode(), 0)
        os.fsync(descriptor)
        return cls(run_id, where, descriptor, machine_lock)

    def intend(self, kind: str, name: str, identity: Mapping[str, Any] | None = None) -> int:
        """Record, on disk, that an object is about to be made; returns its number."""
        with self._guard:
            number = max(self._objects, default=0) + 1
            self._objects[number] = OwnedObject(number, kind, name, dict(identity or {}))
            self._write(
                {"step": "intend", "number": number, "kind": kind, "name": name, "identity": dict(identity or {})}
            )
            return number

    def made(self, number: int, identity: Mapping[str, Any] | None = None) -> None:
        """Record that the object exists, and what tells it from any other of that name."""
        with self._guard:
            self._objects[number].made = True
            self._objects[number].identity.update(identity or {})
            self._write({"step": "made", "number": number, "identity": dict(identity or {})})

    def gone(self, number: int) -> None:
        """Record that the object is no more."""
        with self._guard:
            self._objects[number].gone = True
            self._write({"step": "gone", "number": number})

    def find(self, kind: str, name: str) -> OwnedObject | None:
        """The living object of that kind and name, None when the run has none."""
        with self._guard:
            for item in reversed(self._objects.values()):
                if item.kind == kind and item.name == name and not item.gone:
                    return item
        return None

    def living(self) -> list[OwnedObject]:
        """Objects of the run that were intended or made and not yet removed, in the order of creation.

        What was made inside a namespace of the run (its "container") is no more once that namespace is gone.
        """
        with self._guard:
            standing = {item.name for item in self._objects.values() if item.kind == "namespace" and not item.gone}
            return [
                item
                for item in self._objects.values()
                if not item.gone and item.identity.get("container", item.name) in {item.name, *standing}
            ]

    def _write(self, entry: dict[str, Any]) -> None:
        if self._descriptor < 0:
            raise HarnessError(f"run {self.run_id}: nothing may be made while it does not own the machine")
        os.write(self._descriptor, json.dumps(entry).encode() + b"\n")
        os.fdatasync(self._descriptor)

    def release(self) -> None:
        """Give the machine back. The record goes when nothing of the run is left, and stays for `clean` otherwise."""
        if self._lock_descriptor < 0:
            return
        os.close(self._descriptor)
        self._descriptor = -1
        if not self.living():
            shutil.rmtree(self._path.parent, ignore_errors=True)
        os.ftruncate(self._lock_descriptor, 0)
        os.close(self._lock_descriptor)
        self._lock_descriptor = -1
        if self._machine_lock is not None:
            self._machine_lock.release()

    def __enter__(self) -> Ownership:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.release()


def read_owner(directory: Path) -> dict[str, Any]:
    """What the lock file says of its holder; empty when it says nothing readable."""
    try:
        owner = json.loads((directory / LOCK).read_text())
    except (OSError, ValueError):
        return {}
    return owner if isinstance(owner, dict) else {}


def describe_owner(owner: Mapping[str, Any]) -> str:
    """One line about the holder of the lock."""
    if not owner:
        return "its owner has not written its name yet"
    command = " ".join(str(word) for word in owner.get("argv", []))
    return f"run {owner.get('run_id')}, process {owner.get('pid')} ({command}), started {owner.get('started')}"
