"""IPv4 headers (RFC 791)."""

from __future__ import annotations

import numpy as np

from harness.dataplane.jit import compiled
from harness.dataplane.wire.checksum import checksum
from harness.dataplane.wire.octets import Number, Octets, get_u8, get_u16, get_u32, put_u8, put_u16, put_u32

HEADER_AT = 14
TOTAL_LENGTH_AT = 16
IDENTIFICATION_AT = 18
FRAGMENT_AT = 20
TTL_AT = 22
PROTOCOL_AT = 23
CHECKSUM_AT = 24
SOURCE_AT = 26
DESTINATION_AT = 30
HEADER_BYTES = 20
PAYLOAD_AT = HEADER_AT + HEADER_BYTES

PROTOCOL_ICMP = 1
PROTOCOL_TCP = 6
PROTOCOL_UDP = 17

# What `check` finds, in the order in which it looks.
SOUND = 0
BAD_LENGTH = 1
HAS_OPTIONS = 2
BAD_CHECKSUM = 3
IS_FRAGMENT = 4


@compiled
def check(frame: Octets, length: Number) -> Number:
    """SOUND: the header is whole, without options, not a fragment, its lengths fit the frame, its checksum is right."""
    if length < PAYLOAD_AT or length > frame.size:
        return np.int64(BAD_LENGTH)
    first = get_u8(frame, HEADER_AT)
    header_bytes = (first & 15) * 4
    total = total_length(frame)
    if first >> 4 != 4 or header_bytes < HEADER_BYTES or total < header_bytes or total > length - HEADER_AT:
        return np.int64(BAD_LENGTH)
    if header_bytes != HEADER_BYTES:
        return np.int64(HAS_OPTIONS)
    if checksum(frame, HEADER_AT, PAYLOAD_AT) != 0:
        return np.int64(BAD_CHECKSUM)
    if get_u16(frame, FRAGMENT_AT) & 0x3FFF != 0:
        return np.int64(IS_FRAGMENT)
    return np.int64(SOUND)


@compiled
def total_length(frame: Octets) -> Number:
    """Header and payload, in bytes, without Ethernet's header and padding."""
    return get_u16(frame, TOTAL_LENGTH_AT)


@compiled
def ttl(frame: Octets) -> Number:
    """Time to live."""
    return get_u8(frame, TTL_AT)


@compiled
def protocol(frame: Octets) -> Number:
    """Protocol number of the payload."""
    return get_u8(frame, PROTOCOL_AT)


@compiled
def source(frame: Octets) -> Number:
    """Source address."""
    return get_u32(frame, SOURCE_AT)


@compiled
def destination(frame: Octets) -> Number:
    """Destination address."""
    return get_u32(frame, DESTINATION_AT)


@compiled
def is_unicast(address: Number) -> bool:
    """Whether an address can be a host's on the Internet: not 0/8, 127/8, multicast, reserved (RFC 1122, 3.2.1.3)."""
    first = address >> 24
    return bool(first != 0 and first != 127 and first < 224)


@compiled
def write(
    frame: Octets,
    total_bytes: Number,
    payload_protocol: Number,
    source_ip: Number,
    destination_ip: Number,
    time_to_live: Number,
    identification: Number,
) -> None:
    """Write the 20-byte header with its checksum; do not fragment is set."""
    put_u16(frame, HEADER_AT, 0x4500)
    put_u16(frame, TOTAL_LENGTH_AT, total_bytes)
    put_u16(frame, IDENTIFICATION_AT, identification)
    put_u16(frame, FRAGMENT_AT, 0x4000)
    put_u8(frame, TTL_AT, time_to_live)
    put_u8(frame, PROTOCOL_AT, payload_protocol)
    put_u16(frame, CHECKSUM_AT, 0)
    put_u32(frame, SOURCE_AT, source_ip)
    put_u32(frame, DESTINATION_AT, destination_ip)
    put_u16(frame, CHECKSUM_AT, checksum(frame, HEADER_AT, PAYLOAD_AT))
