"""The NAT's g (paper section III): what a frame does to the state, with every choice made; the state is only read."""

from __future__ import annotations

import numpy as np

from harness.dataplane.abi import EXTERIOR_PORT, INTERIOR_PORT, TIMER_PORT
from harness.dataplane.jit import compiled
from harness.dataplane.table import Words, find, has_room, value
from harness.dataplane.wire import ipv4, tcp
from harness.dataplane.wire.octets import Number, Octets, put_u8, put_u16, put_u32
from vnf_images.frames import IS_ARP
from vnf_images.nat import reasons
from vnf_images.nat.allocate import allocate_port, following_port
from vnf_images.nat.classify import INBOUND, classify, inner_port, remote_port
from vnf_images.nat.expiry import announce_expiry
from vnf_images.nat.layout import (
    BYTES_AT,
    CAME_IN,
    EXPIRY_AT,
    EXTERNAL,
    HOST,
    ICMP_TIMEOUT_AT,
    INBOUND_REFRESH_AT,
    IP_AT,
    MAPPING,
    MAPPING_EXTRA_AT,
    NEIGHBOUR,
    OPENED_MAPPING,
    OPENED_SESSION,
    PORT_AT,
    REMOTE_IP_AT,
    REMOTE_PORT_AT,
    RESERVED_AT,
    SESSION,
    STATE_AT,
    TCP_ESTABLISHED_AT,
    TCP_MAPPING_EXTRA_AT,
    TCP_TRANSITORY_AT,
    UDP_TIMEOUT_AT,
    WENT_OUT,
    deciseconds,
    external_key,
    interior_key,
    payload_bytes,
    remote_key,
    statelet_base,
)
from vnf_images.nat.tcp_state import STATES, SYN_OUT, is_closing, next_expiry, next_state, opens
from vnf_images.neighbours import announce_arp, neighbour_mac
from vnf_images.ports import LOW_32, config, next_hop
from vnf_images.reasons import INCONSISTENT


@compiled
def announce_frame(
    frame: Octets, length: Number, port: Number, now_ns: Number, tables: Words, statelet: Octets
) -> Number:
    """Length of the statelet, 0 for none, or -reason."""
    now = deciseconds(now_ns)
    if port == TIMER_PORT:
        return announce_expiry(length, now, tables, statelet)
    kind = classify(frame, length, port, tables)
    if kind < 0:
        return kind
    if kind == IS_ARP:
        return announce_arp(frame, port, tables, NEIGHBOUR, statelet)
    if kind == INBOUND:
        return _announce_inbound(frame, now, tables, statelet)
    return _announce_outbound(frame, now, tables, statelet)


@compiled
def _write(
    statelet: Octets, base: Number, event: Number, ip: Number, port: Number, frame: Octets, expiry: Number
) -> Number:
    """The part that every packet's statelet has; the length of the whole statelet."""
    length = payload_bytes(base, event)
    put_u16(statelet, 0, base + event)
    put_u16(statelet, 2, length)
    put_u32(statelet, IP_AT, ip)
    put_u16(statelet, PORT_AT, port)
    put_u16(statelet, BYTES_AT, ipv4.total_length(frame))
    put_u32(statelet, EXPIRY_AT, expiry)
    return length + 4


@compiled
def _write_session(statelet: Octets, remote_ip: Number, port: Number, state: Number) -> None:
    put_u32(statelet, REMOTE_IP_AT, remote_ip)
    put_u16(statelet, REMOTE_PORT_AT, port)
    put_u8(statelet, STATE_AT, state)
    put_u8(statelet, RESERVED_AT, 0)


@compiled
def _timeout(protocol: Number, tables: Words) -> Number:
    return config(tables, UDP_TIMEOUT_AT if protocol == ipv4.PROTOCOL_UDP else ICMP_TIMEOUT_AT)


@compiled
def _room_for_host(tables: Words, ip: Number) -> bool:
    return bool(find(tables, HOST, ip) >= 0 or has_room(tables, HOST, ip))


@compiled
def _announce_outbound(frame: Octets, now: Number, tables: Words, statelet: Octets) -> Number:
    if neighbour_mac(tables, NEIGHBOUR, EXTERIOR_PORT, next_hop(ipv4.destination(frame), tables)) == 0:
        return np.int64(0)  # `forward` asks for the neighbour and drops the packet: no state changes
    protocol = ipv4.protocol(frame)
    if protocol == ipv4.PROTOCOL_TCP:
        return _announce_outbound_tcp(frame, now, tables, statelet)
    base = statelet_base(protocol)
    ip, port = ipv4.source(frame), inner_port(frame, False)
    if not _room_for_host(tables, ip):
        return np.int64(-reasons.HOST_TABLE_FULL)
    expiry = (now + _timeout(protocol, tables)) & LOW_32
    if find(tables, MAPPING, interior_key(protocol, ip, port)) >= 0:
        return _write(statelet, base, WENT_OUT, ip, port, frame, expiry)
    external = _new_external_port(tables, protocol, ip, port)
    if external < 0:
        return external
    put_u16(statelet, MAPPING_EXTRA_AT, external)
    put_u16(statelet, MAPPING_EXTRA_AT + 2, following_port(tables, external))
    return _write(statelet, base, OPENED_MAPPING, ip, port, frame, expiry)


@compiled
def _new_external_port(tables: Words, protocol: Number, ip: Number, port: Number) -> Number:
    """External port for a new mapping, or -reason."""
    if not has_room(tables, MAPPING, interior_key(protocol, ip, port)):
        return np.int64(-reasons.MAPPING_TABLE_FULL)
    external = allocate_port(tables, protocol)
    if external < 0:
        return np.int64(-reasons.POOL_EXHAUSTED)
    if not has_room(tables, EXTERNAL, external_key(protocol, external)):
        return np.int64(-reasons.MAPPING_TABLE_FULL)
    return external


@compiled
def _tcp_expiry(state: Number, following: Number, expiry: Number, now: Number, tables: Words) -> Number:
    established, transitory = config(tables, TCP_ESTABLISHED_AT), config(tables, TCP_TRANSITORY_AT)
    return next_expiry(state, following, expiry, now, established, transitory)


@compiled
def _announce_outbound_tcp(frame: Octets, now: Number, tables: Words, statelet: Octets) -> Number:
    flags = tcp.flags(frame)
    ip, port = ipv4.source(frame), inner_port(frame, False)
    remote_ip, remote = ipv4.destination(frame), remote_port(frame, False)
    interior = interior_key(ipv4.PROTOCOL_TCP, ip, port)
    base = statelet_base(ipv4.PROTOCOL_TCP)
    if not _room_for_host(tables, ip):
        return np.int64(-reasons.HOST_TABLE_FULL)
    slot = find(tables, SESSION, interior, remote_key(remote_ip, remote))
    if slot >= 0:
        word = value(tables, SESSION, slot, 0)
        state, expiry = (word >> 32) & (STATES - 1), word & LOW_32
        following = next_state(state, flags, tcp.payload_bytes(frame), True)
        if expiry <= now and opens(flags):
            following = np.int64(SYN_OUT)
        elif expiry <= now and is_closing(state):
            return np.int64(-reasons.SESSION_EXPIRED)
        if find(tables, MAPPING, interior) < 0:
            return np.int64(-INCONSISTENT)
        _write_session(statelet, remote_ip, remote, following)
        expiry = _tcp_expiry(state, following, expiry, now, tables)
        return _write(statelet, base, WENT_OUT, ip, port, frame, expiry)
    if not opens(flags):
        return np.int64(-reasons.TCP_NO_SESSION)
    if not has_room(tables, SESSION, interior, remote_key(remote_ip, remote)):
        return np.int64(-reasons.SESSION_TABLE_FULL)
    _write_session(statelet, remote_ip, remote, SYN_OUT)
    expiry = (now + config(tables, TCP_TRANSITORY_AT)) & LOW_32
    if find(tables, MAPPING, interior) >= 0:
        return _write(statelet, base, OPENED_SESSION, ip, port, frame, expiry)
    external = _new_external_port(tables, ipv4.PROTOCOL_TCP, ip, port)
    if external < 0:
        return external
    put_u16(statelet, TCP_MAPPING_EXTRA_AT, external)
    put_u16(statelet, TCP_MAPPING_EXTRA_AT + 2, following_port(tables, external))
    return _write(statelet, base, OPENED_MAPPING, ip, port, frame, expiry)


@compiled
def _announce_inbound(frame: Octets, now: Number, tables: Words, statelet: Octets) -> Number:
    protocol = ipv4.protocol(frame)
    base = statelet_base(protocol)
    found = find(tables, EXTERNAL, external_key(protocol, inner_port(frame, True)))
    if found < 0:
        return np.int64(-reasons.UNSOLICITED)
    interior = value(tables, EXTERNAL, found, 0)
    ip, port = (interior >> 16) & LOW_32, interior & 0xFFFF
    mapping = find(tables, MAPPING, interior)
    if mapping < 0 or interior != interior_key(protocol, ip, port):
        return np.int64(-INCONSISTENT)
    following = np.int64(0)
    remote_ip, remote = ipv4.source(frame), np.int64(0)
    if protocol == ipv4.PROTOCOL_TCP:
        remote = remote_port(frame, True)
        session = find(tables, SESSION, interior, remote_key(remote_ip, remote))
        if session < 0:
            return np.int64(-reasons.TCP_NO_SESSION)
        word = value(tables, SESSION, session, 0)
        state, expiry = (word >> 32) & (STATES - 1), word & LOW_32
        if expiry <= now:
            return np.int64(-reasons.SESSION_EXPIRED)
        following = next_state(state, tcp.flags(frame), tcp.payload_bytes(frame), False)
        expiry = _tcp_expiry(state, following, expiry, now, tables)
    else:
        expiry = value(tables, MAPPING, mapping, 0) & LOW_32
        if expiry <= now:
            return np.int64(-reasons.MAPPING_EXPIRED)
        if config(tables, INBOUND_REFRESH_AT) != 0:
            expiry = (now + _timeout(protocol, tables)) & LOW_32
    if neighbour_mac(tables, NEIGHBOUR, INTERIOR_PORT, ip) == 0:
        return np.int64(0)
    if not _room_for_host(tables, ip):
        return np.int64(-reasons.HOST_TABLE_FULL)
    if protocol == ipv4.PROTOCOL_TCP:
        _write_session(statelet, remote_ip, remote, following)
    return _write(statelet, base, CAME_IN, ip, port, frame, expiry)
