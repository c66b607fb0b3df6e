"""What the generator leaves behind: packet records (loadgen.npz) and counters (loadgen.json)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from loadgen.configuration import GeneratorConfiguration
from loadgen.control import START_NS
from loadgen.generator_state import COUNTER_NAMES, Record, Words
from loadgen.process import emit
from loadgen.results import counters_by_name, distribution_ns, peak_memory_bytes, write_arrays, write_report


class Ended(NamedTuple):
    """How the loop was scheduled, and what its socket dropped."""

    scheduling: str
    dropped_packets: int
    unread_packets: int = 0
    """Came when replies were missing and the wait for them was over."""


def missing_packets(record: Record) -> int:
    """Requests without a reply, and packets of the server's own that have not come."""
    return int(
        np.count_nonzero((record.sent_ns > 0) & (record.received_ns == 0))
        + np.count_nonzero(record.server_received_ns == 0)
    )


def write_records(
    configuration: GeneratorConfiguration,
    plan: Any,
    record: Record,
    words: Words,
    ended: Ended,
    *,
    arrays: Mapping[str, Any],
    report: Mapping[str, Any] | None = None,
) -> None:
    """Write both and say "done". plan: has intended_ns, flow and frame_bytes; `arrays` and `report` are added."""
    was_sent = record.sent_ns > 0
    counted = {
        **counters_by_name(COUNTER_NAMES, words.counters),
        "intended_packets": int(plan.intended_ns.size),
        "unsent_packets": int(plan.intended_ns.size - np.count_nonzero(was_sent)),
        "unread_packets": ended.unread_packets,
        "kernel_dropped_packets": ended.dropped_packets + ended.unread_packets,
        "send_lateness_ns": distribution_ns((record.sent_ns - plan.intended_ns)[was_sent]),
        "rtt_ns": distribution_ns((record.received_ns - plan.intended_ns)[record.received_ns > 0]),
        "start_ns": int(words.control[START_NS]),
        "scheduling": ended.scheduling,
        "extra_latency_ns": configuration.extra_latency_ns,
        "workload": configuration.workload.model_dump(),
        "peak_memory_bytes": peak_memory_bytes(),
        **(report or {}),
    }
    of_packets: dict[str, Any] = {
        "intended_ns": plan.intended_ns,
        "sent_ns": record.sent_ns,
        "received_ns": record.received_ns,
        "flow": plan.flow,
        "frame_bytes": plan.frame_bytes,
        "duplicates": record.duplicates,
        "flow_reordered": record.flow_reordered,
        "server_received_ns": record.server_received_ns,
        "server_duplicates": record.server_duplicates,
        **arrays,
    }
    write_arrays(configuration.run_directory / "loadgen.npz", of_packets)
    write_report(configuration.run_directory / "loadgen.json", counted)
    emit("done", report="loadgen.json", arrays="loadgen.npz", sent_packets=counted["sent_packets"])
