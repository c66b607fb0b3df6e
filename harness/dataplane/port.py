"""Bursts of frames in and out of AF_PACKET sockets, from compiled code.

The frames live in one pool, `frames: uint8[slots, slot_bytes]`; a burst names them by slot. `Vectors` holds the mmsghdr
and iovec memory for one burst; layouts are those of 64-bit Linux (struct mmsghdr: 64 bytes; cmsghdr + timespec: 32).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from harness.dataplane.jit import Int, compiled_with_addresses
from harness.dataplane.libc import ENOBUFS, errno, recvmmsg, sendmmsg

BURST_PACKETS_MAX = 256
SENT, METER, FAILED = 0, 1, 2
"""What became of a frame that was to be sent."""
_CONTROL_BYTES = 64


class Vectors(NamedTuple):
    """Memory for one burst.

    messages: uint64[burst, 8] (struct mmsghdr), iovecs: uint64[burst, 2], control: int64[burst, 8] (cmsg with
    timestamp), slots: uint32[burst] (the caller fills in which slots to receive into or send from),
    lengths: int64[burst], arrivals_ns: int64[burst] (CLOCK_REALTIME, 0 where the kernel gave no timestamp),
    result: int64[4] (of a send: transmitted, refused by the queueing discipline, refused for other reasons),
    outcomes: uint8[burst] (of a send, frame by frame: SENT, METER or FAILED).
    """

    messages: Any
    iovecs: Any
    control: Any
    slots: Any
    lengths: Any
    arrivals_ns: Any
    result: Any
    outcomes: Any


def make_vectors(burst_packets: int) -> Vectors:
    """Vectors for bursts of up to `burst_packets` frames, with the constant addresses filled in."""
    if not 1 <= burst_packets <= BURST_PACKETS_MAX:
        raise ValueError(f"burst of {burst_packets} packets: 1 to {BURST_PACKETS_MAX} are possible")
    vectors = Vectors(
        messages=np.zeros((burst_packets, 8), np.uint64),
        iovecs=np.zeros((burst_packets, 2), np.uint64),
        control=np.zeros((burst_packets, _CONTROL_BYTES // 8), np.int64),
        slots=np.zeros(burst_packets, np.uint32),
        lengths=np.zeros(burst_packets, np.int64),
        arrivals_ns=np.zeros(burst_packets, np.int64),
        result=np.zeros(4, np.int64),
        outcomes=np.zeros(burst_packets, np.uint8),
    )
    for i in range(burst_packets):
        vectors.messages[i, 2] = vectors.iovecs[i].ctypes.data
        vectors.messages[i, 3] = 1
    return vectors


@compiled_with_addresses
def receive_burst(fd: Int, limit: Int, frames: Any, vectors: Vectors) -> Int:
    """Receive up to `limit` frames into `frames[vectors.slots[i]]`; returns how many came (0: none waiting).

    Sets `vectors.lengths` and `vectors.arrivals_ns`. A frame longer than a slot is truncated by the kernel and its
    MSG_TRUNC flag makes its length 0, so that the caller counts it as malformed.
    """
    slot_bytes = frames.shape[1]
    base = frames.ctypes.data
    control_base = vectors.control.ctypes.data
    for i in range(limit):
        vectors.iovecs[i, 0] = np.uint64(base + np.int64(vectors.slots[i]) * slot_bytes)
        vectors.iovecs[i, 1] = np.uint64(slot_bytes)
        vectors.messages[i, 4] = np.uint64(control_base + i * 64)
        vectors.messages[i, 5] = np.uint64(64)
        vectors.messages[i, 6] = np.uint64(0)
    n = recvmmsg(np.int32(fd), vectors.messages.ctypes.data, np.uint32(limit), np.int32(0x40), 0)
    if n <= 0:
        return 0
    for i in range(n):
        length = np.int64(vectors.messages[i, 7] & np.uint64(0xFFFFFFFF))
        if vectors.messages[i, 6] & np.uint64(0x20):
            length = np.int64(0)
        vectors.lengths[i] = length
        # SOL_SOCKET (1) and SCM_TIMESTAMPNS (35) side by side in one word of the cmsghdr.
        if vectors.messages[i, 5] >= np.uint64(32) and vectors.control[i, 1] == (35 << 32) | 1:
            vectors.arrivals_ns[i] = vectors.control[i, 2] * 1_000_000_000 + vectors.control[i, 3]
        else:
            vectors.arrivals_ns[i] = 0
    return np.int64(n)


@compiled_with_addresses
def send_burst(fd: Int, count: Int, frames: Any, vectors: Vectors) -> Int:
    """Send `frames[vectors.slots[i]][: vectors.lengths[i]]` for i < count, each once; returns how many went out.

    A frame the queueing discipline refuses (the meter: ENOBUFS) is dropped there and then, not tried again: the meter
    polices. `vectors.result` = [transmitted, refused by the meter, refused otherwise], `vectors.outcomes` says which.
    """
    slot_bytes = frames.shape[1]
    base = frames.ctypes.data
    for i in range(count):
        vectors.iovecs[i, 0] = np.uint64(base + np.int64(vectors.slots[i]) * slot_bytes)
        vectors.iovecs[i, 1] = np.uint64(vectors.lengths[i])
        vectors.messages[i, 4] = np.uint64(0)
        vectors.messages[i, 5] = np.uint64(0)
        vectors.messages[i, 6] = np.uint64(0)
        vectors.outcomes[i] = np.uint8(SENT)
    vectors.result[0] = 0
    vectors.result[1] = 0
    vectors.result[2] = 0
    first = np.int64(0)
    while first < count:
        address = vectors.messages.ctypes.data + first * 64
        n = np.int64(sendmmsg(np.int32(fd), address, np.uint32(count - first), np.int32(0x40)))
        refused_by_meter = True
        if n > 0:
            vectors.result[0] += n
            first += n
        else:
            refused_by_meter = errno() == ENOBUFS
        if first < count:
            # The kernel stopped at this frame; after a partial send its errno is lost, and only the meter refuses.
            if refused_by_meter:
                vectors.result[1] += 1
                vectors.outcomes[first] = np.uint8(METER)
            else:
                vectors.result[2] += 1
                vectors.outcomes[first] = np.uint8(FAILED)
            first += 1
    return vectors.result[0]
