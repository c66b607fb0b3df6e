"""The load generator as a process: `python -m loadgen.generator_process`."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from harness.dataplane.packet_socket import read_statistics
from harness.dataplane.scheduling import leave_dataplane_scheduling
from loadgen import status
from loadgen.configuration import GeneratorConfiguration, parse_configuration
from loadgen.control import REPEAT_ANNOUNCEMENTS
from loadgen.endpoint import begin, open_endpoint, unread_packets
from loadgen.flows import build_flows
from loadgen.generator import run_generator
from loadgen.generator_records import Ended, missing_packets, write_records
from loadgen.generator_state import Plan, Record, make_record, make_wire, make_words
from loadgen.payload import ANNOUNCES, CELL_SHIFT
from loadgen.process import LineReader, run_process
from loadgen.schedule import build_schedule, flow_count


def serve(reader: LineReader, first_line: bytes) -> None:
    """Set up, report ready, run the loop, write the records. Raises HarnessError."""
    configuration = parse_configuration(GeneratorConfiguration, first_line)
    if configuration.capture is not None:
        # Its loop is loaded where it runs, and nowhere else.
        from loadgen.capture_process import serve_capture

        serve_capture(reader, configuration, configuration.capture)
        return
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
        unread = unread_packets(endpoint.sock) if missing_packets(record) else 0
        kernel = read_statistics(endpoint.sock)
    cells = _cells(record) if workload.subscribers is not None else {}
    ended = Ended(scheduling, kernel.dropped_packets, unread)
    write_records(configuration, plan, record, words, ended, arrays=cells)


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
