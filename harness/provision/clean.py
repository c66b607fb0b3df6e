"""Removes what dead runs left behind, from their ownership records alone, and nothing else."""

from __future__ import annotations

import os
import select
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from harness.errors import CleanupError
from harness.provision import kernel, unprivileged
from harness.provision.connections.spawned import process_start_ticks
from harness.provision.kernel import NamespaceIdentity
from harness.provision.ownership import OwnedObject, read_objects, read_owner
from harness.provision.state_directory import lock_state, remove_state_directory, state_directory
from harness.provision.tasks.small_disk import KIND, unmount_keeping

_END_S = 2.0


@dataclass(frozen=True)
class CleanedObject:
    """One object that was removed, ended or restored."""

    run_id: str
    kind: str
    name: str


def clean(directory: Path | None = None) -> list[CleanedObject]:
    """Remove everything of runs whose process is gone; a run that holds the lock is left alone.

    Processes are ended only when process id and start time match the record, namespaces removed only when device and
    inode do, sysctls restored only when they still hold the recorded value. Repeating it does nothing more.
    Raises CleanupError naming what could not be removed, after having removed all the rest.
    """
    where = directory if directory is not None else state_directory()
    cleaned: list[CleanedObject] = []
    failures: list[str] = []
    if not where.is_dir():
        return cleaned
    with _living_run(where) as living:
        for record in sorted(where.glob("*/objects.jsonl")):
            run_id = record.parent.name
            if run_id == living:
                continue
            failures_before = len(failures)
            for item in reversed(read_objects(record)):
                if item.gone:
                    continue
                try:
                    if _remove(item):
                        cleaned.append(CleanedObject(run_id, item.kind, item.name))
                except (OSError, CleanupError) as error:
                    failures.append(f"{item.kind} {item.name} of run {run_id}: {error}")
            if len(failures) == failures_before:
                shutil.rmtree(record.parent, ignore_errors=True)
    unprivileged.remove_stale(where)
    remove_state_directory(where)
    if failures:
        raise CleanupError("could not be removed: " + "; ".join(failures))
    return cleaned


@contextmanager
def _living_run(where: Path) -> Iterator[str | None]:
    """Run id of the holder of the lock; None when there is none, and then nobody can become it within the block."""
    try:
        descriptor = lock_state(where)
    except BlockingIOError:
        run_id = read_owner(where).get("run_id")
        if not isinstance(run_id, str):
            raise CleanupError("a run is just starting on this machine; try again") from None
        yield run_id
        return
    try:
        yield None
    finally:
        os.close(descriptor)


def _remove(item: OwnedObject) -> bool:
    if item.kind == "process":
        return _end_process(item)
    if item.kind == "namespace":
        return _remove_namespace(item)
    if item.kind == "sysctl":
        return _restore_sysctl(item)
    if item.kind == KIND:
        return unmount_keeping(Path(item.name), item.identity.get("device"))
    return False  # everything else lives inside a namespace and goes with it


def _end_process(item: OwnedObject) -> bool:
    pid, start_ticks = item.identity.get("pid"), item.identity.get("start_ticks")
    if not isinstance(pid, int) or not isinstance(start_ticks, int):
        return False  # never started; a child whose parent died before recording it ends at the end of its input
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return False
    try:
        # With the handle open the id cannot pass to another process between this comparison and the signals.
        if process_start_ticks(pid) != start_ticks:
            return False
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                signal.pidfd_send_signal(handle, number)
            except ProcessLookupError:
                return True
            if _ended(handle, pid, start_ticks):
                return True
    finally:
        os.close(handle)
    raise CleanupError(f"process {pid} does not end")


def _ended(handle: int, pid: int, start_ticks: int) -> bool:
    deadline = time.monotonic() + _END_S
    poll = select.poll()
    poll.register(handle, select.POLLIN)
    poll.poll((deadline - time.monotonic()) * 1000)
    return process_start_ticks(pid) != start_ticks


def _remove_namespace(item: OwnedObject) -> bool:
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
