"""Line protocol of what is known while a run goes on: queues, links, host, the load so far, and events. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from harness.experiment.sampling import SLOT_S, LoadSlot, QueueSample, Series
from harness.measure.host import HostSample, load_between
from harness.record.events import Event
from harness.record.lineprotocol import Value, format_point
from harness.testbed.counters import FabricCounters

LOOPBACK = "lo"


@dataclass(frozen=True)
class Written:
    """How much of each has become points."""

    queues: int = 0
    load: int = 0
    fabric: int = 0
    host: int = 0
    events: int = 0


@dataclass(frozen=True)
class PointTags:
    """Tags of every point of a run, and what has to be added to CLOCK_MONOTONIC for UTC: one and the same over the
    whole run, so that a point has the same time whenever it is written."""

    run_id: str
    profile: str
    mode: str
    wall_minus_monotonic_ns: int

    def tags(self, **further: str) -> dict[str, str]:
        return {"run_id": self.run_id, "profile": self.profile, "mode": self.mode, **further}

    def point(self, measurement: str, fields: Mapping[str, Value], monotonic_ns: int, **further: str) -> str:
        return format_point(measurement, self.tags(**further), fields, monotonic_ns + self.wall_minus_monotonic_ns)


def sample_points(of: PointTags, series: Series, events: Sequence[Event], since: Written) -> tuple[list[str], Written]:
    """Lines of everything behind `since`, and where they end. The lists may grow meanwhile."""
    # The first host sample is a beginning and no point; the length is taken once, as another thread appends.
    until = Written(len(series.queues), len(series.load), len(series.fabric), len(series.host), len(events))
    lines = [_event_point(of, event) for event in events[since.events : until.events]]
    lines += [_load_point(of, slot) for slot in series.load[since.load : until.load]]
    for sample in series.queues[since.queues : until.queues]:
        lines += _queue_points(of, sample)
    for first, last in pairwise(series.host[max(since.host - 1, 0) : until.host]):
        lines += _host_points(of, first, last)
    for counters in series.fabric[since.fabric : until.fabric]:
        lines += _link_points(of, counters)
    return lines, until


def _event_point(of: PointTags, event: Event) -> str:
    fields = {"text": event.text, "duration_ns": event.duration_ns}
    return format_point("event", of.tags(phase=event.phase), fields, event.wall_ns)


def _load_point(of: PointTags, slot: LoadSlot) -> str:
    answered = slot.received_packets > 0
    fields: dict[str, Value] = {
        "sent_packets": slot.sent_packets,
        "received_packets": slot.received_packets,
        "late_packets": slot.late_packets,
        "sent_bps": slot.sent_packets * slot.frame_bits_both_ways / SLOT_S,
        "received_bps": slot.received_packets * slot.frame_bits_both_ways / SLOT_S,
        "rtt_mean_ns": slot.rtt_sum_ns // slot.received_packets if answered else None,
        "rtt_max_ns": slot.rtt_max_ns if answered else None,
        "lost_estimate_packets": slot.lost_estimate_packets,
    }
    return of.point("live", fields, slot.time_ns)


def _queue_points(of: PointTags, sample: QueueSample) -> Iterator[str]:
    depths = {
        "pkt_q_interior": (sample.pkt_q_packets[0], sample.pkt_q_overflow_packets[0]),
        "pkt_q_exterior": (sample.pkt_q_packets[1], sample.pkt_q_overflow_packets[1]),
        "st_q_out": (sample.st_q_out_packets, None),
    }
    for kind, (depth, overflow) in depths.items():
        fields = {"depth_packets": depth, "overflow_packets": overflow}
        yield of.point("queue", fields, sample.time_ns, node=sample.node, kind=kind)


def _host_points(of: PointTags, first: HostSample, last: HostSample) -> Iterator[str]:
    if last.monotonic_ns <= first.monotonic_ns:
        return
    load = load_between(first, last)
    machine = {"steal_fraction": load.steal_fraction, "idle_fraction": load.idle_fraction}
    yield of.point("host", machine, last.monotonic_ns)
    for name, process in load.processes.items():
        fields = {
            "cpu_fraction": process.cpu_fraction,
            "run_delay_fraction": process.run_delay_fraction,
            "resident_bytes": process.resident_bytes,
        }
        yield of.point("host", fields, last.monotonic_ns, process=name)


def _link_points(of: PointTags, counters: FabricCounters) -> Iterator[str]:
    meters = {(q.node, q.link): q for q in counters.qdiscs if q.kind == "tbf"}
    for link in counters.links:
        if link.link == LOOPBACK:  # nothing of a run passes it
            continue
        meter = meters.get((link.node, link.link))
        fields = {
            "rx_packets": link.rx_packets,
            "tx_packets": link.tx_packets,
            "rx_bytes": link.rx_bytes,
            "tx_bytes": link.tx_bytes,
            "dropped_packets": meter.dropped_packets if meter else None,
            "backlog_bytes": meter.backlog_bytes if meter else None,
        }
        yield of.point("link", fields, counters.ended_ns, node=link.node, link=link.link)
