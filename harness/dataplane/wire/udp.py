"""UDP datagrams (RFC 768) behind an IPv4 header without options."""

from __future__ import annotations

from harness.dataplane.jit import compiled
from harness.dataplane.wire import ipv4
from harness.dataplane.wire.checksum import transport_checksum
from harness.dataplane.wire.octets import Number, Octets, get_u16, put_u16

SOURCE_PORT_AT = 34
DESTINATION_PORT_AT = 36
LENGTH_AT = 38
CHECKSUM_AT = 40
HEADER_BYTES = 8
PAYLOAD_AT = 42


@compiled
def check(frame: Octets) -> bool:
    """Whether the datagram fits the IPv4 payload; `ipv4.check` must have passed."""
    ip_payload_bytes = ipv4.total_length(frame) - ipv4.HEADER_BYTES
    if ip_payload_bytes < HEADER_BYTES:
        return False
    datagram_bytes = get_u16(frame, LENGTH_AT)
    return bool(HEADER_BYTES <= datagram_bytes <= ip_payload_bytes)


@compiled
def source_port(frame: Octets) -> Number:
    """Source port."""
    return get_u16(frame, SOURCE_PORT_AT)


@compiled
def destination_port(frame: Octets) -> Number:
    """Destination port."""
    return get_u16(frame, DESTINATION_PORT_AT)


@compiled
def write(frame: Octets, source_udp_port: Number, destination_udp_port: Number, datagram_bytes: Number) -> None:
    """Write the 8-byte header with checksum 0 (none)."""
    put_u16(frame, SOURCE_PORT_AT, source_udp_port)
    put_u16(frame, DESTINATION_PORT_AT, destination_udp_port)
    put_u16(frame, LENGTH_AT, datagram_bytes)
    put_u16(frame, CHECKSUM_AT, 0)


@compiled
def write_checksum(frame: Octets) -> None:
    """Compute the checksum; the IPv4 header and the payload must be in place. A result of 0 is sent as 0xFFFF."""
    put_u16(frame, CHECKSUM_AT, 0)
    stop = SOURCE_PORT_AT + get_u16(frame, LENGTH_AT)
    total = transport_checksum(frame, ipv4.HEADER_AT, SOURCE_PORT_AT, stop)
    put_u16(frame, CHECKSUM_AT, total if total != 0 else 0xFFFF)
