"""From what the processes and the kernel counted to the counters of every hop. Pure, but for reading files."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from harness.dataplane.element.state import OTHER
from harness.dataplane.status_page import read_status
from harness.errors import RunFailed
from harness.experiment.generator_counters import (
    GeneratorReading,
    frames_at,
    grown,
    in_hand,
    read_generator,
    socket_drops,
    wire_counters,
)
from harness.measure.hops import WIRES, Bound, HopCounters, InstanceCounters, PortCounters
from harness.measure.invariants import CounterPair
from harness.testbed import topology as names
from harness.testbed.conditions import Direction
from harness.testbed.counters import FabricCounters

PORTS = 2
ELEMENT = "latency"
BURST_PACKETS_MAX = 256
"""Largest burst of an instance's port."""
READ, SENT = ("rx_frames", "kernel_dropped"), ("tx_frames",)


@dataclass(frozen=True)
class Reading:
    """Counters at one moment at which nothing was moving: before the load, and after it.

    element: of the process that delays the management traffic; generator: of the one that whole links cross.
    """

    instances: Mapping[str, dict[str, Any]]
    element: dict[str, Any] | None
    fabric: FabricCounters
    generator: GeneratorReading = field(default_factory=dict)

    @property
    def passed(self) -> list[tuple[int, int]]:
        """Frames that had passed the links when the kernel's counters were read."""
        return passed(self.fabric)


def passed(fabric: FabricCounters) -> list[tuple[int, int]]:
    """Frames that have passed the links of the instances and of both ends, in and out."""
    links = (fabric.link(node, names.UPLINK) for node in names.NODE_MACS)
    return [(link.rx_packets, link.tx_packets) for link in links]


def take_reading(
    pages: Mapping[str, Sequence[np.ndarray]],
    elements: Sequence[np.ndarray],
    fabric: FabricCounters,
    reasons: Mapping[int, str],
    generator_nodes: Sequence[str] = (),
    element_nodes: Sequence[Sequence[str]] = (),
) -> Reading:
    """Copy every counter now.

    pages and elements: a page for every process there has been in that place, the present one last. The elements are
    latency generators where these have links to stand in. element_nodes: where there is an element for each host, the
    instances each of them stands at.
    """
    is_generator = bool(generator_nodes)
    stands_at = element_nodes or [names.INSTANCES] * len(elements)
    counted = [_of_element(*item) for item in zip(elements, stands_at, strict=True)] if not is_generator else []
    return Reading(
        {node: _together([read_status(page, PORTS, dict(reasons)) for page in boots]) for node, boots in pages.items()},
        _together(counted) if counted else None,
        fabric,
        read_generator(elements, generator_nodes) if is_generator else {},
    )


def _of_element(page: np.ndarray, nodes: Sequence[str]) -> dict[str, Any]:
    """Counters of an element, with ports of zeros in place of those at other instances."""
    status = read_status(page, PORTS * len(nodes), {})
    none = [dict.fromkeys(port, 0) for port in status["ports"][:PORTS]]
    own = {node: status["ports"][PORTS * at : PORTS * (at + 1)] for at, node in enumerate(nodes)}
    return {**status, "ports": [port for node in names.INSTANCES for port in own.get(node, none)]}


def _together(boots: list[dict[str, Any]]) -> dict[str, Any]:
    """Counters of the ports and reasons of all processes, summed; what is not a sum is the last one's."""
    last = boots[-1]
    ports = [
        {name: sum(boot["ports"][index][name] for boot in boots) for name in port}
        for index, port in enumerate(last["ports"])
    ]
    reasons: dict[str, int] = {}
    for boot in boots:
        for reason, packets in boot["reasons"].items():
            reasons[reason] = reasons.get(reason, 0) + packets
    return {**last, "ports": ports, "reasons": reasons}


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
    before: Reading,
    after: Reading,
    loadgen: Mapping[str, Any],
    echoserver: Mapping[str, Any],
    ended: Collection[str] = (),
    bounds: tuple[Bound, ...] = (),
    duplicates_by_design: bool = False,
) -> HopCounters:
    """Counters of every hop between two readings; the load processes count from after their ARP exchange.

    ended: nodes of which a process has ended in between; what became of their packets then is asked of their uplink.
    bounds, duplicates_by_design: what the links did on purpose.
    """
    instances = {
        node: _instance(node, before, after, node in ended) if node in after.instances else InstanceCounters()
        for node in names.INSTANCES
    }
    received = (
        "echo_replies_packets",
        "echo_duplicates_packets",
        "server_received_packets",
        "server_duplicates_packets",
    )
    counted = wire_counters(before.generator, after.generator)
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
        softnet_dropped_packets=after.fabric.softnet_dropped_packets - before.fabric.softnet_dropped_packets,
        bounds=(*_generator_bounds(before, after, ended), *bounds),
        duplicates_by_design=duplicates_by_design or any(wire.duplicated_packets for wire in counted.values()),
        counted=counted,
    )


def _generator_bounds(before: Reading, after: Reading, ended: Collection[str]) -> tuple[Bound, ...]:
    """What the latency generator did not even read, or was about to do when it ended, by links, not by packets."""
    bounds = [Bound("queue", WIRES, socket_drops(before.generator, after.generator))]
    if ELEMENT in ended and after.generator:
        unread = 0
        for node in {node for node, _ in after.generator}:
            for link, read, _ in frames_at(before.generator, after.generator, node):
                unread += max(0, _received(after, node, link) - _received(before, node, link) - read)
        held = max(0, in_hand(before.generator, after.generator)) + BURST_PACKETS_MAX
        bounds.append(Bound("instance_down", WIRES, unread + held))
    return tuple(bound for bound in bounds if bound.packets)


def refused_frames(before: Reading, after: Reading) -> dict[tuple[str, Direction], int]:
    """Frames whose sender was told that the queueing discipline of its uplink did not take them."""
    refused: dict[tuple[str, Direction], int] = {
        (node, "up"): sum(
            int(new["ports"][i]["tx_meter"] - old["ports"][i]["tx_meter"])
            for old, new in [(before.instances[node], after.instances[node])]
            for i in range(PORTS)
        )
        for node in after.instances
    }
    for node, way in after.generator:
        if way == "up":  # it stands before the uplink
            refused[node, "up"] = grown(before.generator, after.generator, (node, way), "meter")
    return refused


def _instance(node: str, before: Reading, after: Reading, has_ended: bool) -> InstanceCounters:
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

    queued = sum(int(new["ports"][i][name]) for i in range(PORTS) for name in ("pkt_q_depth", "delay_depth"))
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
        **_of_ended(node, before, after, queued) if has_ended else {"left_in_queue_packets": queued},
    )


def _of_ended(node: str, before: Reading, after: Reading, queued: int) -> dict[str, int]:
    """What the uplink of a node counted beyond its process, which ended in the middle of something: at most a burst a
    port was between two of its counters."""
    if after.generator:
        arrived, sent = (_packets_behind_generator(node, before, after, way) for way in ("down", "up"))
        ports = list(zip(before.instances[node]["ports"], after.instances[node]["ports"], strict=True))
        read = sum(int(new[name] - old[name]) for old, new in ports for name in ("rx_ipv4", "kernel_dropped"))
        recorded = sum(
            int(new["tx_frames"] - old["tx_frames"] - new["tx_other"] + old["tx_other"]) for old, new in ports
        )
    else:
        arrived = _received(after, node, names.UPLINK) - _received(before, node, names.UPLINK)
        sent = _accepted(after.fabric, node) - _accepted(before.fabric, node)
        read, recorded = (_uplink_frames(node, before, after, counters) for counters in (READ, SENT))
    return {
        "unread_packets": max(0, arrived - read),
        "unrecorded_packets": max(0, sent - recorded),
        "held_packets": queued + 2 * PORTS * BURST_PACKETS_MAX,
    }


def _packets_behind_generator(node: str, before: Reading, after: Reading, way: str) -> int:
    """Packets of the load that the latency generator handed to an instance, or took from it."""
    name = "sent" if way == "down" else "received"
    old, new = before.generator[node, way], after.generator[node, way]  # type: ignore[index]
    return int(sum(new[name][:OTHER]) - sum(old[name][:OTHER]))


def _received(reading: Reading, node: str, link: str) -> int:
    return reading.fabric.link(node, link).rx_packets


def _uplink_frames(node: str, before: Reading, after: Reading, counters: Sequence[str]) -> int:
    """Frames the processes behind a node's uplink counted: the instance, and the element of the management traffic."""
    parts = list(zip(before.instances[node]["ports"], after.instances[node]["ports"], strict=True))
    if before.element is not None and after.element is not None:
        at = PORTS * names.INSTANCES.index(node)
        parts.append((before.element["ports"][at], after.element["ports"][at]))
    return sum(int(new[name] - old[name]) for old, new in parts for name in counters)


def _meter_drops(fabric: FabricCounters, node: str, link: str) -> int:
    try:
        return fabric.qdisc(node, link).dropped_packets
    except KeyError:  # a profile without a meter
        return 0


def counter_pairs(
    before: Reading,
    after: Reading,
    loadgen: Mapping[str, Any],
    echoserver: Mapping[str, Any],
    ended: Collection[str] = (),
) -> list[CounterPair]:
    """The same packets as the interfaces and as the applications counted them; not of a node of which a process has
    ended, which cannot agree."""
    pairs = []
    for node, report, sent in (
        (names.LOADGEN, loadgen, loadgen["sent_packets"]),
        (names.ECHOSERVER, echoserver, echoserver["echoed_packets"] + echoserver["server_sent_packets"]),
    ):
        link = names.INNER_LINK if (node, "up") in after.generator else names.UPLINK
        arrived = _received(after, node, link) - _received(before, node, link)
        # The process counts from its start: ARP of the others' start-up may have come before the first reading.
        least = report["received_frames"] + report["kernel_dropped_packets"] - report["arp_packets"]
        received = min(max(arrived, least), least + report["arp_packets"])
        pairs += [
            CounterPair(
                f"{node} sent", _accepted(after.fabric, node, link) - _accepted(before.fabric, node, link), sent
            ),
            CounterPair(f"{node} received", arrived, received),
        ]
    return pairs + instance_pairs(before, after, ended)


def instance_pairs(before: Reading, after: Reading, ended: Collection[str] = ()) -> list[CounterPair]:
    """The same of the instances; none without an element in the kernel's own way, as no process of ours counts that."""
    pairs = _generator_pairs(before, after, ended)
    if after.element is None or before.element is None:
        return pairs
    for node in names.INSTANCES:
        if node not in after.instances or node in ended or ELEMENT in ended:
            continue
        old, new = before.fabric.link(node, names.UPLINK), after.fabric.link(node, names.UPLINK)
        pairs += [
            CounterPair(
                f"{node} sent",
                _accepted(after.fabric, node) - _accepted(before.fabric, node),
                _uplink_frames(node, before, after, SENT),
            ),
            CounterPair(f"{node} received", new.rx_packets - old.rx_packets, _uplink_frames(node, before, after, READ)),
        ]
    return pairs


def _generator_pairs(before: Reading, after: Reading, ended: Collection[str]) -> list[CounterPair]:
    """Every frame, management traffic included, on both sides of the latency generator."""
    pairs: list[CounterPair] = []
    if ELEMENT in ended:
        return pairs
    for node in dict.fromkeys(node for node, _ in after.generator):
        for link, read, sent in frames_at(before.generator, after.generator, node):
            arrived = _received(after, node, link) - _received(before, node, link)
            accepted = _accepted(after.fabric, node, link) - _accepted(before.fabric, node, link)
            pairs += [
                CounterPair(f"latency generator at {node}/{link} received", arrived, read),
                CounterPair(f"latency generator at {node}/{link} sent", accepted, sent),
            ]
    return pairs


def _accepted(fabric: FabricCounters, node: str, name: str = names.UPLINK) -> int:
    """Frames of a node's link that its sender was told were sent.

    A veth counts a frame as dropped, not as sent, when the backlog of the receiving CPU is full. Without a queueing
    discipline the sender is told (ENOBUFS) and may try again; behind one it was told long before that all is well.
    """
    link = fabric.link(node, name)
    queued = any(qdisc.node == node and qdisc.link == name for qdisc in fabric.qdiscs)
    return link.tx_packets + (link.tx_dropped_packets if queued else 0)
