"""Ethernet, IPv4 and UDP headers as fixed offsets into a frame (RFC 894, RFC 791 without options, RFC 768).

The load has its own code for this, apart from the packet path's: an error in the one is then seen by the other.
Every function expects its caller to have checked the length.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from harness.dataplane.jit import compiled

DESTINATION_MAC, SOURCE_MAC, ETHERTYPE = 0, 6, 12
ETHERNET_BYTES = 14
ETHERTYPE_IPV4, ETHERTYPE_ARP = 0x0800, 0x0806

IP_VERSION_IHL, IP_TOTAL_LENGTH, IP_FRAGMENT, IP_TTL, IP_PROTOCOL, IP_CHECKSUM = 14, 16, 20, 22, 23, 24
IP_SOURCE, IP_DESTINATION = 26, 30
IP_BYTES = 20
PROTOCOL_UDP = 17

UDP_SOURCE, UDP_DESTINATION, UDP_LENGTH, UDP_CHECKSUM = 34, 36, 38, 40
UDP_BYTES = 8

HEADER_BYTES = 42
FRAME_BYTES_MAX = 1514
SLOT_BYTES = 2048
"""A frame's place in a pool: a whole number of 8-byte words, room for more than the longest frame."""


@compiled
def signed(value: Any) -> int:
    """An unsigned element of an array as the signed 64-bit integer that all arithmetic here is done in."""
    return np.int64(value)  # type: ignore[return-value]


@compiled
def get16(frame: Any, offset: int) -> int:
    """Big-endian u16 at `offset`."""
    return signed(frame[offset]) << 8 | signed(frame[offset + 1])


@compiled
def get32(frame: Any, offset: int) -> int:
    """Big-endian u32 at `offset`."""
    return get16(frame, offset) << 16 | get16(frame, offset + 2)


@compiled
def get64(frame: Any, offset: int) -> int:
    """Big-endian u64 at `offset`, as a signed integer (values of 2^63 and above come out negative)."""
    return signed(get32(frame, offset)) << 32 | get32(frame, offset + 4)


@compiled
def put16(frame: Any, offset: int, value: int) -> None:
    """Write a big-endian u16."""
    frame[offset] = (value >> 8) & 0xFF
    frame[offset + 1] = value & 0xFF


@compiled
def put32(frame: Any, offset: int, value: int) -> None:
    """Write a big-endian u32."""
    put16(frame, offset, value >> 16)
    put16(frame, offset + 2, value)


@compiled
def put64(frame: Any, offset: int, value: int) -> None:
    """Write a big-endian u64."""
    put32(frame, offset, value >> 32)
    put32(frame, offset + 4, value)


@compiled
def swap(frame: Any, first: int, second: int, count: int) -> None:
    """Exchange `count` bytes at `first` with those at `second`."""
    for i in range(count):
        kept = frame[first + i]
        frame[first + i] = frame[second + i]
        frame[second + i] = kept
