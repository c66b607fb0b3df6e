"""The load generator as a process: `python -m loadgen.generator_process`."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from harness.dataplane.packet_socket import read_statistics
from harness.dataplane.scheduling import leave_dataplane_scheduling
from loadgen import status
from loadgen.configuration import GeneratorConfiguration, parse_configuration
from loadgen.control import REPEAT_ANNOUNCEMENTS, START_NS
from loadgen.endpoint import begin, open_endpoint
from loadgen.flows import build_flows
from loadgen.generator import run_generator
from loadgen.generator_state import COUNTER_NAMES, Plan, Record, Words, make_record, make_wire, make_words
from loadgen.payload import ANNOUNCES, CELL_SHIFT
from loadgen.process import LineReader, emit, run_process
from loadgen.results import counters_by_name, distribution_ns, peak_memory_bytes, write_arrays, write_report
from loadgen.schedule import build_schedule, flow_count


def serve(reader: LineReader, first_line: bytes) -> None:
    """Set up, report ready, run the loop, write the records. Raises HarnessError."""
    configuration = parse_configuration(GeneratorConfiguration, first_line)
    workload = configuration.workload.workload()
    hosts = np.array([int(address) for address in configuration.hosts], np.uint32)
    words = make_words(status.open_page(configuration.status_path))
    if workload.subscribers is not None:
        words.control[REPEAT_ANNOUNCEMENTS] = int(workload.subscribers.repeat_until_confirmed)
    with open_endpoint(configuration, configuration.hosts, hosts) as endpoint:
        flows = build_flows(
            flow_count(workload),
            configuration.hosts,
            configuration.echo_addresses,
            configuration.echo_port,
            (endpoint.mac, endpoint.gateway_mac),
            configuration.run,
        )
        plan = Plan(*build_schedule(workload))
        record = make_record(workload.packets, workload.server_packets, flows.echo_ip.size)
        wire = make_wire(endpoint.mac, hosts)
        scheduling = begin(
            reader,
            endpoint,
            plan.intended_ns,
            words.control,
            configuration.scheduler,
            packets=workload.packets,
            server_packets=workload.server_packets,
            flows=int(flows.echo_ip.size),
        )
        run_generator(
            endpoint.sock.fileno(),
            configuration.run,
            configuration.extra_latency_ns,
            configuration.drain_ns,
            configuration.tick_ns,
            plan,
            flows,
            record,
            wire,
            words,
        )
        leave_dataplane_scheduling()
        kernel = read_statistics(endpoint.sock)
    _write(configuration, plan, record, words, scheduling, kernel.dropped_packets)


def _write(
    configuration: GeneratorConfiguration, plan: Plan, record: Record, words: Words, scheduling: str, dropped: int
) -> None:
    was_sent = record.sent_ns > 0
    report = {
        **counters_by_name(COUNTER_NAMES, words.counters),
        "intended_packets": int(plan.intended_ns.size),
        "unsent_packets": int(plan.intended_ns.size - np.count_nonzero(was_sent)),
        "kernel_dropped_packets": dropped,
        "send_lateness_ns": distribution_ns((record.sent_ns - plan.intended_ns)[was_sent]),
        "rtt_ns": distribution_ns((record.received_ns - plan.intended_ns)[record.received_ns > 0]),
        "start_ns": int(words.control[START_NS]),
        "scheduling": scheduling,
        "extra_latency_ns": configuration.extra_latency_ns,
        "workload": configuration.workload.model_dump(),
        "peak_memory_bytes": peak_memory_bytes(),
    }
    arrays: dict[str, Any] = {
        "intended_ns": plan.intended_ns,
        "sent_ns": record.sent_ns,
        "received_ns": record.received_ns,
        "flow": plan.flow,
        "frame_bytes": plan.frame_bytes,
        "duplicates": record.duplicates,
        "flow_reordered": record.flow_reordered,
        "server_received_ns": record.server_received_ns,
        "server_duplicates": record.server_duplicates,
    }
    if configuration.workload.subscribers is not None:
        arrays |= _cells(record)
    write_arrays(configuration.run_directory / "loadgen.npz", arrays)
    write_report(configuration.run_directory / "loadgen.json", report)
    emit("done", report="loadgen.json", arrays="loadgen.npz", sent_packets=report["sent_packets"])


def _cells(record: Record) -> dict[str, Any]:
    """Where each request was sent from, whether it announced that, and where the gateway sent what came back."""
    return {
        "cell": (record.tag >> CELL_SHIFT).astype(np.uint16),
        "announced": (record.tag & ANNOUNCES) != 0,
        "reply_cell": record.reply_cell,
        "server_cell": record.server_cell,
    }


if __name__ == "__main__":
    sys.exit(run_process(serve))
