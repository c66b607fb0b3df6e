"""The traffic of a run in equal intervals of intended send time."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from harness.measure.histogram import LATE_EDGE_NS, nearest_rank
from harness.measure.metrics import INTERVAL_NS, whole_run
from harness.measure.packets import Int64Array, PacketRecords

SERIES_EDGES_NS = tuple(
    round(edge_ms * 1e6) for edge_ms in (5, 8, 10, 10.5, 11, 12, LATE_EDGE_NS / 1e6, 20, 30, 50, 100, 200, 500, 1000)
)
"""Right-inclusive edges of the per-interval RTT histogram; the last bucket is unbounded."""


@dataclass(frozen=True, eq=False)
class TrafficSeries:
    """One entry per interval (I of them); all by intended send time except `arrived_packets`, by time of arrival.

    Packets that arrived in a wrong cell are lost, not received; `wrong_cell_packets` is how many of `lost_packets`.
    Percentiles are 0 where `received_packets` is 0: look there first. `rtt_counts` is int64[I, len(edges) + 1].
    """

    interval_ns: int
    start_ns: Int64Array
    intended_packets: Int64Array
    sent_packets: Int64Array
    received_packets: Int64Array
    arrived_packets: Int64Array
    lost_packets: Int64Array
    late_packets: Int64Array
    wrong_cell_packets: Int64Array
    server_intended_packets: Int64Array
    server_lost_packets: Int64Array
    rtt_p50_ns: Int64Array
    rtt_p90_ns: Int64Array
    rtt_p99_ns: Int64Array
    rtt_max_ns: Int64Array
    rtt_counts: npt.NDArray[np.int64]


def traffic_series(
    records: PacketRecords,
    *,
    start_ns: int | None = None,
    interval_ns: int = INTERVAL_NS,
    late_ns: int = LATE_EDGE_NS,
) -> TrafficSeries:
    """The whole run in intervals, one of which begins at `start_ns` (default: the first intended send time)."""
    if interval_ns <= 0:
        raise ValueError("an interval needs a length")
    run = whole_run(records)
    anchor_ns = run.start_ns if start_ns is None else start_ns
    origin_ns = anchor_ns + (run.start_ns - anchor_ns) // interval_ns * interval_ns
    delivered_ns = records.delivered_ns
    received = delivered_ns > 0
    last_ns = max(run.end_ns - 1, int(delivered_ns.max(initial=0)))
    count = int((last_ns - origin_ns) // interval_ns) + 1 if records.packets or records.server_packets else 0

    def counts(times_ns: Int64Array) -> Int64Array:
        return np.bincount((times_ns - origin_ns) // interval_ns, minlength=count).astype(np.int64)

    index = (records.intended_ns[received] - origin_ns) // interval_ns
    rtt_ns = delivered_ns[received] - records.intended_ns[received]
    buckets = len(SERIES_EDGES_NS) + 1
    bucket = np.searchsorted(np.array(SERIES_EDGES_NS, dtype=np.int64), rtt_ns, side="left")
    percentiles = _interval_quantiles(index, rtt_ns, count)
    server_lost = records.server_delivered_ns == 0
    # A reply stamped up to a burst before its due time may arrive ahead of the first interval.
    return TrafficSeries(
        interval_ns=interval_ns,
        start_ns=origin_ns + np.arange(count, dtype=np.int64) * interval_ns,
        intended_packets=counts(records.intended_ns),
        sent_packets=counts(records.intended_ns[records.sent_ns > 0]),
        received_packets=np.bincount(index, minlength=count).astype(np.int64),
        arrived_packets=counts(np.maximum(delivered_ns[received], origin_ns)),
        lost_packets=counts(records.intended_ns[~received]),
        late_packets=np.bincount(index[rtt_ns > late_ns], minlength=count).astype(np.int64),
        wrong_cell_packets=counts(records.intended_ns[records.wrong_cell]),
        server_intended_packets=counts(records.server_intended_ns),
        server_lost_packets=counts(records.server_intended_ns[server_lost]),
        rtt_p50_ns=percentiles[0],
        rtt_p90_ns=percentiles[1],
        rtt_p99_ns=percentiles[2],
        rtt_max_ns=percentiles[3],
        rtt_counts=np.bincount(index * buckets + bucket, minlength=count * buckets)
        .reshape(count, buckets)
        .astype(np.int64),
    )


def _interval_quantiles(index: Int64Array, rtt_ns: Int64Array, count: int) -> tuple[Int64Array, ...]:
    """p50, p90, p99 and maximum of each interval, int64[count] each; 0 where the interval is empty."""
    result = tuple(np.zeros(count, dtype=np.int64) for _ in range(4))
    order = np.argsort(index, kind="stable")
    grouped = rtt_ns[order]
    starts = np.searchsorted(index[order], np.arange(count + 1))
    for i in range(count):
        low, high = int(starts[i]), int(starts[i + 1])
        if low == high:
            continue
        ordered = np.sort(grouped[low:high])
        for series, quantile in zip(result, (0.5, 0.9, 0.99, 1.0), strict=True):
            series[i] = ordered[nearest_rank(high - low, quantile)]
    return result


def traffic_columns(series: TrafficSeries, frame_bytes: int) -> dict[str, list[int | None] | list[float]]:
    """Columns of the `traffic` measurement by field name, one entry per interval; None where nothing was received.

    frame_bytes: mean size of a frame, for the rates of both directions through the VNF together.
    """
    per_packet = [f.name for f in fields(series) if f.name.endswith("_packets")]
    columns: dict[str, list[int | None] | list[float]] = {name: getattr(series, name).tolist() for name in per_packet}
    received = (series.received_packets > 0).tolist()
    for name in ("rtt_p50_ns", "rtt_p90_ns", "rtt_p99_ns", "rtt_max_ns"):
        values = getattr(series, name).tolist()
        columns[name] = [value if known else None for value, known in zip(values, received, strict=True)]
    edges_us = [edge_ns // 1000 for edge_ns in SERIES_EDGES_NS]
    names = [*(f"rtt_le_{edge}us" for edge in edges_us), f"rtt_gt_{edges_us[-1]}us"]
    for i, name in enumerate(names):
        columns[name] = series.rtt_counts[:, i].tolist()
    packet_bps = 2 * 8 * frame_bytes * 1e9 / series.interval_ns
    columns["offered_bps"] = (series.intended_packets * packet_bps).tolist()
    columns["received_bps"] = (series.arrived_packets * packet_bps).tolist()
    return columns
