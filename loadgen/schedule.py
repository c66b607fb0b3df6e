"""When which packet of which flow is due: pure arithmetic over the workload's parameters.

The law of the arrivals fixes the due times of the whole load, whatever flow a packet belongs to. New flows take slots
out of this sequence, base flows share the others round robin.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from loadgen import randomness
from loadgen.arrivals import request_offsets_ns
from loadgen.frame_sizes import frame_sizes
from loadgen.handovers import cell_tags
from loadgen.workload import NS_PER_S, SERVER_START_NS, Workload

_FIRST_AGES_NS = (0, 50_000_000, 200_000_000, 1_000_000_000, 3_000_000_000)
_LATER_AGES_NS = 3_000_000_000


class Schedule(NamedTuple):
    """offset_ns: int64[N], due time after the start, ascending; flow: uint32[N]; frame_bytes: uint16[N]; tag:
    uint32[N], the cell tag (loadgen.payload)."""

    offset_ns: npt.NDArray[np.int64]
    flow: npt.NDArray[np.uint32]
    frame_bytes: npt.NDArray[np.uint16]
    tag: npt.NDArray[np.uint32]


def build_schedule(workload: Workload) -> Schedule:
    """Due times and flows of all echo requests; the flows are numbered base flows first, then in order of opening."""
    n = workload.packets
    offset_ns = request_offsets_ns(workload)
    slots, new_flow = new_flow_slots(workload, offset_ns)
    flow = np.zeros(n, np.uint32)
    of_base_flow = np.ones(n, np.bool_)
    of_base_flow[slots] = False
    # The order of the round differs from seed to seed; within a run every base flow sends equally often.
    order = np.random.default_rng(workload.seed).permutation(workload.flows).astype(np.uint32)
    flow[of_base_flow] = np.resize(order, n - slots.size)
    flow[slots] = new_flow
    sizes = frame_sizes(workload, n, randomness.FRAME_SIZES)
    return Schedule(offset_ns, flow, sizes, cell_tags(workload, offset_ns, flow))


def new_flow_slots(
    workload: Workload, offset_ns: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint32]]:
    """Places in the sequence of due times that belong to new flows, int64[k] ascending, and the flows there, uint32[k].

    A packet takes the first free place at or after its time; one that finds none before the load ends is not sent.
    """
    opened = workload.new_flows
    if not opened:
        return np.zeros(0, np.int64), np.zeros(0, np.uint32)
    # Half an interval off, so that the last flow does not open at the very end.
    opening_ns = (2 * np.arange(opened, dtype=np.int64) + 1) * NS_PER_S // (2 * workload.new_flows_per_s)
    ages = list(_FIRST_AGES_NS[: workload.new_flow_packets])
    while len(ages) < workload.new_flow_packets:
        ages.append(ages[-1] + _LATER_AGES_NS)
    times_ns = (opening_ns[:, None] + np.array(ages, np.int64)[None, :]).ravel()
    flow = np.repeat(np.arange(opened, dtype=np.uint32) + np.uint32(workload.flows), len(ages))
    within = times_ns < workload.duration_ns
    times_ns, flow = times_ns[within], flow[within]
    by_time = np.argsort(times_ns, kind="stable")
    times_ns, flow = times_ns[by_time], flow[by_time]
    wanted = np.searchsorted(offset_ns, times_ns, side="left")
    position = np.arange(wanted.size, dtype=np.int64)
    slots = np.maximum.accumulate(wanted - position) + position
    fits = slots < workload.packets
    slots, flow = slots[fits], flow[fits]
    return slots, flow


def flow_count(workload: Workload) -> int:
    """F: base flows and those new flows that get to send at least one packet."""
    _, new_flow = new_flow_slots(workload, request_offsets_ns(workload))
    return workload.flows if new_flow.size == 0 else int(new_flow.max()) + 1


def server_offsets_ns(workload: Workload) -> npt.NDArray[np.int64]:
    """Due times of the server-originated packets after the start of the load: int64[M], ascending, evenly spaced."""
    m = workload.server_packets
    if m == 0:
        return np.zeros(0, np.int64)
    return SERVER_START_NS + np.arange(m, dtype=np.int64) * NS_PER_S // workload.server_packets_per_s


def server_frame_sizes(workload: Workload) -> npt.NDArray[np.uint16]:
    """Sizes of the server-originated packets in bytes: uint16[M]."""
    return frame_sizes(workload, workload.server_packets, randomness.SERVER_FRAME_SIZES)
