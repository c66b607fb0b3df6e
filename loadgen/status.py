"""The status page: int64[64] in a file that the harness maps and reads while the process runs.

Single words are consistent; several together are a snapshot for a live view only (results come from the records).
"""

from __future__ import annotations

import mmap
import os
from pathlib import Path
from typing import Any

import numpy as np

WORDS = 64
SLOT_NS = 100_000_000

PHASE = 0
"""0 idle, 1 loading, 2 load sent and waiting for replies, 3 loop ended."""
NOW_NS = 1
DUE, SENT, RECEIVED, LATE, LOST_ESTIMATE, DUPLICATES, REFUSED_FRAMES, PENDING = range(2, 10)
SERVER_PACKETS = 10
MAPPING_CHANGES = 11
SLOT_INDEX, SLOT_SENT, SLOT_RECEIVED, SLOT_LATE, SLOT_RTT_SUM_NS, SLOT_RTT_MAX_NS = range(16, 22)
CURRENT_SENT, CURRENT_RECEIVED, CURRENT_LATE, CURRENT_RTT_SUM_NS, CURRENT_RTT_MAX_NS = range(25, 30)

NAMES: dict[str, int] = {
    "phase": PHASE,
    "now_ns": NOW_NS,
    "due_packets": DUE,
    "sent_packets": SENT,
    "received_packets": RECEIVED,
    "late_packets": LATE,
    "lost_packets_estimate": LOST_ESTIMATE,
    "duplicate_packets": DUPLICATES,
    "refused_frames": REFUSED_FRAMES,
    "pending_frames": PENDING,
    "server_packets": SERVER_PACKETS,
    "mapping_changes": MAPPING_CHANGES,
    "slot_index": SLOT_INDEX,
    "slot_sent_packets": SLOT_SENT,
    "slot_received_packets": SLOT_RECEIVED,
    "slot_late_packets": SLOT_LATE,
    "slot_rtt_sum_ns": SLOT_RTT_SUM_NS,
    "slot_rtt_max_ns": SLOT_RTT_MAX_NS,
    "current_sent_packets": CURRENT_SENT,
    "current_received_packets": CURRENT_RECEIVED,
    "current_late_packets": CURRENT_LATE,
    "current_rtt_sum_ns": CURRENT_RTT_SUM_NS,
    "current_rtt_max_ns": CURRENT_RTT_MAX_NS,
}
"""Word of each number. slot_*: the last complete 100 ms of the load (slot_index counts from its start, -1 before);
current_*: the 100 ms under way. pending_frames: sent and not yet back (generator) or held in the delay line
(echoserver)."""


def open_page(path: Path) -> Any:
    """Create (or overwrite) the page and map it: int64[64], all zero but slot_index. Raises OSError."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        os.ftruncate(descriptor, WORDS * 8)
        page = np.frombuffer(mmap.mmap(descriptor, WORDS * 8), np.int64)
    finally:
        os.close(descriptor)
    page[:] = 0
    page[SLOT_INDEX] = -1
    return page
