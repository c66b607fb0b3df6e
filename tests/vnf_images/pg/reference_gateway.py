"""A gateway written with dicts and scapy, independent of the compiled one: the oracle of its tests."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network
from typing import Any

from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import ARP, Ether

INTERIOR, EXTERIOR = 0, 1
NO_CELL = 0xFFFF


@dataclass
class ReferenceGateway:
    """`receive` returns (refusal or None, port or None, frame); the bearer context is not modelled."""

    cells: int
    max_subscribers: int
    max_neighbours: int
    subscribers: dict[tuple[str, int], tuple[int, int, int]] = field(default_factory=dict)
    """Of an address and port: cell, previous cell, handovers."""
    neighbours: dict[tuple[int, str], str] = field(default_factory=dict)

    ADDRESS = ("10.1.0.1", "198.18.0.1")
    MAC = ("02:00:00:00:01:00", "02:00:00:00:01:01")
    NETWORK = (IPv4Network("10.1.0.0/16"), IPv4Network("198.18.0.0/16"))

    def receive(self, frame: Any, port: int) -> tuple[str | None, int | None, Any]:
        if ARP in frame:
            return self._arp(frame, port)
        ip = frame[IP]
        if ip.flags.MF or ip.frag:
            return "fragment", None, None
        if ip.proto != 17:
            return "not_udp", None, None
        if ip.ttl <= 1:
            return "ttl_expired", None, None
        return self._outbound(frame) if port == INTERIOR else self._inbound(frame)

    def _is_host(self, port: int, address: str) -> bool:
        network = self.NETWORK[port]
        return IPv4Address(address) in network and address not in (
            self.ADDRESS[port],
            str(network.network_address),
            str(network.broadcast_address),
        )

    def _arp(self, frame: Any, port: int) -> tuple[str | None, int | None, Any]:
        arp = frame[ARP]
        if not self._is_host(port, arp.psrc):
            return "bad_source", None, None
        if (port, arp.psrc) not in self.neighbours and len(self.neighbours) >= self.max_neighbours:
            return "neighbour_table_full", None, None
        self.neighbours[port, arp.psrc] = arp.hwsrc
        if arp.op == 2:
            return "arp_consumed", None, None
        answer = Ether(src=self.MAC[port], dst=arp.hwsrc) / ARP(
            op=2, hwsrc=self.MAC[port], psrc=self.ADDRESS[port], hwdst=arp.hwsrc, pdst=arp.psrc
        )
        return None, port, answer

    def _outbound(self, frame: Any) -> tuple[str | None, int | None, Any]:
        ip, payload = frame[IP], bytes(frame[UDP].payload)
        if not self._is_host(INTERIOR, ip.src):
            return "bad_source", None, None
        if ip.dst in self.ADDRESS:
            return "addressed_to_gateway", None, None
        if not self._is_host(EXTERIOR, ip.dst):  # no gateway in these tests
            return "no_route", None, None
        if len(payload) < 4:
            return "untagged", None, None
        if payload[2] > 1 or payload[3]:
            return "tag_malformed", None, None
        cell, announces = int.from_bytes(payload[:2], "big"), payload[2] == 1
        if cell >= self.cells:
            return "unknown_cell", None, None
        subscriber = (ip.src, frame[UDP].sport)
        if subscriber not in self.subscribers:
            if not announces:
                return "unknown_subscriber", None, None
            if len(self.subscribers) >= self.max_subscribers:
                return "subscriber_table_full", None, None
            self.subscribers[subscriber] = (cell, NO_CELL, 0)
        current, _, handovers = self.subscribers[subscriber]
        if announces and cell != current:
            self.subscribers[subscriber] = (cell, current, handovers + 1)
        return self._send(frame.copy(), EXTERIOR, ip.dst)

    def _inbound(self, frame: Any) -> tuple[str | None, int | None, Any]:
        ip, payload = frame[IP], bytes(frame[UDP].payload)
        first = int(ip.src.split(".")[0])
        if first in (0, 127) or first >= 224 or ip.src in self.ADDRESS or self._is_host(INTERIOR, ip.src):
            return "bad_source", None, None
        if ip.dst in self.ADDRESS:
            return "addressed_to_gateway", None, None
        if not self._is_host(INTERIOR, ip.dst):
            return "no_route", None, None
        if len(payload) < 4:
            return "untagged", None, None
        place = self.subscribers.get((ip.dst, frame[UDP].dport))
        if place is None:
            return "unknown_subscriber", None, None
        sent = frame.copy()
        sent[UDP].remove_payload()
        sent = sent / (place[0].to_bytes(2, "big") + b"\0\0" + payload[4:])
        if sent[UDP].chksum != 0:
            del sent[UDP].chksum
        return self._send(sent, INTERIOR, ip.dst)

    def _send(self, frame: Any, port: int, address: str) -> tuple[str | None, int | None, Any]:
        mac = self.neighbours.get((port, address))
        if mac is None:
            request = Ether(src=self.MAC[port], dst="ff:ff:ff:ff:ff:ff") / ARP(
                op=1, hwsrc=self.MAC[port], psrc=self.ADDRESS[port], hwdst="00:00:00:00:00:00", pdst=address
            )
            return "arp_unresolved", port, request
        frame[Ether].src, frame[Ether].dst = self.MAC[port], mac
        frame[IP].ttl -= 1
        del frame[IP].chksum
        return None, port, Ether(bytes(frame))

    def places(self) -> list[tuple[int, ...]]:
        """The subscriber table in the layout of image.toml, without the bearer context."""
        return sorted(
            (int(IPv4Address(address)) << 16 | port, previous << 16 | cell, handovers)
            for (address, port), (cell, previous, handovers) in self.subscribers.items()
        )

    def neighbour_records(self) -> list[tuple[int, ...]]:
        """The ARP table in the layout of image.toml."""
        return sorted(
            (port << 32 | int(IPv4Address(address)), int(mac.replace(":", ""), 16))
            for (port, address), mac in self.neighbours.items()
        )
