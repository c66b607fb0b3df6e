"""The generator of a capture load as a process: what loadgen.generator_process does when it is told of a capture."""

from __future__ import annotations

from typing import Any

import numpy as np

from harness.dataplane.packet_socket import read_statistics
from harness.dataplane.scheduling import leave_dataplane_scheduling
from harness.errors import UsageError
from loadgen import status
from loadgen.capture_flows import read_load
from loadgen.capture_frames import make_templates
from loadgen.capture_generator import run_capture_generator
from loadgen.capture_schedule import CaptureConfiguration, build_capture_schedule, figures
from loadgen.capture_state import CapturePlan, make_flows, make_plan
from loadgen.configuration import GeneratorConfiguration
from loadgen.endpoint import begin, open_endpoint, unread_packets
from loadgen.generator_records import Ended, missing_packets, write_records
from loadgen.generator_state import Record, make_record, make_wire, make_words
from loadgen.process import LineReader


def serve_capture(reader: LineReader, configuration: GeneratorConfiguration, capture: CaptureConfiguration) -> None:
    """Read the file, report ready, run the loop, write the records. Raises HarnessError."""
    load = read_load(capture.path)
    schedule = build_capture_schedule(load, capture)
    described = figures(load, schedule)
    if schedule.flow_host.size != configuration.workload.flows:
        raise UsageError(
            f"{capture.path}: {schedule.flow_host.size} flows, not {configuration.workload.flows}: the file has "
            "changed since the profile was read"
        )
    hosts = np.array([int(address) for address in configuration.hosts], np.uint32)
    words = make_words(status.open_page(configuration.status_path))
    with open_endpoint(configuration, configuration.hosts, hosts) as endpoint:
        used = load.packets[: int(schedule.template.max()) + 1]
        templates = make_templates(used, (endpoint.mac, endpoint.gateway_mac), configuration.run)
        plan, first, order = make_plan(schedule, templates)
        flows = make_flows(schedule, configuration.hosts, configuration.echo_addresses, first, order)
        record = make_record(plan.intended_ns.size, 0, schedule.flow_host.size)
        wire = make_wire(endpoint.mac, hosts)
        scheduling = begin(
            reader,
            endpoint,
            plan.intended_ns,
            words.control,
            configuration.scheduler,
            packets=int(plan.intended_ns.size),
            server_packets=0,
            flows=int(schedule.flow_host.size),
        )
        run_capture_generator(
            endpoint.sock.fileno(),
            configuration.run,
            configuration.extra_latency_ns,
            configuration.drain_ns,
            configuration.tick_ns,
            plan,
            templates,
            flows,
            record,
            wire,
            words,
        )
        leave_dataplane_scheduling()
        unread = unread_packets(endpoint.sock) if missing_packets(record) else 0
        dropped = read_statistics(endpoint.sock).dropped_packets
    described |= _unnumbered(plan, templates.payload_at, record)
    protocols = {"flow_protocol": schedule.flow_protocol.astype(np.uint8)}
    report = {"capture": {"path": str(capture.path), **described}}
    write_records(
        configuration, plan, record, words, Ended(scheduling, dropped, unread), arrays=protocols, report=report
    )


def _unnumbered(plan: CapturePlan, payload_at: Any, record: Record) -> dict[str, int]:
    """Of the packets without a number of ours: how many were sent and how many of these came back."""
    without = payload_at[plan.template] == 0
    return {
        "unnumbered_sent_packets": int(np.count_nonzero(without & (record.sent_ns > 0))),
        "unnumbered_returned_packets": int(np.count_nonzero(without & (record.received_ns > 0))),
    }
