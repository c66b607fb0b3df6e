"""The destination's side of resynchronisation: whole segments of statelets or duplicated frames, from compiled code.

Input comes from the network: every record is checked against the bytes that are there before it is used, and the first
bad one ends the segment with an error and the number installed before it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from harness.dataplane.abi import ANNOUNCE, BYTES, FORWARD, INSTALL, STATELET_MAX_BYTES, TIMER_PORT, WORDS
from harness.dataplane.engine_process import DUPLICATE_HEADER_BYTES, DUPLICATE_TYPE
from harness.dataplane.jit import Int, compiled, compiled_as

ERROR_TRUNCATED = -1001
ERROR_OVERSIZED = -1002
ERROR_TYPE = -1003

_RESULT = types.Array(types.int64, 1, "C")
_SCRATCH = types.Array(types.uint8, 2, "C")


@compiled
def _record_bytes(data: Any, offset: Int, nbytes: Int) -> Int:
    """Bytes of the record at `offset` with its header, or an error."""
    if offset + 4 > nbytes or nbytes > data.shape[0]:
        return ERROR_TRUNCATED
    size = 4 + (np.int64(data[offset + 2]) << 8) + np.int64(data[offset + 3])
    if size > STATELET_MAX_BYTES:
        return ERROR_OVERSIZED
    if offset + size > nbytes:
        return ERROR_TRUNCATED
    return size


@compiled_as(types.int64(INSTALL, WORDS, BYTES, types.int64, _RESULT))
def install_statelets(install: Any, tables: Any, data: Any, nbytes: Int, result: Any) -> Int:
    """Install every statelet in `data[:nbytes]`; returns how many; `result[0]` = 0 or a negative error."""
    offset = np.int64(0)
    installed = np.int64(0)
    result[0] = 0
    while offset < nbytes:
        size = _record_bytes(data, offset, nbytes)
        if size < 0:
            result[0] = size
            return installed
        error = install(data[offset : offset + size], size, tables)
        if error != 0:
            result[0] = error
            return installed
        installed += 1
        offset += size
    return installed


@compiled_as(types.int64(ANNOUNCE, INSTALL, FORWARD, WORDS, BYTES, types.int64, _SCRATCH, _RESULT))
def install_duplicates(
    announce: Any, install: Any, forward: Any, tables: Any, data: Any, nbytes: Int, scratch: Any, result: Any
) -> Int:
    """Process every duplicated frame in `data[:nbytes]` as the source did, at the source's time, sending nothing."""
    offset = np.int64(0)
    processed = np.int64(0)
    result[0] = 0
    frame, statelet = scratch[0], scratch[1]
    while offset < nbytes:
        size = _record_bytes(data, offset, nbytes)
        if size >= 0 and size < DUPLICATE_HEADER_BYTES:
            size = np.int64(ERROR_TRUNCATED)
        if size >= 0 and (np.int64(data[offset]) << 8) + np.int64(data[offset + 1]) != DUPLICATE_TYPE:
            size = np.int64(ERROR_TYPE)
        if size < 0:
            result[0] = size
            return processed
        port = np.int64(data[offset + 4])
        now_ns = np.int64(0)
        for i in range(8):
            now_ns = (now_ns << 8) | np.int64(data[offset + 5 + i])
        length = size - DUPLICATE_HEADER_BYTES
        for i in range(length):
            frame[i] = data[offset + DUPLICATE_HEADER_BYTES + i]
        if port == TIMER_PORT:
            length = np.int64(0)
            for i in range(8):
                length |= np.int64(frame[i]) << (8 * i)
        n = announce(frame, length, port, now_ns, tables, statelet)
        if n > 0:
            error = install(statelet, n, tables)
            if error != 0:
                result[0] = error
                return processed
        if n >= 0 and port != TIMER_PORT:
            forward(frame, length, port, now_ns, tables, statelet)
        processed += 1
        offset += size
    return processed
