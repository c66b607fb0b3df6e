"""The load generator as a process: `python -m loadgen.generator_process`."""

from __future__ import annotations

import socket
import sys
import time
from typing import Any

import numpy as np

from harness.dataplane.packet_socket import PortOptions, mac_bytes, packet_socket, read_statistics
from loadgen import status
from loadgen.arp import resolve_gateway
from loadgen.configuration import GeneratorConfiguration, parse_configuration
from loadgen.flows import build_flows
from loadgen.generator import run_generator
from loadgen.generator_state import (
    COUNTER_NAMES,
    START_NS,
    STOP,
    Plan,
    Record,
    Words,
    make_record,
    make_wire,
    make_words,
)
from loadgen.process import CommandThread, LineReader, emit, leave_loop_scheduling, prepare_loop_thread, run_process
from loadgen.results import counters_by_name, distribution_ns, peak_memory_bytes, write_arrays, write_report
from loadgen.schedule import build_schedule, flow_count


def serve(reader: LineReader, first_line: bytes) -> None:
    """Set up, report ready, run the loop, write the records. Raises HarnessError."""
    configuration = parse_configuration(GeneratorConfiguration, first_line)
    workload = configuration.workload.workload()
    mac = mac_bytes(configuration.mac)
    hosts = np.array([int(address) for address in configuration.hosts], np.uint32)
    words = make_words(status.open_page(configuration.status_path))
    options = PortOptions(
        configuration.interface,
        mac,
        all_broadcast_arp=True,
        receive_buffer_bytes=configuration.receive_buffer_bytes,
    )
    with packet_socket(options) as sock:
        gateway_mac = _gateway_mac(configuration, sock, mac, hosts)
        flows = build_flows(
            flow_count(workload),
            configuration.hosts,
            configuration.echo_addresses,
            configuration.echo_port,
            (mac, gateway_mac),
            configuration.run,
        )
        plan = Plan(*build_schedule(workload))
        record = make_record(workload.packets, workload.server_packets, flows.echo_ip.size)
        wire = make_wire(mac, hosts)

        def start(start_ns: int) -> None:
            plan.intended_ns[:] += start_ns
            words.control[START_NS] = start_ns

        def stop() -> None:
            words.control[STOP] = 1

        read_statistics(sock)
        CommandThread(reader, start, stop).start()
        scheduling = prepare_loop_thread(configuration.realtime_priority)
        emit(
            "ready",
            packets=workload.packets,
            server_packets=workload.server_packets,
            flows=int(flows.echo_ip.size),
            gateway_mac=gateway_mac.hex(":"),
            scheduling=scheduling,
            status=status.NAMES,
        )
        run_generator(
            sock.fileno(),
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
        leave_loop_scheduling()
        kernel = read_statistics(sock)
    _write(configuration, plan, record, words, scheduling, kernel.dropped_packets)


def _gateway_mac(configuration: GeneratorConfiguration, sock: socket.socket, mac: bytes, hosts: Any) -> bytes:
    if configuration.gateway_mac is not None:
        return mac_bytes(configuration.gateway_mac)
    deadline_ns = time.monotonic_ns() + configuration.arp_deadline_ns
    return resolve_gateway(sock, mac, configuration.hosts, hosts, configuration.gateway, deadline_ns)


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
    arrays = {
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
    write_arrays(configuration.run_directory / "loadgen.npz", arrays)
    write_report(configuration.run_directory / "loadgen.json", report)
    emit("done", report="loadgen.json", arrays="loadgen.npz", sent_packets=report["sent_packets"])


if __name__ == "__main__":
    sys.exit(run_process(serve))
