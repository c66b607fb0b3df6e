"""The memory of the element: pool of frames, a queue per direction, conditions, control words and the status page.

Ports come in pairs: what arrives at port p leaves at port p ^ 1, and p also names that direction. An even port is the
outer one of its link, towards the fabric. Names ending in `_AT` are indices into the control words or the status page.
"""

from __future__ import annotations

import mmap
from typing import Any, NamedTuple

import numpy as np

from harness.dataplane.engine_state import STATUS_WORDS
from harness.dataplane.packet_socket import VNET_HEADER_BYTES
from harness.dataplane.port import Vectors, make_vectors

# Control words, written by the controlling thread except where the loop acknowledges.
REQUEST_AT, OPERATION_AT, ARGUMENT_AT, ACKNOWLEDGED_AT, APPLIED_NS_AT = 0, 1, 2, 8, 9
TICK_NS_AT, BURST_AT, LIMIT_AT, HEADER_BYTES_AT = 16, 17, 18, 19
FLOOR_NS_AT, EAGER_AT = 20, 21
OPERATION_CONDITIONS, OPERATION_EXIT = 1, 2

# Frames are counted in classes: IPv4 from or to the first and second counted address of the link, and all others.
CLASSES, OTHER = 3, 2

# Status page: the element as a whole ...
LOOPS_AT, HEARTBEAT_NS_AT, FREE_SLOTS_AT, WAKE_LEAD_NS_AT = 5, 20, 12, 18
# ... and one block per direction; of the first words, one per class.
DIRECTIONS_AT, DIRECTION_WORDS = 32, 40
RECEIVED, SENT, IMPAIRED, DUPLICATED, REORDERED, REFUSED, METER, FAILED = 0, 3, 6, 9, 12, 15, 18, 21
RX_BYTES, TX_BYTES, DRAIN, OVERSIZED, DEPTH, DEPTH_MAX, LATE_NS_MAX, KERNEL_RECEIVED, KERNEL_DROPPED = range(24, 33)
PORTS_MAX = (STATUS_WORDS - DIRECTIONS_AT) // DIRECTION_WORDS

CLASS_COUNTERS = {
    "received": RECEIVED,
    "sent": SENT,
    "impaired": IMPAIRED,
    "duplicated": DUPLICATED,
    "reordered": REORDERED,
    "refused": REFUSED,
    "meter": METER,
    "failed": FAILED,
}
DIRECTION_COUNTERS = {
    "rx_bytes": RX_BYTES,
    "tx_bytes": TX_BYTES,
    "drain": DRAIN,
    "oversized": OVERSIZED,
    "depth": DEPTH,
    "depth_max": DEPTH_MAX,
    "late_ns_max": LATE_NS_MAX,
    "kernel_received": KERNEL_RECEIVED,
    "kernel_dropped": KERNEL_DROPPED,
}

# Conditions of a direction: times[port] and odds[port], the latter as thresholds for numbers of 53 bits.
LATENCY_NS, IPDV_NS, IS_TABULATED = 0, 1, 2
LOSS, DUPLICATION, REORDERING = 0, 1, 2
TABLE_ENTRIES, TABLE_SCALE = 4096, 8192

_MAP_NORESERVE = 0x4000  # linux/mman.h; the module has a name for it since Python 3.12 only
DRAIN_RESERVE_PACKETS = 64
"""Beside a full queue there is room for this many drain frames, which are never refused."""


class Conditions(NamedTuple):
    """times: int64[ports, 4], odds: uint64[ports, 4], tables: int64[ports, TABLE_ENTRIES] in 1/TABLE_SCALE of the
    standard deviation."""

    times: Any
    odds: Any
    tables: Any


class Entries(NamedTuple):
    """Frames that wait, per port: when they mature, their order of arrival, their slot; [ports, capacity] each."""

    mature_ns: Any
    order: Any
    slots: Any


class Queue(NamedTuple):
    """In order of maturity; frames of the same moment in order of arrival.

    What does not mature before the frame put in last goes to the ring, anything else to a binary heap: without
    variation nothing ever does. head, tail: of the ring; heaped: entries of the heap; latest_ns: at which the last of
    all matures; orders: next order of arrival. int64[ports] each.
    """

    ring: Entries
    heap: Entries
    head: Any
    tail: Any
    heaped: Any
    latest_ns: Any
    orders: Any


class ElementState(NamedTuple):
    """All memory of the element; see the module's docstring. `copies` are the entries that still name a slot."""

    frames: Any
    lengths: Any
    kinds: Any
    copies: Any
    free: Any
    free_top: Any
    fds: Any
    addresses: Any
    queue: Queue
    transmit: Any
    waiting: Any
    receive: Vectors
    send: Vectors
    conditions: Conditions
    pending: Conditions
    seeds: Any
    drawn: Any
    poll: Any
    timespec: Any
    scratch: Any
    control: Any
    status: Any


def _entries(ports: int, capacity: int) -> Entries:
    shape = (ports, capacity)
    return Entries(np.zeros(shape, np.int64), np.zeros(shape, np.int64), np.zeros(shape, np.uint32))


def _conditions(ports: int) -> Conditions:
    return Conditions(
        np.zeros((ports, 4), np.int64), np.zeros((ports, 4), np.uint64), np.zeros((ports, TABLE_ENTRIES), np.int64)
    )


def _pool(slots: int, slot_bytes: int) -> np.ndarray:
    """Memory that is there once it is used: it could hold every queue full of the largest frames, and never does."""
    kind = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _MAP_NORESERVE
    return np.frombuffer(mmap.mmap(-1, slots * slot_bytes, flags=kind), np.uint8).reshape(slots, slot_bytes)


def make_element_state(
    *,
    fds: list[int],
    wake_fd: int,
    seed: int,
    slot_bytes: int = 1_536,
    queue_packets: int = 16_384,
    burst_packets: int = 64,
    vnet_header: bool = False,
    status: np.ndarray | None = None,
) -> ElementState:
    """Allocate an element for the sockets `fds` (two per link) and an event descriptor that wakes it.

    `queue_packets`: room of every direction. Raises ValueError when a size cannot be served.
    """
    ports = len(fds)
    if ports % 2 or not 2 <= ports <= PORTS_MAX:
        raise ValueError(f"{ports} ports: an even number from 2 to {PORTS_MAX} is needed")
    if queue_packets < 1:
        raise ValueError(f"queue of {queue_packets} packets: at least 1 is needed")
    capacity = queue_packets + DRAIN_RESERVE_PACKETS
    slots = ports * capacity + burst_packets
    poll = np.zeros(ports + 1, np.int64)
    for i, fd in enumerate([*fds, wake_fd]):
        poll[i] = fd | (1 << 32)  # struct pollfd: int fd, short events = POLLIN, short revents
    page = np.zeros(STATUS_WORDS, np.int64) if status is None else status
    if page.shape != (STATUS_WORDS,) or page.dtype != np.int64:
        raise ValueError(f"status page {page.dtype}{page.shape}: int64[{STATUS_WORDS}] is needed")
    zeros = [np.zeros(ports, np.int64) for _ in range(5)]
    control = np.zeros(32, np.int64)
    control[[LIMIT_AT, BURST_AT, TICK_NS_AT]] = queue_packets, burst_packets, 200_000
    control[HEADER_BYTES_AT] = VNET_HEADER_BYTES if vnet_header else 0
    return ElementState(
        frames=_pool(slots, slot_bytes),
        lengths=np.zeros(slots, np.int32),
        kinds=np.zeros(slots, np.uint8),
        copies=np.zeros(slots, np.uint8),
        free=np.arange(slots, dtype=np.uint32)[::-1].copy(),
        free_top=np.array([slots], np.int64),
        fds=np.array(fds, np.int64),
        addresses=np.full((ports, CLASSES - 1), -1, np.int64),
        queue=Queue(_entries(ports, capacity), _entries(ports, capacity), *zeros),
        transmit=np.zeros((ports, burst_packets), np.uint32),
        waiting=np.zeros(ports, np.int64),
        receive=make_vectors(burst_packets),
        send=make_vectors(burst_packets),
        conditions=_conditions(ports),
        pending=_conditions(ports),
        seeds=np.random.SeedSequence(seed).generate_state(ports * CLASSES, np.uint64).reshape(ports, CLASSES),
        drawn=np.zeros((ports, CLASSES), np.int64),
        poll=poll,
        timespec=np.zeros(2, np.int64),
        scratch=np.zeros(8, np.uint8),
        control=control,
        status=page,
    )
