"""Ends processes that are nobody's children here, side by side, and never one that has only got the number."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from collections.abc import Iterable

from harness.provision.connections.spawned import process_start_ticks

END_S = 2.0
"""How long they have after SIGTERM, and again after SIGKILL."""

Identity = tuple[int, int]
"""Process id and start ticks."""


def end_processes(identities: Iterable[Identity]) -> tuple[list[Identity], list[Identity]]:
    """(ended, still there): SIGTERM to all of them, SIGKILL to those that are left after a while. Those that had ended
    already are in neither."""
    handles: dict[Identity, int] = {}
    try:
        for identity in identities:
            handle = _handle(identity)
            if handle is not None and identity not in handles:
                handles[identity] = handle
        left = dict(handles)
        for number in (signal.SIGTERM, signal.SIGKILL):
            for handle in left.values():
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(handle, number)
                    signal.pidfd_send_signal(handle, signal.SIGCONT)  # one that was stopped hears nothing else
            left = _wait(left)
        return [identity for identity in handles if identity not in left], list(left)
    finally:
        for handle in handles.values():
            os.close(handle)


def _handle(identity: Identity) -> int | None:
    pid, start_ticks = identity
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return None
    # With the handle open the number cannot pass to another process between this comparison and the signals.
    if process_start_ticks(pid) == start_ticks:
        return handle
    os.close(handle)
    return None


def _wait(handles: dict[Identity, int]) -> dict[Identity, int]:
    """Those that have not ended within END_S. A zombie has: it holds nothing and only waits for its parent."""
    deadline = time.monotonic() + END_S
    left = dict(handles)
    poll = select.poll()
    for handle in left.values():
        poll.register(handle, select.POLLIN)
    while left and (patience_s := deadline - time.monotonic()) > 0:
        ready = {descriptor for descriptor, _ in poll.poll(patience_s * 1000)}
        for identity, handle in list(left.items()):
            if handle in ready or process_start_ticks(identity[0]) != identity[1]:
                poll.unregister(handle)
                del left[identity]
    return {identity: handle for identity, handle in left.items() if process_start_ticks(identity[0]) == identity[1]}
