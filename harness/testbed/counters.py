"""Counters of links, queueing disciplines and hosts, decoded without building a message object each (they are read at
10 Hz).
"""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.provision import messages
from harness.provision.connections.base import Connection
from harness.provision.netlink import RouteSocket, attributes
from harness.provision.tasks.lookup import link_names
from harness.testbed.topology import Topology

SOFTNET = Path("/proc/net/softnet_stat")

_STATS_HEADER_BYTES = 28  # nlmsghdr, if_stats_msg
_TC_HEADER_BYTES = 36  # nlmsghdr, tcmsg
_IFLA_STATS_LINK_64 = 1
_TCA_KIND, _TCA_STATS2 = 1, 7
_TCA_STATS_BASIC, _TCA_STATS_QUEUE = 1, 3
_LINK_64 = struct.Struct("=8Q")
_BASIC = struct.Struct("=QI")
_QUEUE = struct.Struct("=5I")


@dataclass(frozen=True)
class LinkCounters:
    """A link since it was made (struct rtnl_link_stats64). Bytes include Ethernet headers."""

    node: str
    link: str
    rx_packets: int
    rx_bytes: int
    rx_dropped_packets: int
    rx_error_packets: int
    tx_packets: int
    tx_bytes: int
    tx_dropped_packets: int
    tx_error_packets: int


@dataclass(frozen=True)
class QdiscCounters:
    """A queueing discipline since it was installed. `overlimits` counts the times it had to wait for tokens."""

    node: str
    link: str
    kind: str
    sent_packets: int
    sent_bytes: int
    dropped_packets: int
    overlimits: int
    backlog_packets: int
    backlog_bytes: int


@dataclass(frozen=True)
class FabricCounters:
    """All counters of the testbed, and when they were read (CLOCK_MONOTONIC ns, before the first and after the
    last). softnet_dropped_packets: of all CPUs of all its hosts, whatever namespace they were for.
    """

    started_ns: int
    ended_ns: int
    links: tuple[LinkCounters, ...]
    qdiscs: tuple[QdiscCounters, ...]
    softnet_dropped_packets: int = 0

    def link(self, node: str, link: str) -> LinkCounters:
        """Counters of one link; KeyError when there is none."""
        for item in self.links:
            if item.node == node and item.link == link:
                return item
        raise KeyError(f"{node}/{link}")

    def qdisc(self, node: str, link: str, kind: str = "tbf") -> QdiscCounters:
        """Counters of one queueing discipline; KeyError when there is none."""
        for item in self.qdiscs:
            if item.node == node and item.link == link and item.kind == kind:
                return item
        raise KeyError(f"{node}/{link} {kind}")


def of_all_hosts(here: FabricCounters, others: Sequence[FabricCounters]) -> FabricCounters:
    """Readings of several hosts as one, that has only now come to its end."""
    if not others:
        return here
    every = (here, *others)
    return FabricCounters(
        here.started_ns,
        time.monotonic_ns(),
        tuple(link for read in every for link in read.links),
        tuple(qdisc for read in every for qdisc in read.qdiscs),
        sum(read.softnet_dropped_packets for read in every),
    )


def softnet_dropped_packets(text: str) -> int:
    """Sum over CPUs of the second column of /proc/net/softnet_stat (hexadecimal): backlog overflows."""
    return sum(int(line.split()[1], 16) for line in text.splitlines() if line.strip())


def decode_links(node: str, answer: Iterable[bytes], names: Mapping[int, str]) -> list[LinkCounters]:
    """Links of a RTM_GETSTATS dump; links without a name in `names` (index -> name) and short answers are left out."""
    decoded = []
    for message in answer:
        if len(message) < _STATS_HEADER_BYTES:
            continue
        (index,) = struct.unpack_from("=I", message, 20)
        name = names.get(index)
        for kind, value in attributes(message, _STATS_HEADER_BYTES):
            if kind == _IFLA_STATS_LINK_64 and len(value) >= _LINK_64.size and name is not None:
                rx, tx, rx_bytes, tx_bytes, rx_errors, tx_errors, rx_drops, tx_drops = _LINK_64.unpack_from(value)
                received = (rx, rx_bytes, rx_drops, rx_errors)
                decoded.append(LinkCounters(node, name, *received, tx, tx_bytes, tx_drops, tx_errors))
    return decoded


def decode_qdiscs(node: str, answer: Iterable[bytes], names: Mapping[int, str]) -> list[QdiscCounters]:
    """Queueing disciplines of a RTM_GETQDISC dump, without those that queue nothing."""
    decoded = []
    for message in answer:
        if len(message) < _TC_HEADER_BYTES:
            continue
        (index,) = struct.unpack_from("=i", message, 20)
        name = names.get(index)
        kind_name = ""
        basic: tuple[int, ...] = (0, 0)
        queue: tuple[int, ...] = (0, 0, 0, 0, 0)
        for kind, value in attributes(message, _TC_HEADER_BYTES):
            if kind == _TCA_KIND:
                kind_name = value.rstrip(b"\0").decode(errors="replace")
            elif kind == _TCA_STATS2:
                for inner, content in attributes(value, 0):
                    if inner == _TCA_STATS_BASIC and len(content) >= _BASIC.size:
                        basic = _BASIC.unpack_from(content)
                    elif inner == _TCA_STATS_QUEUE and len(content) >= _QUEUE.size:
                        queue = _QUEUE.unpack_from(content)
        if name is None or kind_name in ("", "noqueue"):
            continue
        waiting, waiting_bytes, dropped, _requeues, overlimits = queue
        sent_bytes, sent = basic
        decoded.append(
            QdiscCounters(node, name, kind_name, sent, sent_bytes, dropped, overlimits, waiting, waiting_bytes)
        )
    return decoded


class CounterReader:
    """Reads the counters of nodes of this host. Its sockets stay open, so close it before the namespaces go."""

    def __init__(self, connection: Connection, topology: Topology, nodes: Sequence[str]) -> None:
        self._readers: dict[str, RouteSocket] = {}
        try:
            for node in nodes:
                opened = connection.socket_in(topology.netns(node), socket.AF_NETLINK, socket.SOCK_RAW)
                self._readers[node] = RouteSocket(opened)
            self.names = {node: link_names(reader) for node, reader in self._readers.items()}
        except BaseException:
            self.close()
            raise

    def read(self) -> FabricCounters:
        """Counters of all links and queueing disciplines of the nodes, and of the host. OSError without /proc."""
        started_ns = time.monotonic_ns()
        links = []
        qdiscs = []
        for node, reader in self._readers.items():
            links += decode_links(node, reader.dump_raw(messages.link_statistics_dump()), self.names[node])
            qdiscs += decode_qdiscs(node, reader.dump_raw(messages.qdiscs_dump()), self.names[node])
        dropped = softnet_dropped_packets(SOFTNET.read_text())
        return FabricCounters(started_ns, time.monotonic_ns(), tuple(links), tuple(qdiscs), dropped)

    def close(self) -> None:
        """Close the sockets. Doing it twice is no error."""
        for reader in self._readers.values():
            reader.close()
