"""The memory of one engine: pool of frames, delay lines, pkt_q, rings, control words and the status page.

Everything is allocated before the first packet. Names ending in `_AT` are indices into the control words or the status
page; the status page may be a file mapped by others, who only read it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from harness.dataplane.abi import REASONS_MAX, STATELET_MAX_BYTES
from harness.dataplane.byte_ring import ByteRing, make_byte_ring
from harness.dataplane.port import Vectors, make_vectors
from harness.dataplane.trace import TraceRing, make_trace_ring

MODE_STANDBY, MODE_BUFFERING, MODE_ACTIVE, MODE_STOPPED = 0, 1, 2, 3
UPDATES_OFF, UPDATES_STATELET, UPDATES_DUPLICATION = 0, 1, 2

# Control words, written by the controlling thread except where the engine acknowledges.
REQUEST_AT, ACKNOWLEDGED_AT, OPERATION_AT, ARGUMENT_AT, RESULT_AT = 0, 8, 1, 2, 9
LATENCY_NS_AT, TICK_NS_AT, BURST_AT, TIMER_NS_AT = 16, 17, 18, 19

OPERATION_MODE, OPERATION_ANNOUNCE, OPERATION_UNFREEZE, OPERATION_STOP_ANNOUNCING = 1, 2, 3, 4
OPERATION_COMMIT, OPERATION_EXIT = 5, 6

# Status page: the instance as a whole ...
STATUS_WORDS = 512
MODE_AT, UPDATES_AT, COMMITTED_AT, OVERFLOWED_AT, FREEZE_PAUSE_NS_AT, LOOPS_AT, TICKS_AT = 0, 1, 2, 3, 4, 5, 6
STATELETS_AT, STATELET_BYTES_AT, ST_Q_DEPTH_AT, ST_Q_DEPTH_MAX_AT, FREE_SLOTS_AT, EXPIRED_AT = 7, 8, 9, 10, 11, 12
ACTIVATED_NS_AT, STOPPED_NS_AT, FIRST_FORWARDED_NS_AT, PKT_Q_DRAINED_NS_AT, LATE_HANDOFF_NS_MAX_AT = 13, 14, 15, 16, 17
WAKE_LEAD_NS_AT = 18
HEARTBEAT_NS_AT, TRACE_LOST_AT, ODD_HEADERS_AT = 20, 21, 22
FROZEN_RECORDS_AT = 23
# ... one block per port ...
PORTS_AT, PORT_WORDS = 32, 32
RX_FRAMES, RX_BYTES, RX_IPV4, RX_ARP, RX_DRAIN, RX_OTHER, TX_FRAMES, TX_BYTES = 0, 1, 2, 3, 4, 5, 6, 7
TX_METER, TX_FAILED, NOT_READY, STOPPED, PKT_Q_OVERFLOW, ST_Q_OVERFLOW, REFUSED, PKT_Q_DEPTH = (
    8,
    9,
    10,
    11,
    12,
    13,
    14,
    15,
)
PKT_Q_DEPTH_MAX, DELAY_DEPTH, DRAINED_NS, PROCESSED, BUFFERED, REPLACED, DELAY_OVERFLOW, AFTER_DRAIN = (
    16,
    17,
    18,
    19,
    20,
    21,
    22,
    23,
)
KERNEL_RECEIVED, KERNEL_DROPPED, TX_OTHER = 24, 25, 26
# ... and the image's drop reasons, summed over ports.
REASONS_AT = STATUS_WORDS - REASONS_MAX
PORTS_MAX = (REASONS_AT - PORTS_AT) // PORT_WORDS

PORT_COUNTERS = {
    "rx_frames": RX_FRAMES,
    "rx_bytes": RX_BYTES,
    "rx_ipv4": RX_IPV4,
    "rx_arp": RX_ARP,
    "rx_drain": RX_DRAIN,
    "rx_other": RX_OTHER,
    "tx_frames": TX_FRAMES,
    "tx_bytes": TX_BYTES,
    "tx_meter": TX_METER,
    "tx_failed": TX_FAILED,
    "not_ready": NOT_READY,
    "stopped": STOPPED,
    "pkt_q_overflow": PKT_Q_OVERFLOW,
    "st_q_out_overflow": ST_Q_OVERFLOW,
    "refused": REFUSED,
    "pkt_q_depth": PKT_Q_DEPTH,
    "pkt_q_depth_max": PKT_Q_DEPTH_MAX,
    "delay_depth": DELAY_DEPTH,
    "drained_ns": DRAINED_NS,
    "processed": PROCESSED,
    "buffered": BUFFERED,
    "replaced": REPLACED,
    "delay_overflow": DELAY_OVERFLOW,
    "after_drain": AFTER_DRAIN,
    "kernel_received": KERNEL_RECEIVED,
    "kernel_dropped": KERNEL_DROPPED,
    "tx_other": TX_OTHER,
}
INSTANCE_COUNTERS = {
    "mode": MODE_AT,
    "updates": UPDATES_AT,
    "committed": COMMITTED_AT,
    "overflowed": OVERFLOWED_AT,
    "freeze_pause_ns": FREEZE_PAUSE_NS_AT,
    "loops": LOOPS_AT,
    "ticks": TICKS_AT,
    "statelets": STATELETS_AT,
    "statelet_bytes": STATELET_BYTES_AT,
    "st_q_out_depth": ST_Q_DEPTH_AT,
    "st_q_out_depth_max": ST_Q_DEPTH_MAX_AT,
    "free_slots": FREE_SLOTS_AT,
    "expired": EXPIRED_AT,
    "activated_ns": ACTIVATED_NS_AT,
    "stopped_ns": STOPPED_NS_AT,
    "first_forwarded_ns": FIRST_FORWARDED_NS_AT,
    "pkt_q_drained_ns": PKT_Q_DRAINED_NS_AT,
    "late_handoff_ns_max": LATE_HANDOFF_NS_MAX_AT,
    "wake_lead_ns": WAKE_LEAD_NS_AT,
    "heartbeat_ns": HEARTBEAT_NS_AT,
    "trace_lost": TRACE_LOST_AT,
    "odd_headers": ODD_HEADERS_AT,
    "frozen_records": FROZEN_RECORDS_AT,
}


class IndexRings(NamedTuple):
    """FIFO rings of slot numbers, one per port: slots uint32[ports, capacity], head and tail int64[ports]."""

    slots: Any
    head: Any
    tail: Any


class EngineState(NamedTuple):
    """All memory of an engine; see the module's docstring. `free` is a stack (its top is `free_top[0]`): the slot
    used last is used next, so that a lightly loaded instance stays within the cache however large pkt_q may grow."""

    tables: Any
    frames: Any
    lengths: Any
    mature_ns: Any
    free: Any
    free_top: Any
    fds: Any
    delay: IndexRings
    pkt_q: IndexRings
    transmit: IndexRings
    receive: Vectors
    send: Vectors
    statelet: Any
    scratch: Any
    statelet_ring: ByteRing
    trace_ring: TraceRing
    poll: Any
    timespec: Any
    drain_token: Any
    control: Any
    status: Any


def _rings(ports: int, capacity: int) -> IndexRings:
    return IndexRings(np.zeros((ports, capacity), np.uint32), np.zeros(ports, np.int64), np.zeros(ports, np.int64))


def make_engine_state(
    *,
    tables: np.ndarray,
    fds: list[int],
    wake_fd: int,
    slot_bytes: int = 1536,
    pkt_q_packets: int = 65_536,
    delay_packets: int = 16_384,
    st_q_out_packets: int = 65_536,
    st_q_out_bytes: int = 96 << 20,
    burst_packets: int = 64,
    trace_records: int = 65_536,
    tracing: bool = False,
    status: np.ndarray | None = None,
) -> EngineState:
    """Allocate an engine for the sockets `fds` (one per port) and an event descriptor that wakes it.

    Raises ValueError when a size cannot be served. pkt_q and delay lines hold slot numbers, frames stay where they
    were received; pages of the pool are only touched when so many frames wait at once.
    """
    ports = len(fds)
    if not 1 <= ports <= PORTS_MAX:
        raise ValueError(f"{ports} ports: 1 to {PORTS_MAX} are possible")
    slots = ports * (pkt_q_packets + delay_packets) + 2 * burst_packets
    poll = np.zeros(ports + 1, np.int64)
    for i, fd in enumerate([*fds, wake_fd]):
        poll[i] = fd | (1 << 32)  # struct pollfd: int fd, short events = POLLIN, short revents
    page = np.zeros(STATUS_WORDS, np.int64) if status is None else status
    if page.shape != (STATUS_WORDS,) or page.dtype != np.int64:
        raise ValueError(f"status page {page.dtype}{page.shape}: int64[{STATUS_WORDS}] is needed")
    return EngineState(
        tables=tables,
        frames=np.zeros((slots, slot_bytes), np.uint8),
        lengths=np.zeros(slots, np.int32),
        mature_ns=np.zeros(slots, np.int64),
        free=np.arange(slots, dtype=np.uint32)[::-1].copy(),
        free_top=np.array([slots], np.int64),
        fds=np.array(fds, np.int64),
        delay=_rings(ports, delay_packets),
        pkt_q=_rings(ports, pkt_q_packets),
        transmit=_rings(ports, burst_packets),
        receive=make_vectors(burst_packets),
        send=make_vectors(burst_packets),
        statelet=np.zeros(STATELET_MAX_BYTES, np.uint8),
        scratch=np.zeros(slot_bytes, np.uint8),
        statelet_ring=make_byte_ring(st_q_out_bytes, st_q_out_packets),
        trace_ring=make_trace_ring(trace_records if tracing else 2, tracing),
        poll=poll,
        timespec=np.zeros(2, np.int64),
        drain_token=np.zeros(16, np.uint8),
        control=np.zeros(32, np.int64),
        status=page,
    )
