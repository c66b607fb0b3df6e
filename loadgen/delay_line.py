"""A pool of frames that are held from their arrival until they have matured: the latency of a link, at its far end.

Free slots are a stack, so that a busy line keeps reusing few slots and these stay in the processor's cache; held slots
are a queue in order of arrival.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from harness.dataplane.jit import compiled
from harness.dataplane.libc import clock_ns
from harness.dataplane.port import receive_burst
from loadgen.clock import arrival_ns, monotonic_minus_realtime_ns
from loadgen.wire import SLOT_BYTES

FREE, HEAD, TAIL, HIGHEST = 0, 1, 2, 3


class DelayLine(NamedTuple):
    """frames: uint8[P, SLOT_BYTES], words: the same as uint32; free, held: uint32[P]; due_ns, length: int64[P] (by
    place in the queue); cursor: int64[4] = free slots, taken and put counts of the queue, most frames ever held."""

    frames: Any
    words: Any
    free: Any
    held: Any
    due_ns: Any
    length: Any
    cursor: Any


def make_delay_line(frames: int) -> DelayLine:
    """An empty line for up to `frames` frames, a power of two."""
    if frames < 1 or frames & (frames - 1):
        raise ValueError(f"delay line of {frames} frames: a power of two is needed")
    pool = np.zeros((frames, SLOT_BYTES), np.uint8)
    line = DelayLine(
        frames=pool,
        words=pool.view(np.uint32),
        free=np.arange(frames, dtype=np.uint32),
        held=np.zeros(frames, np.uint32),
        due_ns=np.zeros(frames, np.int64),
        length=np.zeros(frames, np.int64),
        cursor=np.zeros(4, np.int64),
    )
    line.cursor[FREE] = frames
    return line


@compiled
def held_frames(line: DelayLine) -> int:
    """Frames in the line."""
    held: int = line.cursor[TAIL] - line.cursor[HEAD]
    return held


@compiled
def fill(fd: int, latency_ns: int, burst: int, line: DelayLine, vectors: Any, scratch: Any) -> int:
    """Receive up to `burst` frames into free slots; they mature `latency_ns` after arrival. Returns how many came.

    Without free slots nothing is read: the frames wait in the kernel, with their timestamps.
    """
    free: int = line.cursor[FREE]
    limit = min(burst, free)
    if limit == 0:
        return 0
    for i in range(limit):
        vectors.slots[i] = line.free[free - 1 - i]
    n: int = receive_burst(fd, limit, line.frames, vectors)
    if n == 0:
        return n
    difference_ns = monotonic_minus_realtime_ns(scratch)
    now_ns = clock_ns(1, scratch)
    mask = line.held.shape[0] - 1
    for i in range(n):
        place = (line.cursor[TAIL] + i) & mask
        line.held[place] = vectors.slots[i]
        line.length[place] = vectors.lengths[i]
        line.due_ns[place] = arrival_ns(vectors.arrivals_ns[i], difference_ns, now_ns) + latency_ns
    line.cursor[FREE] -= n
    line.cursor[TAIL] += n
    line.cursor[HIGHEST] = max(line.cursor[HIGHEST], held_frames(line))
    return n


@compiled
def next_due_ns(line: DelayLine) -> int:
    """When the oldest frame matures; the largest integer when the line is empty."""
    due_ns = 0x7FFFFFFFFFFFFFFF
    if line.cursor[HEAD] != line.cursor[TAIL]:
        due_ns = line.due_ns[line.cursor[HEAD] & (line.held.shape[0] - 1)]
    return due_ns


@compiled
def release(slot: int, line: DelayLine) -> None:
    """Give back a slot that was taken from the head of the queue and whose frame is no longer needed."""
    line.free[line.cursor[FREE]] = slot
    line.cursor[FREE] += 1
