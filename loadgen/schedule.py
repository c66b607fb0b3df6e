"""When which packet of which flow is due: pure arithmetic over the workload's parameters.

The rate is exact: packet i of the load is due i / rate after its start, whatever flow it belongs to. New flows take
slots out of this sequence, base flows share the others round robin.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from harness.errors import UsageError

NS_PER_S = 1_000_000_000
_FIRST_AGES_NS = (0, 50_000_000, 200_000_000, 1_000_000_000, 3_000_000_000)
_LATER_AGES_NS = 3_000_000_000
SERVER_START_NS = 200_000_000
"""Server-originated packets begin when the first flows have long been seen by the echoserver."""
PACKETS_MAX = 1 << 26


@dataclass(frozen=True)
class Workload:
    """Echo requests at `rate_pps` for `duration_ns`, over `flows` base flows and flows that open during the run.

    New flows open evenly spaced, `new_flows_per_s`; each sends `new_flow_packets` packets, 0 / 50 ms / 200 ms / 1 s /
    3 s and then every 3 s after its opening, as far as the load lasts. Construction raises UsageError for what
    cannot be sent.
    """

    rate_pps: int
    duration_ns: int
    flows: int
    frame_bytes: int
    new_flows_per_s: int = 0
    new_flow_packets: int = 4
    server_packets_per_s: int = 0
    arrivals: str = "constant"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.arrivals != "constant":
            raise UsageError(f"workload: arrivals {self.arrivals!r} is unknown; 'constant' is possible")
        for name in ("rate_pps", "duration_ns", "flows", "new_flow_packets"):
            if getattr(self, name) < 1:
                raise UsageError(f"workload: {name} is {getattr(self, name)}, at least 1 is needed")
        for name in ("new_flows_per_s", "server_packets_per_s"):
            if getattr(self, name) < 0:
                raise UsageError(f"workload: {name} is {getattr(self, name)}, at least 0 is needed")
        if not 1 <= self.packets <= PACKETS_MAX:
            raise UsageError(
                f"workload: {self.rate_pps} pps for {self.duration_ns} ns are {self.packets} packets; "
                f"1 to {PACKETS_MAX} are possible"
            )
        if 2 * self.new_flows_per_s * self.new_flow_packets > self.rate_pps:
            raise UsageError(
                f"workload: new flows send {self.new_flows_per_s * self.new_flow_packets} of {self.rate_pps} packets/s"
                "; at most half is possible"
            )

    @property
    def packets(self) -> int:
        """N, the echo requests of the load."""
        return self.rate_pps * self.duration_ns // NS_PER_S

    @property
    def server_packets(self) -> int:
        """M, the server-originated packets of the load."""
        return max(0, self.duration_ns - SERVER_START_NS) * self.server_packets_per_s // NS_PER_S


class Schedule(NamedTuple):
    """offset_ns: int64[N], due time after the start, ascending; flow: uint32[N]; frame_bytes: uint16[N]."""

    offset_ns: npt.NDArray[np.int64]
    flow: npt.NDArray[np.uint32]
    frame_bytes: npt.NDArray[np.uint16]


def build_schedule(workload: Workload) -> Schedule:
    """Due times and flows of all echo requests; the flows are numbered base flows first, then in order of opening."""
    n = workload.packets
    offset_ns = np.arange(n, dtype=np.int64)
    offset_ns *= NS_PER_S
    offset_ns //= workload.rate_pps
    slots, new_flow = new_flow_slots(workload)
    flow = np.zeros(n, np.uint32)
    of_base_flow = np.ones(n, np.bool_)
    of_base_flow[slots] = False
    # The order of the round differs from seed to seed; within a run every base flow sends equally often.
    order = np.random.default_rng(workload.seed).permutation(workload.flows).astype(np.uint32)
    flow[of_base_flow] = np.resize(order, n - slots.size)
    flow[slots] = new_flow
    return Schedule(offset_ns, flow, np.full(n, workload.frame_bytes, np.uint16))


def new_flow_slots(workload: Workload) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint32]]:
    """Places in the sequence that belong to new flows, int64[k] ascending, and the flows there, uint32[k].

    A packet takes the first free place at or after its time; one that finds none before the load ends is not sent.
    """
    opened = workload.new_flows_per_s * workload.duration_ns // NS_PER_S
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
    # Slot = ceil(time x rate); split into seconds and rest, so that the product stays within 64 bits.
    whole_s, rest_ns = np.divmod(times_ns, NS_PER_S)
    wanted = whole_s * workload.rate_pps + -(-rest_ns * workload.rate_pps // NS_PER_S)
    position = np.arange(wanted.size, dtype=np.int64)
    slots = np.maximum.accumulate(wanted - position) + position
    fits = slots < workload.packets
    slots, flow = slots[fits], flow[fits]
    return slots, flow


def flow_count(workload: Workload) -> int:
    """F: base flows and those new flows that get to send at least one packet."""
    _, new_flow = new_flow_slots(workload)
    return workload.flows if new_flow.size == 0 else int(new_flow.max()) + 1


def server_offsets_ns(workload: Workload) -> npt.NDArray[np.int64]:
    """Due times of the server-originated packets after the start of the load: int64[M], ascending, evenly spaced."""
    m = workload.server_packets
    if m == 0:
        return np.zeros(0, np.int64)
    return SERVER_START_NS + np.arange(m, dtype=np.int64) * NS_PER_S // workload.server_packets_per_s
