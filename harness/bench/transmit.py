"""A sender that keeps a rate from intended times, in compiled code: what the forwarding measurements are fed with.

The load generator itself is a process that also receives, checks and records; to saturate a VNF in one direction it
is not needed, and its start would take longer than a trial.
"""

from __future__ import annotations

import socket
import threading
from dataclasses import dataclass

import numpy as np
from numba import typeof, types

from harness.dataplane.jit import Int, compiled_as
from harness.dataplane.libc import clock_ns, errno, sendmmsg, sleep_until_ns
from harness.dataplane.port import Vectors, make_vectors
from harness.dataplane.scheduling import set_dataplane_scheduling

BURST_PACKETS = 64
_TICK_NS = 100_000
_FRAMES = types.Array(types.uint8, 2, "C")
_WORDS = types.Array(types.int64, 1, "C")
SENT, FIRST_NS, LAST_NS, STOP, RETRIES = range(5)


@compiled_as(
    types.void(types.int64, types.int64, types.int64, types.int64, _FRAMES, typeof(make_vectors(1)), _WORDS, _WORDS),
    addresses=True,
)
def _send_paced(
    fd: Int,
    rate_pps: Int,
    packets: Int,
    give_up_ns: Int,
    frames: np.ndarray,
    vectors: Vectors,
    words: np.ndarray,
    scratch: np.ndarray,
) -> None:
    """Send `packets` frames, the rows of `frames` in turn, packet i at start + i / rate or as soon after as possible;
    ends when all are sent, at `give_up_ns` after the start, or when words[STOP] is set."""
    rows = frames.shape[0]
    slot_bytes = frames.shape[1]
    base = frames.ctypes.data
    address = vectors.messages.ctypes.data
    start_ns = clock_ns(1, scratch)
    words[FIRST_NS] = start_ns
    sent = np.int64(0)
    while sent < packets and words[STOP] == 0:
        now_ns = clock_ns(1, scratch)
        if now_ns - start_ns > give_up_ns:
            break
        # Split into whole seconds and the rest, so that the product stays within 64 bits.
        elapsed_ns = now_ns - start_ns
        due = elapsed_ns // 1_000_000_000 * rate_pps + elapsed_ns % 1_000_000_000 * rate_pps // 1_000_000_000 + 1
        count = min(due, packets) - sent
        if count <= 0:
            sleep_until_ns(now_ns + _TICK_NS, scratch)
            continue
        count = min(count, vectors.slots.shape[0])
        for i in range(count):
            vectors.iovecs[i, 0] = np.uint64(base + (sent + i) % rows * slot_bytes)
            vectors.iovecs[i, 1] = np.uint64(slot_bytes)
        n = np.int64(sendmmsg(np.int32(fd), address, np.uint32(count), np.int32(0x40)))
        if n > 0:
            sent += n
            words[SENT] = sent
        elif errno() in (11, 105, 4):
            words[RETRIES] += 1
        else:
            break
    words[LAST_NS] = clock_ns(1, scratch)


@dataclass(frozen=True)
class Sent:
    """What a sender did; times CLOCK_MONOTONIC ns."""

    packets: int
    first_ns: int
    last_ns: int

    @property
    def rate_pps(self) -> float:
        """Packets per second over its own time."""
        return self.packets * 1e9 / max(1, self.last_ns - self.first_ns)


class Sender:
    """Sends in a thread of its own. `scheduler` as in a profile ("auto": SCHED_FIFO where permitted)."""

    def __init__(self, sock: socket.socket, frames: np.ndarray, scheduler: str) -> None:
        self._sock, self._frames, self._scheduler = sock, np.ascontiguousarray(frames), scheduler
        self._words = np.zeros(8, np.int64)
        self._thread: threading.Thread | None = None

    def start(self, rate_pps: int, packets: int, give_up_ns: int) -> None:
        """Begin; at most `packets`, and no longer than `give_up_ns`."""
        self._words[:] = 0
        vectors, scratch = make_vectors(BURST_PACKETS), np.zeros(2, np.int64)

        def run() -> None:
            set_dataplane_scheduling(self._scheduler)
            _send_paced(self._sock.fileno(), rate_pps, packets, give_up_ns, self._frames, vectors, self._words, scratch)

        self._thread = threading.Thread(target=run, name="bench sender", daemon=True)
        self._thread.start()

    def stop(self) -> Sent:
        """End it where it still sends, and wait for it."""
        self._words[STOP] = 1
        return self.wait()

    def wait(self) -> Sent:
        """Wait until it has sent everything or given up."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        return Sent(int(self._words[SENT]), int(self._words[FIRST_NS]), int(self._words[LAST_NS]))
