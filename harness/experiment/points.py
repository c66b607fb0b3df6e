"""The points of a run in line protocol: traffic by interval, queues, links, host, events and the summary."""

from __future__ import annotations

from itertools import pairwise

from harness.experiment.run_record import RunRecord
from harness.measure.host import load_between
from harness.measure.packets import PacketRecords
from harness.measure.series import TrafficSeries, traffic_columns, traffic_series
from harness.profile.model import Profile
from harness.record.events import Event
from harness.record.lineprotocol import format_columns, format_point
from harness.record.points import run_summary_fields
from harness.record.summary import RunSummary
from harness.units import format_rate


def series_of(profile: Profile, record: RunRecord, packets: PacketRecords) -> TrafficSeries:
    """The traffic of a run in the profile's intervals, one of which begins with the window."""
    return traffic_series(
        packets,
        start_ns=record.window_start_ns,
        interval_ns=profile.timing.interval_ns,
        late_ns=profile.timing.late_ns,
    )


def run_points(
    summary: RunSummary,
    record: RunRecord,
    series: TrafficSeries | None,
    events: list[Event],
    wall_minus_monotonic_ns: int,
) -> list[str]:
    """All lines of one run; timestamps are UTC ns. series: None where no load of ours was sent."""
    tags = {"run_id": summary.run_id, "profile": summary.profile, "mode": summary.mode}

    def wall(monotonic_ns: int) -> int:
        return monotonic_ns + wall_minus_monotonic_ns

    lines = [summary_point(summary, record.started_wall_ns)]
    if series is not None:
        times_ns = [wall(at) for at in series.start_ns.tolist()]
        lines += format_columns("traffic", tags, traffic_columns(series, summary.load.frame_bytes), times_ns)
    for event in events:
        fields = {"text": event.text, "duration_ns": event.duration_ns}
        lines.append(format_point("event", {**tags, "phase": event.phase}, fields, event.wall_ns))
    return (
        lines
        + _queue_points(tags, record, wall_minus_monotonic_ns)
        + _host_points(tags, record, wall_minus_monotonic_ns)
    )


def summary_point(summary: RunSummary, started_wall_ns: int) -> str:
    """The line of a run's summary; the only one of a run that ended without records."""
    tags = {"run_id": summary.run_id, "profile": summary.profile, "mode": summary.mode}
    tags["load"] = format_rate(summary.load.offered_bps)
    return format_point("run_summary", tags, run_summary_fields(summary), started_wall_ns)


def _queue_points(tags: dict[str, str], record: RunRecord, shift_ns: int) -> list[str]:
    lines = []
    for sample in record.series.queues:
        depths = {
            "pkt_q_interior": (sample.pkt_q_packets[0], sample.pkt_q_overflow_packets[0]),
            "pkt_q_exterior": (sample.pkt_q_packets[1], sample.pkt_q_overflow_packets[1]),
            "st_q_out": (sample.st_q_out_packets, None),
        }
        for kind, (depth, overflow) in depths.items():
            fields = {"depth_packets": depth, "overflow_packets": overflow}
            lines.append(
                format_point("queue", {**tags, "node": sample.node, "kind": kind}, fields, sample.time_ns + shift_ns)
            )
    return lines


def _host_points(tags: dict[str, str], record: RunRecord, shift_ns: int) -> list[str]:
    lines = []
    for first, last in pairwise(record.series.host):
        if last.monotonic_ns <= first.monotonic_ns:
            continue
        load = load_between(first, last)
        at_ns = last.monotonic_ns + shift_ns
        machine = {"steal_fraction": load.steal_fraction, "idle_fraction": load.idle_fraction}
        lines.append(format_point("host", tags, machine, at_ns))
        for name, process in load.processes.items():
            fields = {
                "cpu_fraction": process.cpu_fraction,
                "run_delay_fraction": process.run_delay_fraction,
                "resident_bytes": process.resident_bytes,
            }
            lines.append(format_point("host", {**tags, "process": name}, fields, at_ns))
    for counters in record.series.fabric:
        meters = {(q.node, q.link): q for q in counters.qdiscs if q.kind == "tbf"}
        for link in counters.links:
            meter = meters.get((link.node, link.link))
            fields = {
                "rx_packets": link.rx_packets,
                "tx_packets": link.tx_packets,
                "rx_bytes": link.rx_bytes,
                "tx_bytes": link.tx_bytes,
                "dropped_packets": meter.dropped_packets if meter else None,
                "backlog_bytes": meter.backlog_bytes if meter else None,
            }
            lines.append(
                format_point(
                    "link", {**tags, "node": link.node, "link": link.link}, fields, counters.ended_ns + shift_ns
                )
            )
    return lines
