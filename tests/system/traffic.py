"""Traffic of somebody else: a capture file, and a client that downloads."""

from __future__ import annotations

from pathlib import Path

from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.l2 import Ether
from scapy.packet import Packet, Raw
from scapy.utils import wrpcap

CONNECTIONS = 12
SEGMENTS = 6


CLIENT = """
import hashlib, time, urllib.request
end, count = time.monotonic() + 2.5, 0
while time.monotonic() < end or not count:
    with urllib.request.urlopen("http://{server}:8000/content", timeout=30) as answer:
        print(hashlib.sha256(answer.read()).hexdigest())
    count += 1
"""
"""For {server}: the digest of each download, a line each, for 2.5 s."""


def packet(client: int, outward: bool, layer: Packet, size: int) -> Packet:
    ends = (f"192.0.2.{client}", "203.0.113.9")
    source, destination = ends if outward else ends[::-1]
    ether = Ether(src="02:00:00:00:0a:01", dst="02:00:00:00:0a:02")
    return ether / IP(src=source, dst=destination) / layer / Raw(bytes(size))


def write_capture(path: Path) -> Path:
    """Half a second: TCP connections from their SYN to their FIN, one from its middle, and UDP with short payloads."""
    found: list[tuple[float, Packet]] = []

    def tcp(at_s: float, client: int, outward: bool, flags: str, seq: int, ack: int, size: int = 0) -> None:
        ports = (41_000 + client, 443)
        sport, dport = ports if outward else ports[::-1]
        segment = TCP(sport=sport, dport=dport, flags=flags, seq=seq, ack=ack)
        found.append((at_s, packet(client, outward, segment, size)))

    for client in range(1, CONNECTIONS + 1):
        at_s = 0.02 * client
        tcp(at_s, client, True, "S", 0, 0)
        tcp(at_s + 0.001, client, False, "SA", 0, 1)
        tcp(at_s + 0.002, client, True, "A", 1, 1)
        for i in range(SEGMENTS):
            tcp(at_s + 0.01 * (i + 1), client, True, "PA", 1 + 600 * i, 1, 600)
            tcp(at_s + 0.01 * (i + 1) + 0.001, client, False, "A", 1, 601 + 600 * i)
        tcp(at_s + 0.1, client, True, "FA", 1 + 600 * SEGMENTS, 1)
        for i in range(4):
            query = UDP(sport=5000 + client, dport=53)
            found.append((at_s + 0.02 * i, packet(client, True, query, (0, 20, 40, 200)[i])))
    tcp(0.0, 200, True, "PA", 900, 1, 300)
    packets = []
    for at_s, each in sorted(found, key=lambda pair: pair[0]):
        each.time = 1_700_000_000 + at_s
        packets.append(each)
    wrpcap(str(path), packets)
    return path
