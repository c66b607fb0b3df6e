"""From a captured frame to what of it can be sent again: the UDP or TCP packet over IPv4 in it. Pure."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import NamedTuple

from harness.errors import UsageError
from loadgen.capture_file import CapturedFrame

LINK_HEADERS = {1: "Ethernet", 12: "raw IP", 14: "raw IP", 101: "raw IP", 113: "SLL", 228: "raw IPv4", 276: "SLL2"}
"""Link types that are understood (registry of tcpdump.org; 12 and 14 are what some systems write for 101)."""
OTHER, FRAGMENT, CUT_OFF, DAMAGED = "other_protocol", "fragment", "headers_not_captured", "damaged"
"""Why a frame cannot be sent again."""
UDP, TCP = 17, 6
FIN, SYN, RST, ACK = 1, 2, 4, 16
MARKER_BYTES = 32
"""A payload of this many bytes has room for our own (loadgen.payload)."""
FRAME_BYTES_MAX = 1514
BEFORE_TRANSPORT_BYTES = 34
"""Ethernet and IPv4 headers of what is sent: without VLAN tags and IPv4 options."""
_VLAN_TAGS = (0x8100, 0x88A8, 0x9100)
_IPV4 = 0x0800
_UDP_BYTES, _TCP_BYTES_MIN = 8, 20

Address = tuple[int, int]
"""IPv4 address and port."""


class Packet(NamedTuple):
    """A UDP or TCP packet. `header`: the transport header as captured; `payload`: what was stored of a payload that is
    too short for a number of ours, empty for a longer one; `is_cut`: it was longer than a frame may be."""

    time_ns: int
    source: Address
    destination: Address
    protocol: int
    service: int
    header: bytes
    payload_bytes: int
    payload: bytes
    is_cut: bool = False

    @property
    def frame_bytes(self) -> int:
        """Size of the frame that is sent for it."""
        return BEFORE_TRANSPORT_BYTES + len(self.header) + self.payload_bytes

    @property
    def has_number(self) -> bool:
        """Whether its payload has room for ours."""
        return self.payload_bytes >= MARKER_BYTES

    @property
    def flags(self) -> int:
        """TCP's flags, 0 of UDP."""
        return self.header[13] if self.protocol == TCP else 0

    @property
    def opens(self) -> bool:
        """Whether it asks for a TCP connection: SYN without ACK."""
        return self.flags & (SYN | ACK) == SYN


def decode(frame: CapturedFrame, path: Path) -> Packet | str:
    """The packet, or why it cannot be sent. UsageError (with `path`) for a link type that is not in LINK_HEADERS."""
    at = _ipv4_at(frame, path)
    data = frame.data
    if at < 0 or (len(data) > at and data[at] >> 4 != 4):
        return OTHER
    if len(data) < at + 20:
        return CUT_OFF
    service, total_bytes, _, fragment, _, protocol = struct.unpack_from("!xBHHHBB", data, at)
    header_bytes = (data[at] & 15) * 4
    if total_bytes == 0:
        total_bytes = frame.frame_bytes - at  # a large segment that the interface was to divide
    if protocol not in (UDP, TCP):
        return OTHER
    if fragment & 0x3FFF:
        return FRAGMENT
    transport_at = at + header_bytes
    if header_bytes < 20 or total_bytes > frame.frame_bytes - at:
        return DAMAGED
    least = _UDP_BYTES if protocol == UDP else _TCP_BYTES_MIN
    if len(data) < transport_at + least:
        return CUT_OFF if total_bytes >= header_bytes + least else DAMAGED
    length = least if protocol == UDP else (data[transport_at + 12] >> 4) * 4
    payload_at = transport_at + length
    payload_bytes = total_bytes - header_bytes - length
    source_port, destination_port = struct.unpack_from("!HH", data, transport_at)
    if length < least or payload_bytes < 0 or not source_port or not destination_port:
        return DAMAGED
    if len(data) < payload_at:
        return CUT_OFF
    source, destination = struct.unpack_from("!II", data, at + 12)
    sent_bytes = min(payload_bytes, FRAME_BYTES_MAX - BEFORE_TRANSPORT_BYTES - length)
    return Packet(
        frame.time_ns,
        (source, source_port),
        (destination, destination_port),
        protocol,
        service,
        data[transport_at:payload_at],
        sent_bytes,
        data[payload_at : payload_at + payload_bytes] if payload_bytes < MARKER_BYTES else b"",
        sent_bytes < payload_bytes,
    )


def _ipv4_at(frame: CapturedFrame, path: Path) -> int:
    """Where the IPv4 header begins; -1 for another protocol."""
    link, data = LINK_HEADERS.get(frame.link_type), frame.data
    if link is None:
        known = "Ethernet, Linux cooked (SLL, SLL2) and raw IP"
        raise UsageError(f"{path}: frames of link type {frame.link_type} are not understood; {known} are")
    if link.startswith("raw"):
        return 0
    type_at, header_bytes = {"Ethernet": (12, 14), "SLL": (14, 16), "SLL2": (0, 20)}[link]
    if len(data) < header_bytes:
        return -1
    (kind,) = struct.unpack_from("!H", data, type_at)
    for _ in range(2):
        if kind in _VLAN_TAGS and len(data) >= header_bytes + 4:
            (kind,) = struct.unpack_from("!H", data, header_bytes + 2)
            header_bytes += 4
    return header_bytes if kind == _IPV4 else -1
