"""Ethernet II frames."""

from __future__ import annotations

from harness.dataplane.jit import compiled
from harness.dataplane.wire.octets import Number, Octets, get_u16, get_u48, put_u16, put_u48

DESTINATION_AT = 0
SOURCE_AT = 6
ETHERTYPE_AT = 12
HEADER_BYTES = 14
MIN_FRAME_BYTES = 60
"""Shortest frame without its checksum."""

ETHERTYPE_IPV4 = 0x0800
ETHERTYPE_ARP = 0x0806
BROADCAST = 0xFFFF_FFFF_FFFF
GROUP_BIT = 1 << 40


@compiled
def destination(frame: Octets) -> Number:
    """Destination address, 48 bits."""
    return get_u48(frame, DESTINATION_AT)


@compiled
def source(frame: Octets) -> Number:
    """Source address, 48 bits."""
    return get_u48(frame, SOURCE_AT)


@compiled
def ethertype(frame: Octets) -> Number:
    """Ethertype."""
    return get_u16(frame, ETHERTYPE_AT)


@compiled
def is_station(mac: Number) -> bool:
    """Whether an address can be a station's: not zero, not a group address."""
    return bool(mac != 0 and mac & GROUP_BIT == 0)


@compiled
def write(frame: Octets, destination_mac: Number, source_mac: Number, frame_ethertype: Number) -> None:
    """Write the 14-byte header."""
    put_u48(frame, DESTINATION_AT, destination_mac)
    put_u48(frame, SOURCE_AT, source_mac)
    put_u16(frame, ETHERTYPE_AT, frame_ethertype)
