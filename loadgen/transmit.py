"""Sending that keeps order and knows which frames went out: a prefix of the burst, never a frame from its middle."""

from __future__ import annotations

from typing import Any

import numpy as np

from harness.dataplane.jit import compiled_with_addresses
from harness.dataplane.libc import errno, sendmmsg
from loadgen.wire import signed

_EINTR, _EAGAIN, _ENOBUFS = 4, 11, 105


@compiled_with_addresses
def send_prefix(fd: int, count: int, frames: Any, vectors: Any) -> int:
    """Send `frames[vectors.slots[i]][: vectors.lengths[i]]`, i < count; returns how many went out, from the first on.

    0: no room at present, try the same frames again. -1: the kernel refuses the first frame for good.
    """
    slot_bytes = frames.shape[1]
    base = frames.ctypes.data
    for i in range(count):
        vectors.iovecs[i, 0] = np.uint64(base + signed(vectors.slots[i]) * slot_bytes)
        vectors.iovecs[i, 1] = np.uint64(vectors.lengths[i])
        vectors.messages[i, 4] = np.uint64(0)
        vectors.messages[i, 5] = np.uint64(0)
        vectors.messages[i, 6] = np.uint64(0)
    n = signed(sendmmsg(np.int32(fd), vectors.messages.ctypes.data, np.uint32(count), np.int32(0x40)))
    if n >= 0:
        return n
    number = errno()
    if number in (_EAGAIN, _ENOBUFS, _EINTR):
        return 0
    return -1
