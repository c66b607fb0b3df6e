"""Seeded sequences of mixed packets in both directions, built with scapy."""

from __future__ import annotations

import random
from typing import Any

from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.l2 import ARP, Ether

INTERIOR_MAC, EXTERIOR_MAC = "02:00:00:00:01:00", "02:00:00:00:01:01"
LOADGEN_MAC, ECHO_MAC = "02:00:00:00:00:01", "02:00:00:00:00:02"
HOSTS = ["10.1.1.1", "10.1.1.2", "10.1.200.3"]
SERVERS = ["198.18.1.1", "198.18.1.2", "198.18.77.3"]
FLAGS = ["S", "S", "S", "SA", "A", "PA", "PA", "FA", "FA", "R", "RA"]


def arp_request(port: int, address: str, mac: str) -> Any:
    target = ("10.1.0.1", "198.18.0.1")[port]
    return Ether(src=mac, dst="ff:ff:ff:ff:ff:ff") / ARP(op=1, hwsrc=mac, psrc=address, pdst=target)


def arp_reply(port: int, address: str, mac: str) -> Any:
    own = (INTERIOR_MAC, EXTERIOR_MAC)[port]
    target = ("10.1.0.1", "198.18.0.1")[port]
    return Ether(src=mac, dst=own) / ARP(op=2, hwsrc=mac, psrc=address, hwdst=own, pdst=target)


def outbound(host: str, server: str, transport: Any, size: int = 0, ttl: int = 64, **ip: Any) -> Any:
    frame = Ether(src=LOADGEN_MAC, dst=INTERIOR_MAC) / IP(src=host, dst=server, ttl=ttl, **ip) / transport
    return Ether(bytes(frame / (b"x" * size) if size else frame))


def inbound(server: str, transport: Any, size: int = 0, ttl: int = 64, **ip: Any) -> Any:
    frame = Ether(src=ECHO_MAC, dst=EXTERIOR_MAC) / IP(src=server, dst="198.18.0.1", ttl=ttl, **ip) / transport
    return Ether(bytes(frame / (b"y" * size) if size else frame))


def packet(rng: random.Random, ports: tuple[int, int]) -> tuple[Any, int]:
    """A frame and the port it arrives at; `ports` is the range of external ports to hit."""
    kind = rng.random()
    host, server = rng.choice(HOSTS), rng.choice(SERVERS)
    if kind < 0.06:
        port = rng.randrange(2)
        address, mac = ((host, LOADGEN_MAC), (server, ECHO_MAC))[port]
        if rng.random() < 0.1:
            mac = f"02:00:00:00:03:{rng.randrange(3):02x}"
        return rng.choice([arp_request, arp_reply])(port, address, mac), port
    size, ttl = rng.choice([0, 1, 2, 7, 470]), rng.choice([64, 64, 64, 255, 2, 1])
    protocol = rng.choice(["udp", "udp", "tcp", "tcp", "tcp", "icmp"])
    local, remote, external = 5000 + rng.randrange(3), rng.choice([7, 80]), rng.randint(*ports)
    flags = rng.choice(FLAGS)
    unusual: dict[str, Any] = {}
    if rng.random() < 0.03:
        unusual = rng.choice([{"flags": "MF"}, {"frag": 3}, {"proto": 47}])
        if "proto" in unusual:
            return outbound(host, server, b"", 40, ttl, **unusual), 0
    udp_extra = {"chksum": 0} if rng.random() < 0.2 else {}
    if rng.random() < 0.5:
        if rng.random() < 0.04:
            server = rng.choice(["10.1.0.1", "198.18.0.1", "10.1.1.9", "8.8.8.8", "224.0.0.1", "198.18.255.255"])
        if rng.random() < 0.03:
            host = rng.choice(["10.2.0.1", "10.1.0.1", "10.1.255.255", "198.18.1.1"])
        transport = {
            "udp": UDP(sport=local, dport=remote, **udp_extra),
            "tcp": TCP(sport=local, dport=remote, flags=flags, seq=rng.randrange(2**32)),
            "icmp": ICMP(type=rng.choice([8, 8, 8, 8, 0, 3]), id=local, seq=rng.randrange(2**16)),
        }[protocol]
        return outbound(host, server, transport, size, ttl, **unusual), 0
    if rng.random() < 0.03:
        server = rng.choice(["10.1.1.1", "198.18.0.1", "127.0.0.1", "240.0.0.1"])
    transport = {
        "udp": UDP(sport=remote, dport=external, **udp_extra),
        "tcp": TCP(sport=remote, dport=external, flags=flags, seq=rng.randrange(2**32)),
        "icmp": ICMP(type=rng.choice([0, 0, 0, 8]), id=external, seq=rng.randrange(2**16)),
    }[protocol]
    return inbound(server, transport, size, ttl, **unusual), 1
