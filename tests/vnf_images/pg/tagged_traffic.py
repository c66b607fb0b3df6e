"""Seeded sequences of subscribers' packets and the answers to them, built with scapy."""

from __future__ import annotations

import random
from typing import Any

from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.l2 import ARP, Ether

INTERIOR_MAC, EXTERIOR_MAC = "02:00:00:00:01:00", "02:00:00:00:01:01"
LOADGEN_MAC, ECHO_MAC = "02:00:00:00:00:01", "02:00:00:00:00:02"
HOSTS = ["10.1.1.1", "10.1.1.2", "10.1.200.3"]
SERVERS = ["198.18.1.1", "198.18.1.2", "198.18.77.3"]
OWN = ["10.1.0.1", "198.18.0.1"]


def tag(cell: int, flags: int = 0, zero: int = 0) -> bytes:
    return cell.to_bytes(2, "big") + bytes([flags, zero])


def arp(port: int, operation: int, address: str, mac: str) -> Any:
    receiver = "ff:ff:ff:ff:ff:ff" if operation == 1 else (INTERIOR_MAC, EXTERIOR_MAC)[port]
    return Ether(src=mac, dst=receiver) / ARP(op=operation, hwsrc=mac, psrc=address, pdst=OWN[port])


def outbound(host: str, sport: int, payload: bytes, server: str = SERVERS[0], ttl: int = 64, **udp: Any) -> Any:
    ip = Ether(src=LOADGEN_MAC, dst=INTERIOR_MAC) / IP(src=host, dst=server, ttl=ttl)
    return Ether(bytes(ip / UDP(sport=sport, dport=7, **udp) / payload))


def inbound(host: str, dport: int, payload: bytes, server: str = SERVERS[0], ttl: int = 64, **udp: Any) -> Any:
    ip = Ether(src=ECHO_MAC, dst=EXTERIOR_MAC) / IP(src=server, dst=host, ttl=ttl)
    return Ether(bytes(ip / UDP(sport=7, dport=dport, **udp) / payload))


def packet(rng: random.Random, cells: int) -> tuple[Any, int]:
    """A frame and the port it arrives at; now and then one that has to be refused."""
    host, server, subscriber_port = rng.choice(HOSTS), rng.choice(SERVERS), 5000 + rng.randrange(4)
    if rng.random() < 0.06:
        port = rng.randrange(2)
        address, mac = ((host, LOADGEN_MAC), (server, ECHO_MAC))[port]
        if rng.random() < 0.1:
            mac = f"02:00:00:00:03:{rng.randrange(3):02x}"
        return arp(port, rng.choice([1, 2]), address, mac), port
    ttl = rng.choice([64, 64, 64, 255, 2, 1])
    payload = tag(rng.randrange(cells), rng.choice([0, 0, 1])) + rng.randbytes(rng.choice([0, 1, 28, 433]))
    odd = rng.random()
    if odd < 0.02:
        payload = tag(rng.choice([cells, 0xFFFF]), rng.randrange(2))
    elif odd < 0.04:
        payload = tag(1, rng.choice([2, 0x81, 1]), 1)
    elif odd < 0.06:
        payload = payload[: rng.randrange(4)]
    elif odd < 0.08:
        host = rng.choice(["10.2.0.1", "10.1.0.1", "10.1.255.255", "198.18.1.1", "198.18.0.1"])
    elif odd < 0.10:
        server = rng.choice(["10.1.0.1", "198.18.0.1", "10.1.1.9", "8.8.8.8", "224.0.0.1", "198.18.255.255"])
    udp = {"chksum": 0} if rng.random() < 0.2 else {}
    port = rng.randrange(2)
    frame = (outbound, inbound)[port](host, subscriber_port, payload, server, ttl, **udp)
    if odd > 0.98:
        unusual = rng.choice([{"flags": "MF"}, {"frag": 3}])
        for name, content in unusual.items():
            setattr(frame[IP], name, content)
        del frame[IP].chksum
    elif odd > 0.96:
        frame = frame[Ether].copy()
        frame[IP].remove_payload()
        del frame[IP].len, frame[IP].chksum, frame[IP].proto
        frame = frame / rng.choice([TCP(sport=subscriber_port), ICMP()])
    return Ether(bytes(frame)), port
