"""Packets that reached a subscriber by the wrong cell: decided after the run, from what the load generator recorded.

A packet towards a subscriber carries the cell by which the gateway sent it. That is wrong when the subscriber has
announced another one, unless it did so less than a grace time ago, when the packet may have been on its way already
(paper, section VI-C: 150 % of the round trip between load generator and VNF). A packet in a wrong cell is lost.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

HANDOVER_GRACE_NS = 7_500_000

Int64Array = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class CellRecords:
    """Of each request: cell uint16[N] it was sent from, announced bool[N], reply_cell uint16[N] of the reply; of each
    server-originated packet: server_cell uint16[M]. The last two mean something only where one arrived."""

    cell: npt.NDArray[np.uint16]
    announced: BoolArray
    reply_cell: npt.NDArray[np.uint16]
    server_cell: npt.NDArray[np.uint16]


@dataclass(frozen=True, eq=False)
class Announcements:
    """Announcements that were sent and changed a subscriber's cell, int64[A] each, by subscriber and then by time."""

    flow: Int64Array
    sent_ns: Int64Array
    cell: Int64Array


def announcements(
    flow: npt.NDArray[np.uint32], sent_ns: Int64Array, cell: npt.NDArray[np.uint16], announced: BoolArray
) -> Announcements:
    """From the requests' columns, [N] each (sent_ns 0: never sent).

    A repeated announcement is no handover: it changes nothing and does not begin the grace time again.
    """
    chosen = np.flatnonzero(announced & (sent_ns > 0))
    order = chosen[np.lexsort((sent_ns[chosen], flow[chosen]))]
    flow_of, cell_of = flow[order].astype(np.int64), cell[order].astype(np.int64)
    changes = (np.diff(flow_of, prepend=-1) != 0) | (np.diff(cell_of, prepend=-1) != 0)
    return Announcements(flow_of[changes], sent_ns[order][changes], cell_of[changes])


def in_wrong_cell(
    known: Announcements,
    flow: npt.NDArray[np.uint32],
    received_ns: Int64Array,
    cell: npt.NDArray[np.uint16],
    grace_ns: int = HANDOVER_GRACE_NS,
) -> BoolArray:
    """bool[n]: which of these packets towards subscribers arrived in a wrong cell (received_ns 0: never arrived).

    The subscriber's cell is that of the last announcement sent before the arrival; the packet is excused when that was
    at most `grace_ns` before. Before a subscriber's first announcement no cell is wrong.
    """
    wrong = np.zeros(flow.size, np.bool_)
    arrived = np.flatnonzero(received_ns > 0)
    count = known.flow.size
    whose = np.concatenate([known.flow, flow[arrived].astype(np.int64)])
    when_ns = np.concatenate([known.sent_ns, received_ns[arrived]])
    is_announcement = np.arange(whose.size) < count
    # Per subscriber in order of time; an arrival before an announcement of the same moment.
    order = np.lexsort((is_announcement, when_ns, whose))
    last = np.maximum.accumulate(np.where(order < count, order, -1))
    is_packet = order >= count
    packet, last = arrived[order[is_packet] - count], last[is_packet]
    told = last >= 0
    told[told] = known.flow[last[told]] == flow[packet[told]]
    packet, last = packet[told], last[told]
    wrong[packet] = (cell[packet] != known.cell[last]) & (received_ns[packet] - known.sent_ns[last] > grace_ns)
    return wrong
