"""Figures of one run from its packet records, in the paper's definitions (section VI) where it has one.

Open loop: everything is timed from the intended send time, and a packet belongs to the interval in which it was due to
be sent. Loads count both directions through the VNF.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from harness.measure.histogram import LATE_EDGE_NS, LatencyHistogram, nearest_rank
from harness.measure.packets import Int64Array, PacketRecords

INTERVAL_NS = 100_000_000
MEAN_BIN_NS = 500_000_000
NS_PER_S = 1_000_000_000


@dataclass(frozen=True)
class Window:
    """Packets with start_ns <= intended send time < end_ns (CLOCK_MONOTONIC)."""

    start_ns: int
    end_ns: int


@dataclass(frozen=True)
class TrafficMetrics:
    """One window. None: cannot be known (no packet sent or none received), never 0 in its place.

    Rates in bit/s and packets/s: `offered_bps` and `received_bps` count each frame twice, as the paper's load does
    (once towards the echoserver, once back); `_pps` count round trips. Server-originated packets are in the fields that
    begin with `server_` only. Packets that arrived in a wrong cell are lost; `wrong_cell_packets` is how many of
    `lost_packets`.
    """

    window_ns: int
    intended_packets: int
    delivered_packets: int
    lost_packets: int
    late_packets: int
    wrong_cell_packets: int
    offered_pps: float | None
    received_pps: float | None
    offered_bps: float | None
    received_bps: float | None
    loss_s: float | None
    longest_gap_ns: int | None
    longest_gap_start_ns: int | None
    lossy_intervals: int
    lossy_intervals_s: float
    rtt_late_s: float | None
    largest_bin_mean_rtt_ns: float | None
    rtt_mean_ns: float | None
    rtt_p50_ns: int | None
    rtt_p90_ns: int | None
    rtt_p99_ns: int | None
    rtt_p999_ns: int | None
    rtt_max_ns: int | None
    duplicate_packets: int
    reordered_packets: int
    reordered_flows: int
    server_intended_packets: int
    server_delivered_packets: int
    server_lost_packets: int
    server_duplicate_packets: int
    server_delay_p50_ns: int | None
    server_delay_p99_ns: int | None
    server_delay_max_ns: int | None


def traffic_metrics(
    records: PacketRecords,
    window: Window | None = None,
    *,
    late_ns: int = LATE_EDGE_NS,
    interval_ns: int = INTERVAL_NS,
    mean_bin_ns: int = MEAN_BIN_NS,
) -> TrafficMetrics:
    """All figures of `window` (None: of every packet). ValueError for an empty window or interval."""
    window = window or whole_run(records)
    if window.end_ns <= window.start_ns or interval_ns <= 0 or mean_bin_ns <= 0:
        raise ValueError("a window and an interval need a length")
    inside = (records.intended_ns >= window.start_ns) & (records.intended_ns < window.end_ns)
    intended_ns = records.intended_ns[inside]
    received_ns = records.delivered_ns[inside]
    frame_bytes = records.frame_bytes[inside]
    arrived = received_ns > 0
    rtt_ns = received_ns[arrived] - intended_ns[arrived]
    ordered_ns = np.sort(rtt_ns)
    late = int(ordered_ns.size - np.searchsorted(ordered_ns, late_ns, side="right"))
    intended = int(intended_ns.size)
    lost = intended - int(rtt_ns.size)
    offered_pps = _rate_per_s(intended_ns)
    gap_start_ns, gap_ns = longest_gap(intended_ns, received_ns)
    lossy = np.unique((intended_ns[~arrived] - window.start_ns) // interval_ns).size
    flows_reordered = reordered_by_flow(records, inside)
    server_intended, server_delay_ns = _server_delays(records, window)
    load_s = intended / offered_pps if offered_pps else None
    return TrafficMetrics(
        window_ns=window.end_ns - window.start_ns,
        intended_packets=intended,
        delivered_packets=int(rtt_ns.size),
        lost_packets=lost,
        late_packets=late,
        wrong_cell_packets=int(np.count_nonzero(records.wrong_cell[inside])),
        offered_pps=offered_pps,
        received_pps=rtt_ns.size / load_s if load_s else None,
        offered_bps=2 * 8 * int(frame_bytes.sum(dtype=np.int64)) / load_s if load_s else None,
        received_bps=2 * 8 * int(frame_bytes[arrived].sum(dtype=np.int64)) / load_s if load_s else None,
        loss_s=lost / offered_pps if offered_pps else None,
        longest_gap_ns=gap_ns,
        longest_gap_start_ns=gap_start_ns,
        lossy_intervals=lossy,
        lossy_intervals_s=lossy * interval_ns / NS_PER_S,
        rtt_late_s=(lost + late) / offered_pps if offered_pps else None,
        largest_bin_mean_rtt_ns=_largest_bin_mean(intended_ns[arrived] - window.start_ns, rtt_ns, mean_bin_ns),
        rtt_mean_ns=float(rtt_ns.mean()) if rtt_ns.size else None,
        rtt_p50_ns=_quantile(ordered_ns, 0.5),
        rtt_p90_ns=_quantile(ordered_ns, 0.9),
        rtt_p99_ns=_quantile(ordered_ns, 0.99),
        rtt_p999_ns=_quantile(ordered_ns, 0.999),
        rtt_max_ns=_quantile(ordered_ns, 1.0),
        duplicate_packets=int(records.duplicates[inside].sum(dtype=np.int64)),
        reordered_packets=int(flows_reordered.sum()),
        reordered_flows=int(np.count_nonzero(flows_reordered)),
        server_intended_packets=server_intended,
        server_delivered_packets=int(server_delay_ns.size),
        server_lost_packets=server_intended - int(server_delay_ns.size),
        server_duplicate_packets=_server_duplicates(records, window),
        server_delay_p50_ns=_quantile(server_delay_ns, 0.5),
        server_delay_p99_ns=_quantile(server_delay_ns, 0.99),
        server_delay_max_ns=_quantile(server_delay_ns, 1.0),
    )


def whole_run(records: PacketRecords) -> Window:
    """The window that holds every packet of both kinds."""
    times = [array for array in (records.intended_ns, records.server_intended_ns) if array.size]
    if not times:
        return Window(0, 1)
    return Window(min(int(a.min()) for a in times), max(int(a.max()) for a in times) + 1)


def longest_gap(intended_ns: Int64Array, received_ns: Int64Array) -> tuple[int | None, int | None]:
    """(start, length) of the longest time without an arrival: int64[n] each, received 0 = never.

    Arrivals are expected from the first to the last intended send time, both shifted by the smallest RTT seen, so that
    an outage at either end counts. Nothing arrived: the whole time. No packet intended: (None, None).
    """
    if intended_ns.size == 0:
        return None, None
    arrived = received_ns > 0
    first_ns, last_ns = int(intended_ns.min()), int(intended_ns.max())
    if not arrived.any():
        return first_ns, last_ns - first_ns
    arrivals_ns = np.sort(received_ns[arrived])
    base_ns = int((received_ns[arrived] - intended_ns[arrived]).min())
    edges_ns = np.array([first_ns + base_ns, last_ns + base_ns], dtype=np.int64)
    times_ns = np.sort(np.concatenate([arrivals_ns, edges_ns]))
    gaps_ns = np.diff(times_ns)
    at = int(np.argmax(gaps_ns))
    return int(times_ns[at]), int(gaps_ns[at])


def reordered_by_flow(records: PacketRecords, inside: npt.NDArray[np.bool_]) -> Int64Array:
    """Reordered packets per flow, int64[F], among those of `inside` (bool[N]).

    A packet is reordered when another of its flow, sent after it, arrived before it: the late ones of RFC 4737's
    Type-P-Reordered. Equal arrival times are in order.
    """
    chosen = np.flatnonzero(inside & (records.delivered_ns > 0))
    if chosen.size == 0:
        return np.zeros(records.flows, dtype=np.int64)
    flow = records.flow[chosen].astype(np.int64)
    order = np.argsort(flow, kind="stable")
    flow = flow[order]
    since_ns = records.delivered_ns[chosen][order]
    since_ns -= since_ns.min()
    # One running minimum over all flows: later flows are lifted above anything an earlier one can hold.
    rank = np.cumsum(np.concatenate(([0], np.diff(flow) != 0)))
    lifted = rank * (int(since_ns.max()) + 1) + since_ns
    smallest_after = np.minimum.accumulate(lifted[::-1])[::-1]
    reordered = np.zeros(lifted.size, dtype=np.bool_)
    reordered[:-1] = smallest_after[1:] < lifted[:-1]
    return np.bincount(flow[reordered], minlength=records.flows).astype(np.int64)


def rtt_histogram(records: PacketRecords, window: Window | None = None) -> LatencyHistogram:
    """Log-linear histogram of the RTTs of `window`."""
    window = window or whole_run(records)
    inside = (
        (records.intended_ns >= window.start_ns) & (records.intended_ns < window.end_ns) & (records.delivered_ns > 0)
    )
    histogram = LatencyHistogram()
    histogram.record(records.received_ns[inside] - records.intended_ns[inside])
    return histogram


def _server_delays(records: PacketRecords, window: Window) -> tuple[int, Int64Array]:
    """Server-originated packets of the window: how many were intended, and the sorted one-way delays."""
    intended_ns = records.server_intended_ns
    inside = (intended_ns >= window.start_ns) & (intended_ns < window.end_ns)
    arrived = inside & (records.server_delivered_ns > 0)
    return int(np.count_nonzero(inside)), np.sort(records.server_delivered_ns[arrived] - intended_ns[arrived])


def _server_duplicates(records: PacketRecords, window: Window) -> int:
    intended_ns = records.server_intended_ns
    inside = (intended_ns >= window.start_ns) & (intended_ns < window.end_ns)
    return int(records.server_duplicates[inside].sum(dtype=np.int64))


def _rate_per_s(intended_ns: Int64Array) -> float | None:
    """Packets per second of the schedule: n packets span n - 1 distances between the first and the last."""
    if intended_ns.size < 2:
        return None
    span_ns = int(intended_ns.max()) - int(intended_ns.min())
    return (intended_ns.size - 1) * NS_PER_S / span_ns if span_ns > 0 else None


def _quantile(ordered: Int64Array, quantile: float) -> int | None:
    return int(ordered[nearest_rank(ordered.size, quantile)]) if ordered.size else None


def _largest_bin_mean(since_ns: Int64Array, rtt_ns: Int64Array, bin_ns: int) -> float | None:
    """Fig. 14 of the paper: the largest mean RTT of any bin, binned by intended send time."""
    if rtt_ns.size == 0:
        return None
    bins = since_ns // bin_ns
    packets = np.bincount(bins)
    sums = np.bincount(bins, weights=rtt_ns.astype(np.float64))
    used = packets > 0
    return float((sums[used] / packets[used]).max())
