"""The NAT's h (paper section III): the only code that changes its state. Statelets may come from a hostile peer."""

from __future__ import annotations

import numpy as np

from harness.dataplane.abi import INTERIOR_PORT
from harness.dataplane.jit import compiled
from harness.dataplane.table import Words, begin_write, commit, erase, find, has_room, insert, value
from harness.dataplane.wire import ipv4
from harness.dataplane.wire.octets import Number, Octets, get_u8, get_u16, get_u32
from vnf_images.nat.layout import (
    BYTES_AT,
    BYTES_IN,
    BYTES_OUT,
    CAME_IN,
    EXPIRED,
    EXPIRED_REMOTE_AT,
    EXPIRY_AT,
    EXTERNAL,
    HOST,
    IP_AT,
    MAPPING,
    MAPPING_EXTRA_AT,
    NEIGHBOUR,
    OPENED_MAPPING,
    OPENED_SESSION,
    PACKETS_IN,
    PACKETS_OUT,
    POOL,
    PORT_AT,
    PORT_FIRST_AT,
    PORT_LAST_AT,
    REMOTE_IP_AT,
    REMOTE_PORT_AT,
    RESERVED_AT,
    SESSION,
    STATE_AT,
    TCP_MAPPING_EXTRA_AT,
    external_key,
    interior_key,
    payload_bytes,
    protocol_of,
    remote_key,
)
from vnf_images.nat.tcp_state import STATES
from vnf_images.neighbours import ARP_EXTERIOR, ARP_INTERIOR, INSTALLED, MALFORMED, TABLE_FULL, install_arp
from vnf_images.ports import LOW_32, config, in_prefix

UNKNOWN_TYPE = -2
ABSENT = -3
PRESENT = -4


@compiled
def install_statelet(statelet: Octets, length: Number, tables: Words) -> Number:
    """INSTALLED, or a negative code; then nothing has changed."""
    if length < 4 or length > statelet.size or get_u16(statelet, 2) != length - 4:
        return np.int64(MALFORMED)
    number = get_u16(statelet, 0)
    if number in (ARP_INTERIOR, ARP_EXTERIOR):
        return install_arp(statelet, length, tables, NEIGHBOUR)
    base, event = number & 0xFFF0, number & 0xF
    expected = payload_bytes(base, event)
    if expected < 0:
        return np.int64(UNKNOWN_TYPE)
    if length != expected + 4 or not in_prefix(tables, INTERIOR_PORT, get_u32(statelet, IP_AT)):
        return np.int64(MALFORMED)
    protocol = protocol_of(base)
    if event == EXPIRED:
        return _install_expiry(statelet, protocol, tables)
    if protocol == ipv4.PROTOCOL_TCP and (get_u8(statelet, RESERVED_AT) != 0 or get_u8(statelet, STATE_AT) >= STATES):
        return np.int64(MALFORMED)
    if event == OPENED_MAPPING:
        return _install_mapping(statelet, protocol, tables)
    return _install_packet(statelet, protocol, event, tables)


@compiled
def _set_word(tables: Words, tid: Number, slot: Number, content: Number) -> None:
    at = begin_write(tables, tid, slot)
    tables[at] = np.uint64(content)
    commit(tables, tid, slot)


@compiled
def _room_for_host(tables: Words, ip: Number) -> bool:
    return bool(find(tables, HOST, ip) >= 0 or has_room(tables, HOST, ip))


@compiled
def _count_packet(tables: Words, ip: Number, total_bytes: Number, inbound: bool) -> None:
    """Add to a host's counters; there is room for its entry."""
    slot = find(tables, HOST, ip)
    if slot < 0:
        slot = insert(tables, HOST, ip)
    at = begin_write(tables, HOST, slot)
    tables[at + (PACKETS_IN if inbound else PACKETS_OUT)] += np.uint64(1)
    tables[at + (BYTES_IN if inbound else BYTES_OUT)] += np.uint64(total_bytes)
    commit(tables, HOST, slot)


@compiled
def _session_word(statelet: Octets) -> Number:
    return (get_u8(statelet, STATE_AT) << 32) | get_u32(statelet, EXPIRY_AT)


@compiled
def _session_remote(statelet: Octets) -> Number:
    return remote_key(get_u32(statelet, REMOTE_IP_AT), get_u16(statelet, REMOTE_PORT_AT))


@compiled
def _install_mapping(statelet: Octets, protocol: Number, tables: Words) -> Number:
    ip = get_u32(statelet, IP_AT)
    interior = interior_key(protocol, ip, get_u16(statelet, PORT_AT))
    is_tcp = protocol == ipv4.PROTOCOL_TCP
    extra_at = TCP_MAPPING_EXTRA_AT if is_tcp else MAPPING_EXTRA_AT
    external_port, next_port = get_u16(statelet, extra_at), get_u16(statelet, extra_at + 2)
    external = external_key(protocol, external_port)
    first, last = config(tables, PORT_FIRST_AT), config(tables, PORT_LAST_AT)
    if external_port < first or external_port > last or next_port < first or next_port > last:
        return np.int64(MALFORMED)
    if find(tables, MAPPING, interior) >= 0 or find(tables, EXTERNAL, external) >= 0:
        return np.int64(PRESENT)
    if not has_room(tables, MAPPING, interior) or not has_room(tables, EXTERNAL, external):
        return np.int64(TABLE_FULL)
    pool = find(tables, POOL, protocol)
    if not _room_for_host(tables, ip) or (pool < 0 and not has_room(tables, POOL, protocol)):
        return np.int64(TABLE_FULL)
    sessions_or_expiry = get_u32(statelet, EXPIRY_AT)
    if is_tcp:
        remote = _session_remote(statelet)
        if find(tables, SESSION, interior, remote) >= 0:
            return np.int64(PRESENT)
        if not has_room(tables, SESSION, interior, remote):
            return np.int64(TABLE_FULL)
        _set_word(tables, SESSION, insert(tables, SESSION, interior, remote), _session_word(statelet))
        sessions_or_expiry = np.int64(1)
    _set_word(tables, MAPPING, insert(tables, MAPPING, interior), (external_port << 32) | sessions_or_expiry)
    _set_word(tables, EXTERNAL, insert(tables, EXTERNAL, external), interior)
    if pool < 0:
        pool = insert(tables, POOL, protocol)
    at = begin_write(tables, POOL, pool)
    tables[at] = np.uint64(next_port)
    tables[at + 1] += np.uint64(1)
    commit(tables, POOL, pool)
    _count_packet(tables, ip, get_u16(statelet, BYTES_AT), False)
    return np.int64(INSTALLED)


@compiled
def _install_packet(statelet: Octets, protocol: Number, event: Number, tables: Words) -> Number:
    ip = get_u32(statelet, IP_AT)
    interior = interior_key(protocol, ip, get_u16(statelet, PORT_AT))
    mapping = find(tables, MAPPING, interior)
    if mapping < 0:
        return np.int64(ABSENT)
    if not _room_for_host(tables, ip):
        return np.int64(TABLE_FULL)
    word = value(tables, MAPPING, mapping, 0)
    if protocol != ipv4.PROTOCOL_TCP:
        _set_word(tables, MAPPING, mapping, (word & ~LOW_32) | get_u32(statelet, EXPIRY_AT))
    else:
        remote = _session_remote(statelet)
        session = find(tables, SESSION, interior, remote)
        if event == OPENED_SESSION:
            if session >= 0:
                return np.int64(PRESENT)
            if word & LOW_32 == LOW_32:
                return np.int64(TABLE_FULL)
            session = insert(tables, SESSION, interior, remote)
            if session < 0:
                return np.int64(TABLE_FULL)
            _set_word(tables, MAPPING, mapping, word + 1)
        elif session < 0:
            return np.int64(ABSENT)
        _set_word(tables, SESSION, session, _session_word(statelet))
    _count_packet(tables, ip, get_u16(statelet, BYTES_AT), event == CAME_IN)
    return np.int64(INSTALLED)


@compiled
def _install_expiry(statelet: Octets, protocol: Number, tables: Words) -> Number:
    interior = interior_key(protocol, get_u32(statelet, IP_AT), get_u16(statelet, PORT_AT))
    mapping = find(tables, MAPPING, interior)
    if mapping < 0:
        return np.int64(ABSENT)
    if protocol == ipv4.PROTOCOL_TCP:
        remote = remote_key(get_u32(statelet, EXPIRED_REMOTE_AT), get_u16(statelet, EXPIRED_REMOTE_AT + 4))
        session = find(tables, SESSION, interior, remote)
        if session < 0:
            return np.int64(ABSENT)
        erase(tables, SESSION, session)
        word = value(tables, MAPPING, mapping, 0)
        if word & LOW_32 > 1:
            _set_word(tables, MAPPING, mapping, word - 1)
            return np.int64(INSTALLED)
    _erase_mapping(tables, protocol, mapping)
    return np.int64(INSTALLED)


@compiled
def _erase_mapping(tables: Words, protocol: Number, mapping: Number) -> None:
    """Delete a mapping and give its external port back."""
    external_port = (value(tables, MAPPING, mapping, 0) >> 32) & 0xFFFF
    erase(tables, MAPPING, mapping)
    external = find(tables, EXTERNAL, external_key(protocol, external_port))
    if external >= 0:
        erase(tables, EXTERNAL, external)
    pool = find(tables, POOL, protocol)
    if pool >= 0 and value(tables, POOL, pool, 1) > 0:
        at = begin_write(tables, POOL, pool)
        tables[at + 1] -= np.uint64(1)
        commit(tables, POOL, pool)
