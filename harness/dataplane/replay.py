"""Replays a trace through an image: the state a never-migrated instance reaches on the same packets.

The reference for "state is never silently wrong": the destination's final tables must equal what one instance holds
after taking, in order, every packet the source took and then every packet the destination took.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numba import types

from harness.dataplane.abi import ANNOUNCE, INSTALL, STATELET_MAX_BYTES, TIMER_PORT, WORDS
from harness.dataplane.jit import Int, compiled_as
from harness.dataplane.trace import CAPTURE_BYTES, RECORD_BYTES
from harness.errors import HarnessError

_FRAME_BYTES = 1536
_RECORDS = types.Array(types.uint8, 2, "C")
_FRAMES = types.Array(types.uint8, 2, "C")


@compiled_as(types.int64(ANNOUNCE, INSTALL, WORDS, _RECORDS, _FRAMES))
def _replay(announce: Any, install: Any, tables: Any, records: Any, scratch: Any) -> Int:
    """Run every record through g and h; returns the number of records, or -1 - index of one whose install failed."""
    frame, statelet = scratch[0], scratch[1]
    for index in range(records.shape[0]):
        record = records[index]
        now_ns = np.int64(0)
        for i in range(8):
            now_ns |= np.int64(record[i]) << (8 * i)
        length: Int = np.int64(record[8]) | (np.int64(record[9]) << 8)
        port = np.int64(record[10])
        captured: Int = np.int64(min(record[11], CAPTURE_BYTES))
        for i in range(captured):
            frame[i] = record[12 + i]
        # What was not captured is payload, which no image may base its state on (image.toml, header_bytes).
        last: Int = min(length, CAPTURE_BYTES + 12)
        for i in range(captured, last):
            frame[i] = 0
        if port == TIMER_PORT:
            length = np.int64(0)
            for i in range(8):
                length |= np.int64(record[12 + i]) << (8 * i)
        n = announce(frame, length, port, now_ns, tables, statelet)
        if n > 0 and install(statelet, n, tables) != 0:
            return -1 - index
    return records.shape[0]


def read_trace(path: Path) -> np.ndarray:
    """uint8[n, 64] of a trace file; HarnessError when it ends within a record."""
    data = np.fromfile(path, np.uint8)
    if data.size % RECORD_BYTES:
        raise HarnessError(f"{path}: {data.size} bytes are not whole records of {RECORD_BYTES}; the writer was cut off")
    return data.reshape(-1, RECORD_BYTES)


def replay(announce: Any, install: Any, tables: np.ndarray, records: np.ndarray) -> int:
    """Bring `tables` to the state after `records`; returns how many there were. HarnessError if install refuses one."""
    scratch = np.zeros((2, max(_FRAME_BYTES, STATELET_MAX_BYTES)), np.uint8)
    done = int(_replay(announce, install, tables, np.ascontiguousarray(records), scratch))
    if done < 0:
        raise HarnessError(f"replay: the image refused its own statelet at record {-1 - done}")
    return done
