"""Measurements of the line protocol: names, tags, field types and units, fixed here and nowhere else.

A point is written once and never contradicted: no two points of a run have measurement, tags and timestamp in common.
`queue`, `link`, `host`, `event` and `live` are written while the run goes on, about every half second, and are final.
`traffic` and `run_summary` are known from the records of every packet only and follow when the run has ended. What is
counted of the load meanwhile is not the same figure (by the time something happened, not by when it was due, and with
losses estimated), so it has a measurement of its own: `live`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

FieldType = Literal["i", "float", "string"]


@dataclass(frozen=True)
class Field:
    """One field: a 64-bit integer (`i`), a float or a string, for ever of this type."""

    name: str
    type: FieldType
    unit: str
    meaning: str


@dataclass(frozen=True)
class Measurement:
    """One measurement. `run_id`, `profile` and `mode` are tags of all; `load` is the planned load, as 300Mbit."""

    name: str
    tags: tuple[str, ...]
    fields: tuple[Field, ...]


_RUN_TAGS = ("run_id", "profile", "mode")


def _packets(name: str, meaning: str) -> Field:
    return Field(f"{name}_packets", "i", "packets", meaning)


def _ns(name: str, meaning: str) -> Field:
    return Field(f"{name}_ns", "i", "ns", meaning)


RTT_EDGES_US = (5000, 8000, 10000, 10500, 11000, 12000, 15000, 20000, 30000, 50000, 100000, 200000, 500000, 1000000)
"""Right-inclusive edges of the RTT buckets of `traffic`."""

RTT_BUCKETS = (*(f"rtt_le_{edge}us" for edge in RTT_EDGES_US), f"rtt_gt_{RTT_EDGES_US[-1]}us")
"""Field names of the buckets: each counts the RTTs above the edge before it, up to its own."""

VERDICTS = ("valid", "invalid", "failed")
"""Fields of `run_summary` that count: what is text cannot be summed over time."""

_TRAFFIC = Measurement(
    "traffic",
    _RUN_TAGS,
    (
        _packets("intended", "echo requests due to be sent in the interval"),
        _packets("sent", "of those, sent at all"),
        _packets("received", "of those, answered"),
        _packets("arrived", "replies that arrived in the interval, whenever they were due"),
        Field("offered_bps", "float", "bit/s", "load due in the interval, both directions"),
        Field("received_bps", "float", "bit/s", "load of which replies arrived in the interval, both directions"),
        _packets("lost", "of the intended, never answered, or in a wrong cell"),
        _packets("wrong_cell", "of the lost, answered in a wrong cell"),
        _packets("late", "of the intended, answered with RTT > 15 ms"),
        _packets("server_intended", "server-originated packets due to be sent in the interval"),
        _packets("server_lost", "of those, never received"),
        _ns("rtt_p50", "median RTT, from the intended send time"),
        _ns("rtt_p90", "90th percentile of RTT"),
        _ns("rtt_p99", "99th percentile of RTT"),
        _ns("rtt_max", "largest RTT"),
        *(Field(name, "i", "packets", "RTTs in this bucket") for name in RTT_BUCKETS),
    ),
)

_LIVE = Measurement(
    "live",
    _RUN_TAGS,
    (
        _packets("sent", "echo requests sent in these 100 ms"),
        _packets("received", "replies that arrived in them"),
        _packets("late", "of those, with RTT > 15 ms"),
        Field("sent_bps", "float", "bit/s", "load sent, both directions"),
        Field("received_bps", "float", "bit/s", "load of which replies arrived, both directions"),
        _ns("rtt_mean", "mean RTT of the replies"),
        _ns("rtt_max", "largest RTT of the replies"),
        _packets("lost_estimate", "requests so far whose reply is overdue; `traffic` has the exact figure"),
    ),
)

_QUEUE = Measurement(
    "queue",
    (*_RUN_TAGS, "node", "kind"),
    (
        _packets("depth", "entries in the queue (pkt_q_interior, pkt_q_exterior, st_q_out, st_q_in)"),
        Field("depth_bytes", "i", "bytes", "bytes in the queue"),
        _packets("overflow", "refused because the queue was full, since the start"),
    ),
)

_LINK = Measurement(
    "link",
    (*_RUN_TAGS, "node", "link"),
    (
        _packets("rx", "received by the interface since the start"),
        _packets("tx", "sent by the interface since the start"),
        Field("rx_bytes", "i", "bytes", "received by the interface since the start"),
        Field("tx_bytes", "i", "bytes", "sent by the interface since the start"),
        _packets("dropped", "dropped by the interface's meter since the start"),
        Field("backlog_bytes", "i", "bytes", "waiting in the interface's meter"),
    ),
)

_HOST = Measurement(
    "host",
    (*_RUN_TAGS, "process"),
    (
        Field("cpu_fraction", "float", "1", "CPU time of the process per wall time"),
        Field("run_delay_fraction", "float", "1", "time runnable without a CPU per wall time"),
        Field("resident_bytes", "i", "bytes", "resident memory of the process"),
        Field("steal_fraction", "float", "1", "time of all CPUs taken by the hypervisor (without tag process)"),
        Field("idle_fraction", "float", "1", "idle time of all CPUs (without tag process)"),
    ),
)

_EVENT = Measurement(
    "event",
    (*_RUN_TAGS, "phase"),
    (Field("text", "string", "", "what happened"), _ns("duration", "how long the phase took")),
)

_RUN_SUMMARY = Measurement(
    "run_summary",
    (*_RUN_TAGS, "load"),
    (
        Field("validity", "string", "", "VALID, INVALID or FAILED"),
        *(Field(verdict, "i", "runs", f"1 where the run is {verdict.upper()}, else 0") for verdict in VERDICTS),
        Field("outcome", "string", "", "completed, aborted, failed or none"),
        Field("frame_bytes", "i", "bytes", "frame size with the 42 header bytes"),
        Field("offered_bps", "float", "bit/s", "offered load, both directions through the VNF"),
        Field("received_bps", "float", "bit/s", "received load, both directions"),
        _packets("intended", "echo requests of the measured window"),
        _packets("lost", "of those, never answered, or in a wrong cell"),
        _packets("wrong_cell", "of the lost, answered in a wrong cell"),
        _packets("late", "of those, RTT > 15 ms"),
        _packets("unexplained", "losses of the whole run without a named cause"),
        Field("loss_s", "float", "s", "seconds of loss"),
        Field("rtt_late_s", "float", "s", "seconds of RTT > 15 ms, lost packets included"),
        Field("lossy_intervals_s", "float", "s", "length of all intervals with a loss"),
        _ns("longest_gap", "longest time without an arrival"),
        _ns("rtt_p50", "median RTT"),
        _ns("rtt_p99", "99th percentile of RTT"),
        _ns("rtt_max", "largest RTT"),
        Field("largest_bin_mean_rtt_ns", "float", "ns", "largest mean RTT of any 500 ms"),
        _ns("migration_duration", "total migration time"),
        _ns("downtime", "longest gap in the forwarding"),
        Field("snapshot_bytes", "i", "bytes", "snapshot with its filler"),
        Field("statelet_stream_bytes", "i", "bytes", "statelet stream"),
        Field("statelets", "i", "statelets", "statelets moved"),
        _packets("pkt_q_max", "largest depth of the deeper pkt_q"),
        _packets("st_q_out_max", "largest depth of st_q_out"),
        _packets("st_q_in_max", "largest depth of st_q_in"),
        Field("invariants_held", "i", "invariants", "invariants that hold"),
        Field("invariants_checked", "i", "invariants", "invariants that were checked"),
    ),
)

SCHEMA: dict[str, Measurement] = {m.name: m for m in (_RUN_SUMMARY, _TRAFFIC, _LIVE, _QUEUE, _LINK, _HOST, _EVENT)}
