"""TCP segments (RFC 9293) behind an IPv4 header without options."""

from __future__ import annotations

from harness.dataplane.jit import compiled
from harness.dataplane.wire import ipv4
from harness.dataplane.wire.octets import Number, Octets, get_u8, get_u16

SOURCE_PORT_AT = 34
DESTINATION_PORT_AT = 36
DATA_OFFSET_AT = 46
FLAGS_AT = 47
CHECKSUM_AT = 50
HEADER_BYTES = 20

FIN = 1
SYN = 2
RST = 4
ACK = 16


@compiled
def check(frame: Octets) -> bool:
    """Whether the header fits the IPv4 payload and its flags do not contradict; `ipv4.check` must have passed."""
    segment_bytes = ipv4.total_length(frame) - ipv4.HEADER_BYTES
    if segment_bytes < HEADER_BYTES:
        return False
    header_bytes = (get_u8(frame, DATA_OFFSET_AT) >> 4) * 4
    if header_bytes < HEADER_BYTES or header_bytes > segment_bytes:
        return False
    return bool(flags(frame) & SYN == 0 or flags(frame) & (FIN | RST) == 0)


@compiled
def source_port(frame: Octets) -> Number:
    """Source port."""
    return get_u16(frame, SOURCE_PORT_AT)


@compiled
def destination_port(frame: Octets) -> Number:
    """Destination port."""
    return get_u16(frame, DESTINATION_PORT_AT)


@compiled
def flags(frame: Octets) -> Number:
    """Control bits."""
    return get_u8(frame, FLAGS_AT)


@compiled
def payload_bytes(frame: Octets) -> Number:
    """Bytes of data in the segment; `check` must have passed."""
    return ipv4.total_length(frame) - ipv4.HEADER_BYTES - (get_u8(frame, DATA_OFFSET_AT) >> 4) * 4
