"""Memory of the capture generator's loop: its schedule and its flows. Records and frames are those of any load."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address
from typing import Any, NamedTuple

import numpy as np

from harness.errors import UsageError
from loadgen.capture_frames import TEMPLATE_BYTES, Templates
from loadgen.capture_schedule import FIRST_PORT, CaptureSchedule
from loadgen.generator_state import Record, Wire, Words, make_record, make_wire, make_words


class CapturePlan(NamedTuple):
    """Of each packet: intended_ns int64[N] (offsets until the start is known), flow, template, place uint32[N] (its
    place in its flow), frame_bytes uint16[N]."""

    intended_ns: Any
    flow: Any
    template: Any
    place: Any
    frame_bytes: Any


class CaptureFlows(NamedTuple):
    """Of each flow int64[F]: interior_ip, interior_port, echo_ip, echo_port, protocol; following: place behind that of
    the last packet sent, written by the loop; first int64[F + 1] and order uint32[N]: its packets are
    order[first[f] : first[f + 1]]. by_port: int32[H, P], flow of each host's port FIRST_PORT + p (-1: none)."""

    interior_ip: Any
    interior_port: Any
    echo_ip: Any
    echo_port: Any
    protocol: Any
    following: Any
    first: Any
    order: Any
    by_port: Any


def make_plan(schedule: CaptureSchedule, templates: Templates) -> tuple[CapturePlan, Any, Any]:
    """The plan, and `first` and `order` of its flows."""
    packets, flows = schedule.offset_ns.size, schedule.flow_host.size
    order = np.argsort(schedule.flow, kind="stable").astype(np.uint32)
    first = np.zeros(flows + 1, np.int64)
    np.cumsum(np.bincount(schedule.flow, minlength=flows), out=first[1:])
    place = np.zeros(packets, np.uint32)
    place[order] = np.arange(packets) - first[schedule.flow[order]]
    sizes = templates.frame_bytes[schedule.template].astype(np.uint16)
    return CapturePlan(schedule.offset_ns, schedule.flow, schedule.template, place, sizes), first, order


def make_flows(
    schedule: CaptureSchedule, hosts: Sequence[IPv4Address], echo: Sequence[IPv4Address], first: Any, order: Any
) -> CaptureFlows:
    """The flows. Raises UsageError for hosts whose addresses do not follow each other."""
    addresses = np.array([int(address) for address in hosts], np.int64)
    if (np.diff(addresses) != 1).any():
        raise UsageError("configuration: hosts: must be addresses that follow each other")
    flows = schedule.flow_host.size
    by_port = np.full((addresses.size, int(schedule.flow_port.max()) - FIRST_PORT + 1), -1, np.int32)
    by_port[schedule.flow_host, schedule.flow_port - FIRST_PORT] = np.arange(flows)
    return CaptureFlows(
        interior_ip=addresses[schedule.flow_host],
        interior_port=schedule.flow_port,
        echo_ip=np.array([int(address) for address in echo], np.int64)[schedule.flow_echo],
        echo_port=schedule.flow_echo_port,
        protocol=schedule.flow_protocol,
        following=np.zeros(flows, np.int64),
        first=first,
        order=order,
        by_port=by_port,
    )


def example_arguments() -> tuple[CapturePlan, Templates, CaptureFlows, Record, Wire, Words]:
    """Arguments of the right types, from which the loop's signature is taken."""
    number, column = np.zeros(1, np.uint32), np.zeros(1, np.int64)
    plan = CapturePlan(column, number, number, number, np.zeros(1, np.uint16))
    templates = Templates(np.zeros((1, TEMPLATE_BYTES // 8), np.int64), column, column, column, column)
    flows = CaptureFlows(*(column,) * 7, number, np.zeros((1, 1), np.int32))
    return plan, templates, flows, make_record(1, 0, 1), make_wire(bytes(6), number), make_words()
