"""The trace: what the dataplane processed, in order, so that a reference can process the same.

One record per packet taken by an active instance: now_ns u64, length u16, port u8, captured u8 (little endian), then
the first 52 bytes of the frame as they arrived; a timer tick that let an entry expire has port 255 and its tick number
in the first 8 bytes. A single-producer, single-consumer ring; a thread beside the dataplane writes it to a file.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from harness.dataplane.fence import acquire_fence, release_fence
from harness.dataplane.jit import Int, compiled

RECORD_BYTES = 64
CAPTURE_BYTES = 52
HEAD, TAIL, LOST, ENABLED = 0, 8, 9, 10

TRACE_DTYPE = np.dtype(
    [("now_ns", "<u8"), ("length", "<u2"), ("port", "u1"), ("captured", "u1"), ("data", "u1", (CAPTURE_BYTES,))]
)


class TraceRing(NamedTuple):
    """records: uint8[capacity, 64]; state: int64[16] (HEAD belongs to the consumer, the rest to the dataplane)."""

    records: Any
    state: Any


def make_trace_ring(capacity_records: int, enabled: bool) -> TraceRing:
    """A ring of `capacity_records`, a power of two; records beyond it are counted as lost, never waited for."""
    if capacity_records & (capacity_records - 1):
        raise ValueError(f"trace ring of {capacity_records} records: a power of two is needed")
    ring = TraceRing(np.zeros((capacity_records, RECORD_BYTES), np.uint8), np.zeros(16, np.int64))
    ring.state[ENABLED] = int(enabled)
    return ring


@compiled
def trace(ring: TraceRing, now_ns: Int, port: Int, length: Int, frame: Any, frame_bytes: Int) -> None:
    """Append one record of `frame[:frame_bytes]`; without room it is counted as lost."""
    state = ring.state
    capacity = ring.records.shape[0]
    if state[TAIL] - state[HEAD] >= capacity:
        state[LOST] += 1
        return
    record = ring.records[state[TAIL] & (capacity - 1)]
    for i in range(8):
        record[i] = np.uint8((now_ns >> (8 * i)) & 0xFF)
    record[8] = np.uint8(length & 0xFF)
    record[9] = np.uint8((length >> 8) & 0xFF)
    record[10] = np.uint8(port)
    captured = min(frame_bytes, CAPTURE_BYTES)
    record[11] = np.uint8(captured)
    for i in range(captured):
        record[12 + i] = frame[i]
    release_fence()
    state[TAIL] += 1


@compiled
def trace_tick(ring: TraceRing, now_ns: Int, tick: Int, scratch: Any) -> None:
    """Append a timer tick that announced an expiry."""
    for i in range(8):
        scratch[i] = np.uint8((tick >> (8 * i)) & 0xFF)
    trace(ring, now_ns, 255, 0, scratch, 8)


@compiled
def _order() -> None:
    acquire_fence()


def take_records(ring: TraceRing) -> bytes:
    """Everything recorded since the last call, as bytes of whole records (consumer side)."""
    head, tail = int(ring.state[HEAD]), int(ring.state[TAIL])
    _order()
    capacity = ring.records.shape[0]
    first, last = head % capacity, tail % capacity
    if head == tail:
        return b""
    if first < last:
        taken: bytes = ring.records[first:last].tobytes()
    else:
        taken = ring.records[first:].tobytes() + ring.records[:last].tobytes()
    ring.state[HEAD] = tail
    return taken
