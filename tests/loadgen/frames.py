"""Frames for the tests, built by scapy and not by the code under test."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether
from scapy.packet import Raw

LOADGEN_MAC, VNF_MAC, ECHO_MAC = "02:00:00:00:00:01", "02:00:00:00:01:00", "02:00:00:00:00:02"
RUN = 4711


def payload(
    kind: int,
    flow: int,
    seq: int,
    intended_ns: int,
    size: int,
    run: int = RUN,
    version: int = 2,
    cell: int = 0,
    flags: int = 0,
) -> bytes:
    """Payload as the contract describes it, filled up with 0x5A to `size` bytes."""
    head = struct.pack("!HBxIBBHIQQ", cell, flags, 0x534C494D, kind, version, run, flow, seq, intended_ns)
    return head.ljust(size, b"\x5a")


def udp_frame(source: tuple[str, int], destination: tuple[str, int], data: bytes, **ip: Any) -> bytes:
    """Ethernet frame from the VNF to the load generator with correct checksums."""
    return bytes(
        Ether(src=VNF_MAC, dst=LOADGEN_MAC)
        / IP(src=source[0], dst=destination[0], flags="DF", id=0, **ip)
        / UDP(sport=source[1], dport=destination[1])
        / Raw(data)
    )


def ether(**fields: Any) -> Ether:
    """An Ethernet header whose addresses scapy need not look for on the machine's network."""
    return Ether(src=VNF_MAC, dst=LOADGEN_MAC, **fields)


def in_slot(frame: bytes) -> tuple[Any, Any]:
    """The frame in memory as a pool holds it: uint8[2048] with stale bytes behind it, and the same as uint32[512]."""
    slot = np.full(2048, 0xA5, np.uint8)
    slot[: len(frame)] = np.frombuffer(frame, np.uint8)
    return slot, slot.view(np.uint32)


def checksums_hold(frame: bytes) -> bool:
    """Whether scapy computes the same IP and UDP checksums, and neither is left out."""
    given = Ether(frame)
    fresh = Ether(frame)
    del fresh[IP].chksum
    del fresh[UDP].chksum
    fresh = Ether(bytes(fresh))
    return bool(given[UDP].chksum and fresh[IP].chksum == given[IP].chksum and fresh[UDP].chksum == given[UDP].chksum)
