"""A NAT written from the RFCs with dicts and scapy, independent of the compiled one: the oracle of its tests."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network
from typing import Any

from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.l2 import ARP, Ether

INTERIOR, EXTERIOR = 0, 1
Interior = tuple[str, str, int]
"""Protocol, address, port."""


@dataclass
class Session:
    syn: set[str] = field(default_factory=set)
    fin: set[str] = field(default_factory=set)
    reset: bool = False
    expires: int = 0

    @property
    def closing(self) -> bool:
        return self.reset or len(self.fin) == 2

    @property
    def established(self) -> bool:
        return len(self.syn) == 2 and not self.closing


@dataclass
class Mapping:
    external_port: int
    expires: int = 0
    sessions: dict[tuple[str, int], Session] = field(default_factory=dict)


@dataclass
class ReferenceNat:
    """Addresses as in image.toml; times in deciseconds. `receive` returns (refusal or None, port or None, frame)."""

    port_first: int = 1024
    port_last: int = 65535
    max_mappings: int = 65536
    max_sessions: int = 65536
    max_hosts: int = 4096
    max_neighbours: int = 1024
    inbound_refresh: bool = False
    timeouts: dict[str, int] = field(
        default_factory=lambda: {"udp": 3000, "icmp": 600, "established": 74400, "transitory": 2400}
    )
    mappings: dict[Interior, Mapping] = field(default_factory=dict)
    neighbours: dict[tuple[int, str], str] = field(default_factory=dict)
    hosts: dict[str, list[int]] = field(default_factory=dict)
    next_port: dict[str, int] = field(default_factory=dict)

    ADDRESS = ("10.1.0.1", "198.18.0.1")
    MAC = ("02:00:00:00:01:00", "02:00:00:00:01:01")
    NETWORK = (IPv4Network("10.1.0.0/16"), IPv4Network("198.18.0.0/16"))

    def receive(self, frame: Any, port: int, now: int) -> tuple[str | None, int | None, Any]:
        if ARP in frame:
            return self._arp(frame, port)
        if frame[Ether].dst != self.MAC[port]:
            return "not_for_us", None, None
        if IP not in frame:
            return "not_ipv4", None, None
        refusal = self._unfit(frame)
        if refusal is None:
            refusal = self._unfit_outbound(frame) if port == INTERIOR else self._unfit_inbound(frame)
        if refusal is not None:
            return refusal, None, None
        return self._outbound(frame, now) if port == INTERIOR else self._inbound(frame, now)

    def tick(self, now: int) -> None:
        """Remove everything that has expired."""
        for interior, mapping in list(self.mappings.items()):
            if interior[0] == "tcp":
                for remote, session in list(mapping.sessions.items()):
                    if session.expires <= now:
                        del mapping.sessions[remote]
                if not mapping.sessions:
                    del self.mappings[interior]
            elif mapping.expires <= now:
                del self.mappings[interior]

    def _neighbour_ok(self, port: int, address: str) -> bool:
        network = self.NETWORK[port]
        return IPv4Address(address) in network and address not in (
            self.ADDRESS[port],
            str(network.network_address),
            str(network.broadcast_address),
        )

    def _arp(self, frame: Any, port: int) -> tuple[str | None, int | None, Any]:
        arp = frame[ARP]
        if frame[Ether].dst not in (self.MAC[port], "ff:ff:ff:ff:ff:ff"):
            return "not_for_us", None, None
        if arp.pdst != self.ADDRESS[port]:
            return "arp_other", None, None
        probe = arp.op == 1 and arp.psrc == "0.0.0.0"
        if not probe and not self._neighbour_ok(port, arp.psrc):
            return "bad_source", None, None
        if not probe:
            if (port, arp.psrc) not in self.neighbours and len(self.neighbours) >= self.max_neighbours:
                return "neighbour_table_full", None, None
            self.neighbours[port, arp.psrc] = arp.hwsrc
        if arp.op == 2:
            return "arp_consumed", None, None
        answer = Ether(src=self.MAC[port], dst=arp.hwsrc) / ARP(
            op=2, hwsrc=self.MAC[port], psrc=self.ADDRESS[port], hwdst=arp.hwsrc, pdst=arp.psrc
        )
        return None, port, answer

    def _unfit(self, frame: Any) -> str | None:
        ip = frame[IP]
        if ip.options:
            return "ip_options"
        if ip.flags.MF or ip.frag:
            return "fragment"
        if not any(layer in frame for layer in (UDP, TCP, ICMP)):
            return "protocol"
        return "ttl_expired" if ip.ttl <= 1 else None

    def _unfit_outbound(self, frame: Any) -> str | None:
        source, destination = frame[IP].src, frame[IP].dst
        if not self._neighbour_ok(INTERIOR, source):
            return "bad_source"
        if destination == self.ADDRESS[INTERIOR]:
            return "addressed_to_nat"
        if destination == self.ADDRESS[EXTERIOR]:
            return "hairpin"
        if not self._neighbour_ok(EXTERIOR, destination):  # no gateway in these tests
            return "no_route"
        return "icmp_not_echo" if ICMP in frame and (frame[ICMP].type, frame[ICMP].code) != (8, 0) else None

    def _unfit_inbound(self, frame: Any) -> str | None:
        source = frame[IP].src
        first = int(source.split(".")[0])
        if first in (0, 127) or first >= 224 or source in self.ADDRESS or self._neighbour_ok(INTERIOR, source):
            return "bad_source"
        if frame[IP].dst != self.ADDRESS[EXTERIOR]:
            return "no_route"
        return "icmp_not_echo" if ICMP in frame and (frame[ICMP].type, frame[ICMP].code) != (0, 0) else None

    def _ask(self, port: int, address: str) -> tuple[str | None, int | None, Any]:
        request = Ether(src=self.MAC[port], dst="ff:ff:ff:ff:ff:ff") / ARP(
            op=1, hwsrc=self.MAC[port], psrc=self.ADDRESS[port], hwdst="00:00:00:00:00:00", pdst=address
        )
        return "arp_unresolved", port, request

    @staticmethod
    def _protocol(frame: Any) -> str:
        return "udp" if UDP in frame else "tcp" if TCP in frame else "icmp"

    def _allocate(self, protocol: str) -> int | None:
        used = {mapping.external_port for interior, mapping in self.mappings.items() if interior[0] == protocol}
        size = self.port_last - self.port_first + 1
        start = self.next_port.get(protocol, self.port_first)
        for step in range(size):
            candidate = self.port_first + (start - self.port_first + step) % size
            if candidate not in used:
                return candidate
        return None

    def _outbound(self, frame: Any, now: int) -> tuple[str | None, int | None, Any]:
        ip, protocol = frame[IP], self._protocol(frame)
        if (EXTERIOR, ip.dst) not in self.neighbours:
            return self._ask(EXTERIOR, ip.dst)
        port = frame[ICMP].id if protocol == "icmp" else frame[IP].payload.sport
        interior = (protocol, ip.src, port)
        if ip.src not in self.hosts and len(self.hosts) >= self.max_hosts:
            return "host_table_full", None, None
        mapping = self.mappings.get(interior)
        session = None
        remote = ("", 0)
        if protocol == "tcp":
            tcp = frame[TCP]
            remote = (ip.dst, tcp.dport)
            opening = tcp.flags.S and not tcp.flags.A
            session = mapping.sessions.get(remote) if mapping else None
            if session is not None and session.expires <= now and session.closing and not opening:
                return "session_expired", None, None
            if session is None:
                if not opening:
                    return "tcp_no_session", None, None
                if sum(len(m.sessions) for m in self.mappings.values()) >= self.max_sessions:
                    return "session_table_full", None, None
        if mapping is None:
            if len(self.mappings) >= self.max_mappings:
                return "mapping_table_full", None, None
            allocated = self._allocate(protocol)
            if allocated is None:
                return "pool_exhausted", None, None
            self.next_port[protocol] = allocated + 1 if allocated < self.port_last else self.port_first
            mapping = self.mappings[interior] = Mapping(allocated)
        if protocol == "tcp":
            fresh = session is None or (opening and (session.closing or session.expires <= now))
            if fresh:
                mapping.sessions[remote] = Session({"out"}, expires=now + self.timeouts["transitory"])
            else:
                self._follow(mapping.sessions[remote], frame[TCP], "out", now)
        else:
            mapping.expires = now + self.timeouts[protocol]
        counters = self.hosts.setdefault(ip.src, [0, 0, 0, 0])
        counters[0] += 1
        counters[1] += ip.len
        sent = self._rewritten(frame, EXTERIOR, self.neighbours[EXTERIOR, ip.dst])
        sent[IP].src = self.ADDRESS[EXTERIOR]
        if protocol == "icmp":
            sent[ICMP].id = mapping.external_port
        else:
            sent[IP].payload.sport = mapping.external_port
        return None, EXTERIOR, self._finished(sent)

    def _follow(self, session: Session, tcp: Any, direction: str, now: int) -> None:
        was_closing = session.closing
        if tcp.flags.R:
            session.reset = True
        else:
            if len(tcp.payload):
                session.reset = False
            if tcp.flags.S:
                session.syn.add(direction)
            if tcp.flags.F:
                session.fin.add(direction)
        if not (was_closing and session.closing):
            session.expires = now + self.timeouts["established" if session.established else "transitory"]

    def _inbound(self, frame: Any, now: int) -> tuple[str | None, int | None, Any]:
        ip, protocol = frame[IP], self._protocol(frame)
        port = frame[ICMP].id if protocol == "icmp" else frame[IP].payload.dport
        matches = [
            (interior, mapping)
            for interior, mapping in self.mappings.items()
            if interior[0] == protocol and mapping.external_port == port
        ]
        assert len(matches) < 2, "an external port was handed out twice"
        if not matches:
            return "unsolicited", None, None
        (_, host, host_port), mapping = matches[0]
        session = None
        if protocol == "tcp":
            session = mapping.sessions.get((ip.src, frame[TCP].sport))
            if session is None:
                return "tcp_no_session", None, None
            if session.expires <= now:
                return "session_expired", None, None
        elif mapping.expires <= now:
            return "mapping_expired", None, None
        if (INTERIOR, host) not in self.neighbours:
            return self._ask(INTERIOR, host)
        if session is not None:
            self._follow(session, frame[TCP], "in", now)
        elif self.inbound_refresh:
            mapping.expires = now + self.timeouts[protocol]
        counters = self.hosts[host]
        counters[2] += 1
        counters[3] += ip.len
        sent = self._rewritten(frame, INTERIOR, self.neighbours[INTERIOR, host])
        sent[IP].dst = host
        if protocol == "icmp":
            sent[ICMP].id = host_port
        else:
            sent[IP].payload.dport = host_port
        return None, INTERIOR, self._finished(sent)

    def _rewritten(self, frame: Any, port: int, mac: str) -> Any:
        sent = frame.copy()
        sent[Ether].src, sent[Ether].dst = self.MAC[port], mac
        sent[IP].ttl -= 1
        return sent

    @staticmethod
    def _finished(frame: Any) -> Any:
        """Let scapy compute every checksum anew; a UDP checksum of 0 stays 0."""
        del frame[IP].chksum
        if UDP in frame:
            if frame[UDP].chksum != 0:
                del frame[UDP].chksum
        else:
            del frame[IP].payload.chksum
        return Ether(bytes(frame))

    def dump(self) -> dict[str, list[tuple[int, ...]]]:
        """The state in the layout of image.toml."""
        number = {"udp": 17, "tcp": 6, "icmp": 1}
        state: dict[str, list[tuple[int, ...]]] = {
            name: [] for name in ("mapping", "external", "session", "host", "neighbour", "pool")
        }
        for (protocol, address, port), mapping in self.mappings.items():
            interior = number[protocol] << 48 | int(IPv4Address(address)) << 16 | port
            low = len(mapping.sessions) if protocol == "tcp" else mapping.expires
            state["mapping"].append((interior, mapping.external_port << 32 | low))
            state["external"].append((number[protocol] << 16 | mapping.external_port, interior))
            for (remote, remote_port), session in mapping.sessions.items():
                bits = ("out" in session.syn) | ("in" in session.syn) << 1
                bits |= ("out" in session.fin) << 2 | ("in" in session.fin) << 3 | session.reset << 4
                key = int(IPv4Address(remote)) << 16 | remote_port
                state["session"].append((interior, key, bits << 32 | session.expires))
        for address, counters in self.hosts.items():
            state["host"].append((int(IPv4Address(address)), *counters))
        for (port, address), mac in self.neighbours.items():
            state["neighbour"].append((port << 32 | int(IPv4Address(address)), int(mac.replace(":", ""), 16)))
        for protocol, next_port in self.next_port.items():
            used = sum(interior[0] == protocol for interior in self.mappings)
            state["pool"].append((number[protocol], next_port, used))
        return {name: sorted(records) for name, records in state.items()}
