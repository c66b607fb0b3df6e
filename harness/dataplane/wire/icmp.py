"""ICMP echo (RFC 792) behind an IPv4 header without options."""

from __future__ import annotations

from harness.dataplane.jit import compiled
from harness.dataplane.wire import ipv4
from harness.dataplane.wire.octets import Number, Octets, get_u8, get_u16

TYPE_AT = 34
CODE_AT = 35
CHECKSUM_AT = 36
IDENTIFIER_AT = 38
HEADER_BYTES = 8

ECHO_REPLY = 0
ECHO_REQUEST = 8


@compiled
def check(frame: Octets) -> bool:
    """Whether the message fits the IPv4 payload; `ipv4.check` must have passed."""
    return bool(ipv4.total_length(frame) - ipv4.HEADER_BYTES >= HEADER_BYTES)


@compiled
def is_echo(frame: Octets, icmp_type: Number) -> bool:
    """Whether it is an echo message of this type."""
    return bool(get_u8(frame, TYPE_AT) == icmp_type and get_u8(frame, CODE_AT) == 0)


@compiled
def identifier(frame: Octets) -> Number:
    """Identifier, which takes the place of a port."""
    return get_u16(frame, IDENTIFIER_AT)
