"""st_q_out: a single-producer, single-consumer ring of variable-length records (paper, section IV-A).

The dataplane thread puts one statelet or one duplicated frame after the other; the sender thread takes as many whole
records as fit its buffer. Records are type-length-value (type u16, length u16, payload; big endian) and lie back to
back; one that would cross the end of the memory starts at the beginning instead. Positions only ever grow.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from harness.dataplane.fence import acquire_fence, release_fence
from harness.dataplane.jit import Int, compiled

HEAD, TAIL, PUT, TAKEN, DEPTH_MAX, LIMIT, CLOSED = 0, 8, 9, 1, 10, 11, 12
_HEADER_BYTES = 4
_WRAP = 0xFFFF
"""Type of the filler record that skips the rest of the memory; images' statelet types lie below."""


class ByteRing(NamedTuple):
    """data: uint8[capacity]; state: int64[16], positions and counts (HEAD and TAKEN belong to the consumer)."""

    data: Any
    state: Any


def make_byte_ring(capacity_bytes: int, limit_records: int) -> ByteRing:
    """A ring of `capacity_bytes` holding at most `limit_records`. Memory is touched only as it is used."""
    if capacity_bytes < 8192 or limit_records < 1:
        raise ValueError(f"ring of {capacity_bytes} bytes and {limit_records} records: at least 8192 and 1")
    ring = ByteRing(np.zeros(capacity_bytes, np.uint8), np.zeros(16, np.int64))
    ring.state[LIMIT] = limit_records
    return ring


@compiled
def reset_ring(ring: ByteRing) -> None:
    """Empty the ring; only while neither side works on it. The largest depth stays, for the record."""
    state = ring.state
    state[HEAD] = 0
    state[TAIL] = 0
    state[PUT] = 0
    state[TAKEN] = 0
    state[CLOSED] = 0


@compiled
def has_room(ring: ByteRing, record_bytes: Int) -> Int:
    """Whether a record of up to `record_bytes` fits now, wherever the end of the memory falls."""
    state = ring.state
    used = state[TAIL] - state[HEAD]
    return state[PUT] - state[TAKEN] < state[LIMIT] and used + 2 * record_bytes + _HEADER_BYTES <= ring.data.shape[0]


@compiled
def reserve(ring: ByteRing, record_bytes: Int) -> Int:
    """Offset at which a record of `record_bytes` is to be written (after `has_room`)."""
    capacity = ring.data.shape[0]
    offset = ring.state[TAIL] % capacity
    rest = capacity - offset
    if rest < record_bytes:
        if rest >= 2:
            ring.data[offset] = 0xFF
            ring.data[offset + 1] = 0xFF
        release_fence()
        ring.state[TAIL] += rest
        return np.int64(0)
    return np.int64(offset)


@compiled
def commit(ring: ByteRing, record_bytes: Int) -> None:
    """Hand the record written at the reserved offset to the consumer."""
    state = ring.state
    release_fence()
    state[TAIL] += record_bytes
    state[PUT] += 1
    depth = state[PUT] - state[TAKEN]
    if depth > state[DEPTH_MAX]:
        state[DEPTH_MAX] = depth


@compiled
def put(ring: ByteRing, record: Any, record_bytes: Int) -> None:
    """Append `record[:record_bytes]` (after `has_room`)."""
    offset = reserve(ring, record_bytes)
    for i in range(record_bytes):
        ring.data[offset + i] = record[i]
    commit(ring, record_bytes)


@compiled
def take(ring: ByteRing, out: Any, limit_bytes: Int, result: Any) -> Int:
    """Move whole records, up to `limit_bytes`, into `out`; returns the bytes moved.

    `result` (int64[2]) receives the number of records and the sequence number of the first.
    """
    state, data = ring.state, ring.data
    capacity = data.shape[0]
    tail = state[TAIL]
    acquire_fence()
    head = state[HEAD]
    result[0] = 0
    result[1] = state[TAKEN]
    moved = np.int64(0)
    while head < tail:
        offset = head % capacity
        rest = capacity - offset
        if rest < _HEADER_BYTES or (data[offset] == 0xFF and data[offset + 1] == 0xFF):
            head += rest
            continue
        size = _HEADER_BYTES + (np.int64(data[offset + 2]) << 8) + np.int64(data[offset + 3])
        if moved + size > limit_bytes or moved + size > out.shape[0]:
            break
        for i in range(size):
            out[moved + i] = data[offset + i]
        moved += size
        head += size
        result[0] += 1
    release_fence()
    state[HEAD] = head
    state[TAKEN] += result[0]
    return moved
