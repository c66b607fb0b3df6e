"""The echoserver as a process: `python -m loadgen.echoserver_process`."""

from __future__ import annotations

import sys

import numpy as np

from harness.dataplane.packet_socket import read_statistics
from harness.dataplane.scheduling import leave_dataplane_scheduling
from loadgen import status
from loadgen.capture_echo import ANY_PACKET
from loadgen.configuration import EchoserverConfiguration, parse_configuration
from loadgen.control import START_NS
from loadgen.delay_line import HIGHEST, held_frames
from loadgen.echoserver import run_echoserver
from loadgen.echoserver_state import (
    COUNTER_NAMES,
    FlowRecord,
    ServerRecord,
    Wire,
    Words,
    make_flow_record,
    make_identity,
    make_server_record,
    make_wire,
    make_words,
)
from loadgen.endpoint import begin, open_endpoint
from loadgen.process import LineReader, emit, run_process
from loadgen.results import counters_by_name, distribution_ns, peak_memory_bytes, write_arrays, write_report
from loadgen.schedule import flow_count, server_frame_sizes, server_offsets_ns


def serve(reader: LineReader, first_line: bytes) -> None:
    """Set up, report ready, run the loop until the command stop, write the records. Raises HarnessError."""
    configuration = parse_configuration(EchoserverConfiguration, first_line)
    workload = configuration.workload.workload()
    echo = np.array([int(address) for address in configuration.echo_addresses], np.uint32)
    further = np.array([int(address) for address in configuration.answered_addresses], np.uint32)
    answered = np.concatenate([echo, further])
    words = make_words(status.open_page(configuration.status_path), configuration.workload.seed)
    with open_endpoint(configuration, configuration.echo_addresses, answered) as endpoint:
        record = make_flow_record(flow_count(workload))
        server = make_server_record(server_offsets_ns(workload), server_frame_sizes(workload))
        wire = make_wire(1 << (configuration.pool_frames - 1).bit_length())
        scheduling = begin(
            reader,
            endpoint,
            server.intended_ns,
            words.control,
            configuration.scheduler,
            server_packets=workload.server_packets,
            flows=int(record.packets.size),
        )
        run_echoserver(
            endpoint.sock.fileno(),
            configuration.run,
            ANY_PACKET if configuration.captured else configuration.echo_port,
            configuration.latency_ns,
            configuration.tick_ns,
            make_identity(endpoint.mac, endpoint.gateway_mac, echo, answered),
            record,
            server,
            wire,
            words,
        )
        leave_dataplane_scheduling()
        kernel = read_statistics(endpoint.sock)
    _write(configuration, record, server, wire, words, scheduling, kernel.dropped_packets)


def _write(
    configuration: EchoserverConfiguration,
    record: FlowRecord,
    server: ServerRecord,
    wire: Wire,
    words: Words,
    scheduling: str,
    dropped: int,
) -> None:
    was_sent = server.sent_ns > 0
    report = {
        **counters_by_name(COUNTER_NAMES, words.counters),
        "unprocessed_frames": int(held_frames(wire.line)),
        "server_intended_packets": int(server.intended_ns.size),
        "server_unsent_packets": int(server.intended_ns.size - np.count_nonzero(was_sent)),
        "kernel_dropped_packets": dropped,
        "server_send_lateness_ns": distribution_ns((server.sent_ns - server.intended_ns)[was_sent]),
        "delay_line_frames_maximum": int(wire.line.cursor[HIGHEST]),
        "flows_seen": int(words.cursor[1]),
        "start_ns": int(words.control[START_NS]),
        "scheduling": scheduling,
        "latency_ns": configuration.latency_ns,
        "workload": configuration.workload.model_dump(),
        "peak_memory_bytes": peak_memory_bytes(),
    }
    arrays = {
        "flow_external_ip": record.external_ip,
        "flow_external_port": record.external_port,
        "flow_mapping_changes": record.mapping_changes,
        "flow_packets": record.packets,
        "server_sent_ns": server.sent_ns,
        "server_intended_ns": server.intended_ns,
        "server_flow": server.flow,
    }
    write_arrays(configuration.run_directory / "echoserver.npz", arrays)
    write_report(configuration.run_directory / "echoserver.json", report)
    emit("done", report="echoserver.json", arrays="echoserver.npz", echoed_packets=report["echoed_packets"])


if __name__ == "__main__":
    sys.exit(run_process(serve))
