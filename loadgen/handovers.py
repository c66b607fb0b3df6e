"""Which cell every request is sent from, and which requests announce it (mobile packet gateway, paper section VI-C)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from loadgen import randomness
from loadgen.payload import ANNOUNCES, CELL_SHIFT
from loadgen.workload import Subscribers, Workload

Int64Array = npt.NDArray[np.int64]


def cell_tags(workload: Workload, offset_ns: Int64Array, flow: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint32]:
    """The cell tag of each request, uint32[N]: cell << 16, with ANNOUNCES where it is the first from that cell.

    A subscriber is born into a random cell with its first packet, which announces it. Every handover is to any of the
    other cells alike; the first packet due at or after it announces where the subscriber then is. All zero without
    subscribers.
    """
    if workload.subscribers is None or offset_ns.size == 0:
        return np.zeros(offset_ns.size, np.uint32)
    random = randomness.draws(workload.seed, randomness.HANDOVERS)
    flows = int(flow.max()) + 1
    first_ns = np.full(flows, -1, np.int64)
    # Assigned backwards, so that the earliest packet of a flow is the last to write.
    first_ns[flow[::-1]] = offset_ns[::-1]
    last_ns = np.full(flows, -1, np.int64)
    last_ns[flow] = offset_ns
    home = random.integers(0, workload.subscribers.cells, flows)
    moved, at_ns, cell = draw_handovers(workload.subscribers, random, first_ns, last_ns, home)
    # Each flow's packets and handovers in order of time, a handover before a packet due at that moment.
    is_packet = np.repeat((False, True), (moved.size, offset_ns.size))
    whose, when_ns = np.concatenate([moved, flow.astype(np.int64)]), np.concatenate([at_ns, offset_ns])
    order = np.lexsort((is_packet, when_ns, whose))
    is_packet, whose = is_packet[order], whose[order]
    handovers = np.cumsum(~is_packet)[is_packet]
    whose = whose[is_packet]
    starts_flow = np.diff(whose, prepend=-1) != 0
    announces = starts_flow | (np.diff(handovers, prepend=-1) != 0)
    # Handovers are numbered through all flows in this order: the last one before the packet, if it is of its flow.
    by_flow = np.lexsort((at_ns, moved))
    before = np.searchsorted(moved[by_flow], whose, side="left")
    present = home[whose]
    has_moved = handovers > before
    present[has_moved] = cell[by_flow][handovers[has_moved] - 1]
    tags = np.zeros(offset_ns.size, np.uint32)
    tags[order[order >= moved.size] - moved.size] = present << CELL_SHIFT | np.where(announces, ANNOUNCES, 0)
    return tags


def draw_handovers(
    subscribers: Subscribers, random: np.random.Generator, first_ns: Int64Array, last_ns: Int64Array, home: Int64Array
) -> tuple[Int64Array, Int64Array, Int64Array]:
    """All handovers after a subscriber's first packet and not after its last: (subscriber, time, cell), int64[H] each.

    first_ns, last_ns: int64[F], time of the subscriber's first and last packet (negative: it sends none); home:
    int64[F], the cell it is in at first. In order of time for each subscriber, not between them.
    """
    found: list[tuple[Int64Array, Int64Array, Int64Array]] = []
    who = np.flatnonzero(first_ns >= 0)
    now_ns, cell = first_ns[who], home[who]
    while who.size:
        now_ns = now_ns + _stays_ns(subscribers, random, who.size)
        # Any other cell alike: 1 to cells - 1 further round the ring.
        cell = (cell + random.integers(1, subscribers.cells, who.size)) % subscribers.cells
        lives = now_ns <= last_ns[who]
        who, now_ns, cell = who[lives], now_ns[lives], cell[lives]
        found.append((who, now_ns, cell))
    empty = np.zeros(0, np.int64)
    columns = zip(*found, strict=True) if found else ((empty,),) * 3
    subscriber, at_ns, entered = (np.concatenate(column).astype(np.int64) for column in columns)
    return subscriber, at_ns, entered


def _stays_ns(subscribers: Subscribers, random: np.random.Generator, count: int) -> Int64Array:
    """Times in a cell, int64[count], at least 1 ns."""
    mean_ns = subscribers.handover_mean_ns
    if subscribers.handover_distribution == "uniform":
        return random.integers(1, 2 * mean_ns + 1, count)
    return 1 + random.exponential(mean_ns, count).astype(np.int64)
