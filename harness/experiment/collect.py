"""From what the processes and the kernel counted to the counters of every hop. Pure, but for reading files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from harness.dataplane.status_page import read_status
from harness.errors import RunFailed
from harness.measure.hops import HopCounters, InstanceCounters, PortCounters
from harness.measure.invariants import CounterPair
from harness.testbed import topology as names
from harness.testbed.counters import FabricCounters

SOFTNET = Path("/proc/net/softnet_stat")
PORTS = 2


@dataclass(frozen=True)
class Reading:
    """Counters at one moment at which nothing was moving: before the load, and after it."""

    instances: Mapping[str, dict[str, Any]]
    element: dict[str, Any] | None
    fabric: FabricCounters
    softnet_dropped_packets: int


def softnet_dropped_packets(text: str) -> int:
    """Sum over CPUs of the second column of /proc/net/softnet_stat (hexadecimal): backlog overflows."""
    return sum(int(line.split()[1], 16) for line in text.splitlines() if line.strip())


def take_reading(
    pages: Mapping[str, np.ndarray], element: np.ndarray | None, fabric: FabricCounters, reasons: Mapping[int, str]
) -> Reading:
    """Copy every counter now. OSError without /proc."""
    return Reading(
        {node: read_status(page, PORTS, dict(reasons)) for node, page in pages.items()},
        None if element is None else read_status(element, 2 * PORTS, {}),
        fabric,
        softnet_dropped_packets(SOFTNET.read_text()),
    )


def read_report(path: Path) -> dict[str, Any]:
    """Counters a load process wrote at its end. RunFailed when they are not there or do not parse."""
    try:
        report = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise RunFailed(f"{path}: no counters of this process ({error}); see its log in logs/") from error
    if not isinstance(report, dict):
        raise RunFailed(f"{path}: not the counters of a process")
    return report


def hop_counters(
    before: Reading, after: Reading, loadgen: Mapping[str, Any], echoserver: Mapping[str, Any]
) -> HopCounters:
    """Counters of every hop between two readings; the load processes count from after their ARP exchange."""
    instances = {
        node: _instance(node, before, after) if node in after.instances else InstanceCounters()
        for node in names.INSTANCES
    }
    received = (
        "echo_replies_packets",
        "echo_duplicates_packets",
        "server_received_packets",
        "server_duplicates_packets",
    )
    return HopCounters(
        loadgen_sent_packets=loadgen["sent_packets"],
        loadgen_received_packets=sum(loadgen[name] for name in received),
        echoserver_received_packets=echoserver["echoed_packets"] + echoserver["tx_failed_packets"],
        echoserver_echoed_packets=echoserver["echoed_packets"],
        echoserver_server_sent_packets=echoserver["server_sent_packets"],
        source=instances[names.SOURCE],
        destination=instances[names.DESTINATION],
        loadgen_kernel_dropped_packets=loadgen["kernel_dropped_packets"],
        echoserver_kernel_dropped_packets=echoserver["kernel_dropped_packets"],
        echoserver_tx_failed_packets=echoserver["tx_failed_packets"],
        softnet_dropped_packets=after.softnet_dropped_packets - before.softnet_dropped_packets,
    )


def _instance(node: str, before: Reading, after: Reading) -> InstanceCounters:
    old, new = before.instances[node], after.instances[node]

    def port(index: int) -> PortCounters:
        def grown(name: str) -> int:
            return int(new["ports"][index][name] - old["ports"][index][name])

        return PortCounters(
            received_packets=grown("rx_ipv4"),
            kernel_dropped_packets=grown("kernel_dropped"),
            sent_packets=grown("tx_frames") - grown("tx_other"),
            send_failed_packets=grown("tx_meter") + grown("tx_failed"),
        )

    def over_ports(name: str) -> int:
        return sum(int(new["ports"][i][name] - old["ports"][i][name]) for i in range(PORTS))

    refused = {
        reason: count - old["reasons"].get(reason, 0)
        for reason, count in new["reasons"].items()
        if count > old["reasons"].get(reason, 0)
    }
    return InstanceCounters(
        interior=port(0),
        exterior=port(1),
        meter_in_dropped_packets=_meter_drops(after.fabric, names.FABRIC, node)
        - _meter_drops(before.fabric, names.FABRIC, node),
        pkt_q_overflow_packets=over_ports("pkt_q_overflow"),
        st_q_out_overflow_packets=over_ports("st_q_out_overflow"),
        not_ready_packets=over_ports("not_ready"),
        stopped_packets=over_ports("stopped"),
        refused_packets=refused,
    )


def _meter_drops(fabric: FabricCounters, node: str, link: str) -> int:
    try:
        return fabric.qdisc(node, link).dropped_packets
    except KeyError:  # a profile without a meter
        return 0


def counter_pairs(
    before: Reading, after: Reading, loadgen: Mapping[str, Any], echoserver: Mapping[str, Any]
) -> list[CounterPair]:
    """The same packets as the interfaces and as the applications counted them."""
    pairs = []
    for node, report, sent in (
        (names.LOADGEN, loadgen, loadgen["sent_packets"]),
        (names.ECHOSERVER, echoserver, echoserver["echoed_packets"] + echoserver["server_sent_packets"]),
    ):
        old, new = before.fabric.link(node, names.UPLINK), after.fabric.link(node, names.UPLINK)
        arrived = new.rx_packets - old.rx_packets
        # The process counts from its start: ARP of the others' start-up may have come before the first reading.
        least = report["received_frames"] + report["kernel_dropped_packets"] - report["arp_packets"]
        received = min(max(arrived, least), least + report["arp_packets"])
        pairs += [
            CounterPair(f"{node} sent", _accepted(after.fabric, node) - _accepted(before.fabric, node), sent),
            CounterPair(f"{node} received", arrived, received),
        ]
    return pairs + instance_pairs(before, after)


def instance_pairs(before: Reading, after: Reading) -> list[CounterPair]:
    """The same of the instances; none without an element in the kernel's own way, as no process of ours counts that."""
    pairs: list[CounterPair] = []
    if after.element is None or before.element is None:
        return pairs
    for index, node in enumerate(names.INSTANCES):
        if node not in after.instances:
            continue
        old, new = before.fabric.link(node, names.UPLINK), after.fabric.link(node, names.UPLINK)
        parts = [(before.instances[node]["ports"][i], after.instances[node]["ports"][i]) for i in range(PORTS)]
        parts.append((before.element["ports"][PORTS * index], after.element["ports"][PORTS * index]))
        received = sum(b["rx_frames"] + b["kernel_dropped"] - a["rx_frames"] - a["kernel_dropped"] for a, b in parts)
        pairs += [
            CounterPair(
                f"{node} sent",
                _accepted(after.fabric, node) - _accepted(before.fabric, node),
                sum(b["tx_frames"] - a["tx_frames"] for a, b in parts),
            ),
            CounterPair(f"{node} received", new.rx_packets - old.rx_packets, received),
        ]
    return pairs


def _accepted(fabric: FabricCounters, node: str) -> int:
    """Frames of a node's uplink that its sender was told were sent.

    A veth counts a frame as dropped, not as sent, when the backlog of the receiving CPU is full. Without a queueing
    discipline the sender is told (ENOBUFS) and may try again; behind one it was told long before that all is well.
    """
    link = fabric.link(node, names.UPLINK)
    queued = any(qdisc.node == node and qdisc.link == names.UPLINK for qdisc in fabric.qdiscs)
    return link.tx_packets + (link.tx_dropped_packets if queued else 0)
