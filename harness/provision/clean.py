"""Removes what dead runs left behind, by their records and the marks of their processes, and nothing else."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from harness.errors import CleanupError
from harness.provision import kernel, unprivileged
from harness.provision.kernel import NamespaceIdentity
from harness.provision.objects import RECORD, OwnedObject, Record, claim_record, read_record
from harness.provision.owner import orphans
from harness.provision.scratch import KIND as SCRATCH
from harness.provision.scratch import remove_scratch
from harness.provision.state_directory import lock_state, remove_state_directory, state_directory
from harness.provision.tasks import file, small_disk
from harness.provision.termination import Identity, end_processes

_ROUNDS = 5
"""A process that is being ended may start another; what does that more often is reported."""


@dataclass(frozen=True)
class CleanedObject:
    """One object that was removed, ended or restored. run_id: "" for a process that no record names."""

    run_id: str
    kind: str
    name: str


@dataclass(frozen=True)
class _Dead:
    """A record whose writer has ended, locked while this works it off."""

    folder: Path
    record: Record
    descriptor: int

    @property
    def run_id(self) -> str:
        return self.folder.name

    @property
    def left(self) -> list[OwnedObject]:
        """What is not known to be gone, latest first. After a start of the machine nothing but files is left."""
        owner = self.record.owner
        standing = [item for item in reversed(self.record.objects.values()) if not item.gone]
        if owner is not None and not owner.is_of_this_boot:
            return [item for item in standing if item.kind in (SCRATCH, small_disk.KIND, file.KIND)]
        return standing


def clean(directory: Path | None = None, *, kept: bool = True, owns_machine: bool = False) -> list[CleanedObject]:
    """Remove everything of runs that have ended; what belongs to a living process is left alone.

    Processes are ended only when process id and start time match the record, or when they carry the mark of an owner
    that has ended; namespaces and directories are removed only when device and inode match. Parameters of the host are
    restored, the latest change first, only when they still hold the recorded value, and not under a run that is active.
    Repeating it does nothing more, also after it was killed. kept: also testbeds that were left standing on purpose;
    owns_machine: the caller is the active run, and depends on nothing of the host yet.

    Raises CleanupError naming what could not be removed, after having removed all the rest.
    """
    where = directory if directory is not None else state_directory()
    if not where.is_dir():
        return []
    with _dead_records(where, kept) as dead, _restoring(where, owns_machine) as may_restore:
        done = _Cleaning(may_restore)
        done.end_recorded_processes(dead)
        done.end_orphans(where)
        for one in dead:
            done.remove_rest(one)
    unprivileged.remove_stale(where)
    remove_state_directory(where)
    if done.failures:
        raise CleanupError("could not be removed: " + "; ".join(done.failures))
    return done.cleaned


@contextmanager
def _dead_records(where: Path, kept: bool) -> Iterator[list[_Dead]]:
    """Every record whose writer has ended, the latest first."""
    dead: list[_Dead] = []
    try:
        for folder in sorted(path for path in where.iterdir() if path.is_dir() and not path.is_symlink()):
            descriptor = claim_record(folder / RECORD)
            if descriptor is not None:
                one = _Dead(folder, read_record(folder / RECORD), descriptor)
                if one.record.kept and not kept:
                    os.close(descriptor)
                else:
                    dead.append(one)
            elif not (folder / RECORD).exists() and not unprivileged.holds_names(folder):
                _remove_empty(folder)
        yield sorted(dead, key=lambda one: one.record.started_ns, reverse=True)
    finally:
        for one in dead:
            os.close(one.descriptor)


def _remove_empty(folder: Path) -> None:
    """One that was cut off between making its folder and its record, or between removing its record and its folder."""
    try:
        folder.rmdir()
    except OSError:
        return


@contextmanager
def _restoring(where: Path, owns_machine: bool) -> Iterator[bool]:
    """Whether no run is active that could depend on a parameter of the host; then none begins within the block."""
    if owns_machine:
        yield True
        return
    try:
        descriptor = lock_state(where)
    except BlockingIOError:
        yield False
        return
    try:
        os.ftruncate(descriptor, 0)  # what stands there is the name of one that has ended
        yield True
    finally:
        os.close(descriptor)


class _Cleaning:
    """What was done, and what did not work."""

    def __init__(self, may_restore: bool) -> None:
        self._may_restore = may_restore
        self.cleaned: list[CleanedObject] = []
        self.failures: list[str] = []

    def end_recorded_processes(self, dead: list[_Dead]) -> None:
        """All of them at once: each is given its time, and none waits for another."""
        titles: dict[Identity, tuple[str, str]] = {}
        for one in dead:
            for item in one.left:
                pid, start_ticks = item.identity.get("pid"), item.identity.get("start_ticks")
                if item.kind == "process" and isinstance(pid, int) and isinstance(start_ticks, int) and pid > 1:
                    titles[pid, start_ticks] = (one.run_id, item.name)
        ended, stubborn = end_processes(titles)
        self.cleaned += [CleanedObject(titles[identity][0], "process", titles[identity][1]) for identity in ended]
        for identity in stubborn:
            run_id, name = titles[identity]
            self.failures.append(f"process {name} of run {run_id}: process {identity[0]} does not end")

    def end_orphans(self, where: Path) -> None:
        """Processes that no record names, or of which only a record says nothing more."""
        found: list[Identity] = []
        for _ in range(_ROUNDS):
            found = list(orphans(where))
            if not found:
                return
            names = {identity: _title(identity[0]) for identity in found}
            ended, _ = end_processes(found)
            self.cleaned += [CleanedObject("", "process", names[identity]) for identity in ended]
        self.failures += [f"process {pid} ({_title(pid)}) does not end" for pid, _ in found]

    def remove_rest(self, one: _Dead) -> None:
        """Everything but processes, in reverse; the record goes when nothing of it is left."""
        before = len(self.failures)
        postponed = False
        for item in one.left:
            if item.kind == "sysctl" and not self._may_restore:
                postponed = True
                continue
            try:
                if _remove(item):
                    self.cleaned.append(CleanedObject(one.run_id, item.kind, item.name))
            except (OSError, CleanupError) as error:
                self.failures.append(f"{item.kind} {item.name} of run {one.run_id}: {error}")
        stubborn = any(f" of run {one.run_id}: " in failure for failure in self.failures[:before])
        if len(self.failures) == before and not postponed and not stubborn:
            shutil.rmtree(one.folder, ignore_errors=True)


def _title(pid: int) -> str:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        words = []
    return os.fsdecode(b" ".join(words[:4])).strip() or str(pid)


def _remove(item: OwnedObject) -> bool:
    if item.kind == "namespace":
        return _remove_namespace(item)
    if item.kind == "sysctl":
        return _restore_sysctl(item)
    if item.kind == SCRATCH:
        return remove_scratch(item.name, item.identity)
    if item.kind == file.KIND:
        return file.restore_file(item.name, item.identity)
    if item.kind == small_disk.KIND:
        return small_disk.unmount_keeping(Path(item.name), item.identity.get("device"))
    return False  # everything else lives inside a namespace and goes with it


def _remove_namespace(item: OwnedObject) -> bool:
    if "/" in item.name:
        return False  # no record of ours
    device, inode = item.identity.get("device"), item.identity.get("inode")
    if isinstance(device, int) and isinstance(inode, int):
        identity = NamespaceIdentity(device, inode)
        if kernel.namespace_identity(item.name) == identity:
            return kernel.remove_named_namespace(item.name, identity)
    return kernel.remove_stale_name(item.name)


def _restore_sysctl(item: OwnedObject) -> bool:
    if item.identity.get("netns") is not None:
        return False  # gone with its namespace
    path, before, after = (item.identity.get(key) for key in ("path", "before", "after"))
    if not isinstance(path, str) or not path.startswith("/proc/sys/") or not isinstance(before, str):
        return False
    target = Path(path)
    if not target.exists() or set(target.read_text().split()) != set(str(after).split()):
        return False
    target.write_text(before)
    return True
