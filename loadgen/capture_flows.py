"""Which packets of a capture are sent, and by whom: its flows, with their initiators inside and responders outside."""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from harness.errors import UsageError
from loadgen.capture_file import CapturedFrame, read_capture
from loadgen.capture_packets import ACK, SYN, TCP, Address, Packet, decode

PACKETS_MAX = 1 << 20
"""Packets of a file that are used; what comes behind them is not read."""

_Pair = tuple[int, Address, Address]


@dataclass
class CapturedFlow:
    """A 5-tuple of the file by its initiator; `host` and `server` number the addresses in order of appearance."""

    protocol: int
    host: int
    server: int
    server_port: int


@dataclass
class CapturedLoad:
    """What is sent of a file: packets in order of time, the number of the flow of each, the flows.

    Not sent: `responses` (responder -> initiator: the echoserver answers in their place) and `skipped` by reason.
    `opened`: TCP connections whose start was not captured, given a SYN of ours; `cut`: packets that were longer than a
    frame may be.
    """

    packets: list[Packet] = field(default_factory=list)
    flow: list[int] = field(default_factory=list)
    flows: list[CapturedFlow] = field(default_factory=list)
    read: int = 0
    responses: int = 0
    opened: int = 0
    cut: int = 0
    skipped: Counter[str] = field(default_factory=Counter)


def read_load(path: Path) -> CapturedLoad:
    """Read a capture file. Raises UsageError for one that is damaged, or has nothing in it that can be sent."""
    load = choose_packets(read_capture(path), path)
    if not load.packets:
        found = ", ".join(f"{count} {reason.replace('_', ' ')}" for reason, count in sorted(load.skipped.items()))
        raise UsageError(f"{path}: no UDP or TCP flow over IPv4 in its {load.read} frames ({found or 'it is empty'})")
    return load


def choose_packets(frames: Iterable[CapturedFrame], path: Path) -> CapturedLoad:
    """The part of the frames that is sent. UsageError for a link type that is not understood."""
    load = CapturedLoad()
    packets: list[Packet] = []
    for frame in frames:
        load.read += 1
        packet = decode(frame, path)
        if isinstance(packet, str):
            load.skipped[packet] += 1
        else:
            packets.append(packet)
            if len(packets) == PACKETS_MAX:
                break
    # Frames of several interfaces or queues need not stand in order of their times.
    packets.sort(key=lambda packet: packet.time_ns)
    initiators = find_initiators(packets)
    numbers: dict[_Pair, int] = {}
    hosts: dict[int, int] = {}
    servers: dict[int, int] = {}
    for packet in packets:
        pair = _pair(packet)
        if packet.source != initiators[pair]:
            load.responses += 1
            continue
        if pair not in numbers:
            numbers[pair] = len(load.flows)
            host = hosts.setdefault(packet.source[0], len(hosts))
            server = servers.setdefault(packet.destination[0], len(servers))
            load.flows.append(CapturedFlow(packet.protocol, host, server, packet.destination[1]))
            if packet.protocol == TCP and not packet.opens:
                load.packets.append(opening(packet))
                load.flow.append(numbers[pair])
                load.opened += 1
        load.packets.append(packet)
        load.flow.append(numbers[pair])
        load.cut += packet.is_cut
    return load


def find_initiators(packets: Iterable[Packet]) -> dict[_Pair, Address]:
    """Who began each flow: the sender of TCP's first SYN, else the receiver of its first SYN with ACK, else the sender
    of the first packet."""
    first: dict[_Pair, Address] = {}
    answered: dict[_Pair, Address] = {}
    asked: dict[_Pair, Address] = {}
    for packet in packets:
        pair = _pair(packet)
        first.setdefault(pair, packet.source)
        if packet.opens:
            asked.setdefault(pair, packet.source)
        elif packet.flags & (SYN | ACK) == SYN | ACK:
            answered.setdefault(pair, packet.destination)
    return {**first, **answered, **asked}


def opening(packet: Packet) -> Packet:
    """A SYN such as may have stood before the first packet of a TCP connection that was captured from its middle."""
    source, destination, sequence = struct.unpack_from("!HHI", packet.header)
    header = struct.pack("!HHIIBBHHH", source, destination, (sequence - 1) % 2**32, 0, 0x50, SYN, 65_535, 0, 0)
    return packet._replace(header=header, payload_bytes=0, payload=b"", is_cut=False)


def _pair(packet: Packet) -> _Pair:
    ends = (packet.source, packet.destination)
    return (packet.protocol, *(ends if ends[0] <= ends[1] else ends[::-1]))
