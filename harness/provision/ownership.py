"""Who owns what: one lock per machine and a write-ahead record of every object, so that a dead run can be removed.

State directory: `lock`, held with flock by the present run and naming it, and `<run_id>/objects.jsonl`
(harness.provision.objects), each line on the disk before the object it speaks of is made. What is owned beside a run, a
temporary directory say, has a record of its own and needs no lock. Root and the users of a machine have directories of
their own and share the machine's lock; whoever chooses a directory with SLIM_HARNESS_STATE has chosen that lock, too.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.errors import HarnessError, MachineError
from harness.provision.machine_lock import MachineLock
from harness.provision.objects import LOCK_S, RECORD, OwnedObject, open_record, read_objects
from harness.provision.owner import Owner, mark_processes
from harness.provision.state_directory import LOCK, STATE_VARIABLE, lock_state, make_state_directory, state_directory

_POLL_S = 0.02


def link_alias(run_id: str) -> str:
    """The mark every link of a run carries as its alias."""
    return f"slim-harness run={run_id}"


class Ownership:
    """The present run's record. Use as a context manager, or call `release` when nothing of the run is left."""

    def __init__(
        self,
        run_id: str,
        directory: Path,
        lock_descriptor: int = -1,
        machine_lock: MachineLock | None = None,
        *,
        record: bool = True,
    ) -> None:
        """lock_descriptor: that of the directory's lock, closed in the end; -1 without. record: whether anything may be
        made."""
        self.run_id = run_id
        self.directory = directory
        self._lock_descriptor = lock_descriptor
        self._machine_lock = machine_lock
        self._guard = threading.Lock()
        self._path = directory / run_id / RECORD
        self._objects: dict[int, OwnedObject] = {}
        self._descriptor = -1
        if not record:
            return
        try:
            make_state_directory(directory)
            self._descriptor = open_record(self._path.parent)
        except OSError as error:
            raise _unusable(directory, error) from error
        self._objects = {item.number: item for item in read_objects(self._path)}
        self._write({"step": "owner", "started_ns": time.time_ns(), **vars(Owner.present())})
        mark_processes(directory)

    @classmethod
    def preview(cls, run_id: str) -> Ownership:
        """A record that owns nothing and must stay so: for looking without touching (--check)."""
        return cls(run_id, state_directory(), record=False)

    @classmethod
    def beside(cls, name: str, directory: Path | None = None) -> Ownership:
        """A record for what is made beside a run, also while there is one. MachineError: no usable state directory."""
        return cls(name, directory if directory is not None else state_directory())

    @classmethod
    def acquire(cls, run_id: str, directory: Path | None = None) -> Ownership:
        """Become the one run on this machine; MachineError naming the present owner when there is one already."""
        where = directory if directory is not None else state_directory()
        descriptor = _lock_patiently(where)
        chosen = directory is not None or os.environ.get(STATE_VARIABLE)
        try:
            machine_lock = None if chosen else MachineLock()
        except MachineError:
            os.close(descriptor)
            raise
        owner_text = json.dumps(
            {
                "run_id": run_id,
                **vars(Owner.present()),
                "argv": sys.argv,
                "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            }
        )
        try:
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, owner_text.encode(), 0)
            os.fsync(descriptor)
            return cls(run_id, where, descriptor, machine_lock)
        except BaseException:
            if machine_lock is not None:
                machine_lock.release()
            os.close(descriptor)
            raise

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

    def keep(self) -> None:
        """Record that what is left is left on purpose: the next run does not remove it, `harness clean` does."""
        with self._guard:
            self._write({"step": "kept"})

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
        if self._descriptor < 0:
            return
        if not self.living():
            shutil.rmtree(self._path.parent, ignore_errors=True)
        os.close(self._descriptor)
        self._descriptor = -1
        if self._lock_descriptor >= 0:
            os.ftruncate(self._lock_descriptor, 0)
            os.close(self._lock_descriptor)
            self._lock_descriptor = -1
        if self._machine_lock is not None:
            self._machine_lock.release()

    def __enter__(self) -> Ownership:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.release()


def _unusable(directory: Path, error: OSError) -> MachineError:
    return MachineError(f"state directory {directory}: {error.strerror}; set {STATE_VARIABLE} to another")


def _lock_patiently(where: Path) -> int:
    """Descriptor of the lock of a state directory. MachineError naming its holder.

    Held on behalf of one that has just ended, or by a `clean`, it is free in a moment.
    """
    deadline = time.monotonic() + LOCK_S
    while True:
        try:
            make_state_directory(where)
            return lock_state(where)
        except BlockingIOError:
            owner = read_owner(where)
            holder = Owner.parse(owner)
            passing = not owner or (holder is not None and holder.has_ended)
            if not passing or time.monotonic() > deadline:
                text = describe_owner(owner)
                raise MachineError(f"another run is active on this machine: {text}; wait for it or end it") from None
            time.sleep(_POLL_S)
        except OSError as error:
            raise _unusable(where, error) from error


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
