"""Where the NAT's state and configuration are, and the layout of its statelets (image.toml says it in words)."""

from __future__ import annotations

import numpy as np
from numba import types

from harness.dataplane.jit import compiled_as
from harness.dataplane.wire import ipv4
from harness.dataplane.wire.octets import Number
from vnf_images.ports import LOW_32, OWN_CONFIG_AT

# Tables.
MAPPING = 0
EXTERNAL = 1
SESSION = 2
HOST = 3
NEIGHBOUR = 4
POOL = 5

# Words of a host's value.
PACKETS_OUT = 0
BYTES_OUT = 1
PACKETS_IN = 2
BYTES_IN = 3

# Configuration words behind those of the ports.
PORT_FIRST_AT = OWN_CONFIG_AT
PORT_LAST_AT = OWN_CONFIG_AT + 1
UDP_TIMEOUT_AT = OWN_CONFIG_AT + 2
ICMP_TIMEOUT_AT = OWN_CONFIG_AT + 3
TCP_ESTABLISHED_AT = OWN_CONFIG_AT + 4
TCP_TRANSITORY_AT = OWN_CONFIG_AT + 5
INBOUND_REFRESH_AT = OWN_CONFIG_AT + 6
EXPIRY_WINDOW_AT = OWN_CONFIG_AT + 7

# Statelet types: a base per protocol plus what happened. Those of ARP are in `vnf_images.neighbours`.
UDP_BASE = 0x10
ICMP_BASE = 0x20
TCP_BASE = 0x30
OPENED_MAPPING = 0
WENT_OUT = 1
CAME_IN = 2
EXPIRED = 3
OPENED_SESSION = 4

# Offsets in a statelet, after its 4 header bytes.
IP_AT = 4
PORT_AT = 8
BYTES_AT = 10
EXPIRY_AT = 12
EXPIRED_REMOTE_AT = 10
REMOTE_IP_AT = 16
REMOTE_PORT_AT = 20
STATE_AT = 22
RESERVED_AT = 23
MAPPING_EXTRA_AT = 16
TCP_MAPPING_EXTRA_AT = 24

DECISECOND_NS = 100_000_000


@compiled_as(types.int64(types.int64, types.int64, types.int64))
def interior_key(protocol: Number, ip: Number, port: Number) -> Number:
    """Key of a mapping."""
    return (protocol << 48) | (ip << 16) | port


@compiled_as(types.int64(types.int64, types.int64))
def external_key(protocol: Number, port: Number) -> Number:
    """Key of the table that finds a mapping by its external port."""
    return (protocol << 16) | port


@compiled_as(types.int64(types.int64, types.int64))
def remote_key(ip: Number, port: Number) -> Number:
    """Second key word of a TCP session."""
    return (ip << 16) | port


@compiled_as(types.int64(types.int64))
def statelet_base(protocol: Number) -> Number:
    """Statelet types of a protocol; 0 for one that is not translated."""
    if protocol == ipv4.PROTOCOL_UDP:
        return np.int64(UDP_BASE)
    if protocol == ipv4.PROTOCOL_TCP:
        return np.int64(TCP_BASE)
    if protocol == ipv4.PROTOCOL_ICMP:
        return np.int64(ICMP_BASE)
    return np.int64(0)


@compiled_as(types.int64(types.int64))
def protocol_of(base: Number) -> Number:
    """Protocol of a statelet base; 0 for an unknown one."""
    if base == UDP_BASE:
        return np.int64(ipv4.PROTOCOL_UDP)
    if base == TCP_BASE:
        return np.int64(ipv4.PROTOCOL_TCP)
    if base == ICMP_BASE:
        return np.int64(ipv4.PROTOCOL_ICMP)
    return np.int64(0)


@compiled_as(types.int64(types.int64, types.int64))
def payload_bytes(base: Number, event: Number) -> Number:
    """Payload of a statelet; -1 for an unknown type."""
    if base == TCP_BASE:
        if event == OPENED_MAPPING:
            return np.int64(24)
        if event == EXPIRED:
            return np.int64(12)
        return np.int64(20) if event <= OPENED_SESSION else np.int64(-1)
    if base in (UDP_BASE, ICMP_BASE):
        if event == OPENED_MAPPING:
            return np.int64(16)
        if event == EXPIRED:
            return np.int64(6)
        return np.int64(12) if event <= CAME_IN else np.int64(-1)
    return np.int64(-1)


@compiled_as(types.int64(types.int64))
def deciseconds(now_ns: Number) -> Number:
    """Time as it is kept in state and statelets: 32 bits of tenths of a second."""
    return (now_ns // DECISECOND_NS) & LOW_32
