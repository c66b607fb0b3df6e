"""Rewriting the frame after its statelet has been installed; the state is only read."""

from __future__ import annotations

import numpy as np

from harness.dataplane.abi import EXTERIOR_PORT, INTERIOR_PORT, verdict
from harness.dataplane.jit import compiled
from harness.dataplane.table import Words, find, value
from harness.dataplane.wire import ethernet, icmp, ipv4, tcp, udp
from harness.dataplane.wire.checksum import change_u16, change_u32, update_at, updated
from harness.dataplane.wire.octets import Number, Octets, get_u16, put_u8, put_u16, put_u32
from vnf_images.frames import IS_ARP
from vnf_images.nat import reasons
from vnf_images.nat.classify import OUTBOUND, classify, inner_port
from vnf_images.nat.layout import EXTERNAL, MAPPING, NEIGHBOUR, external_key, interior_key
from vnf_images.neighbours import answer_arp, ask_for, neighbour_mac
from vnf_images.ports import ADDRESS_AT, LOW_32, MAC_AT, next_hop, port_config
from vnf_images.reasons import INCONSISTENT


@compiled
def forward_frame(frame: Octets, length: Number, port: Number, tables: Words) -> Number:
    """Verdict (`harness.dataplane.abi`), or -reason."""
    kind = classify(frame, length, port, tables)
    if kind < 0:
        return kind
    if kind == IS_ARP:
        return answer_arp(frame, port, tables)
    if kind == OUTBOUND:
        return _forward_outbound(frame, length, tables)
    return _forward_inbound(frame, length, tables)


@compiled
def _forward_outbound(frame: Octets, length: Number, tables: Words) -> Number:
    hop = next_hop(ipv4.destination(frame), tables)
    mac = neighbour_mac(tables, NEIGHBOUR, EXTERIOR_PORT, hop)
    if mac == 0:
        return ask_for(frame, hop, EXTERIOR_PORT, tables)
    mapping = find(tables, MAPPING, interior_key(ipv4.protocol(frame), ipv4.source(frame), inner_port(frame, False)))
    if mapping < 0:
        return np.int64(-INCONSISTENT)
    external_port = (value(tables, MAPPING, mapping, 0) >> 32) & 0xFFFF
    ethernet.write(frame, mac, port_config(tables, EXTERIOR_PORT, MAC_AT), ethernet.ETHERTYPE_IPV4)
    _translate(frame, ipv4.SOURCE_AT, port_config(tables, EXTERIOR_PORT, ADDRESS_AT), udp.SOURCE_PORT_AT, external_port)
    return verdict(length, EXTERIOR_PORT)


@compiled
def _forward_inbound(frame: Octets, length: Number, tables: Words) -> Number:
    found = find(tables, EXTERNAL, external_key(ipv4.protocol(frame), inner_port(frame, True)))
    if found < 0:
        return np.int64(-reasons.UNSOLICITED)
    interior = value(tables, EXTERNAL, found, 0)
    ip = (interior >> 16) & LOW_32
    mac = neighbour_mac(tables, NEIGHBOUR, INTERIOR_PORT, ip)
    if mac == 0:
        return ask_for(frame, ip, INTERIOR_PORT, tables)
    ethernet.write(frame, mac, port_config(tables, INTERIOR_PORT, MAC_AT), ethernet.ETHERTYPE_IPV4)
    _translate(frame, ipv4.DESTINATION_AT, ip, udp.DESTINATION_PORT_AT, interior & 0xFFFF)
    return verdict(length, INTERIOR_PORT)


@compiled
def _translate(frame: Octets, address_at: Number, address: Number, port_at: Number, port: Number) -> None:
    """Change an address and its port, decrement the TTL, update the checksums incrementally (RFC 1624)."""
    protocol = ipv4.protocol(frame)
    before = ipv4.source(frame) if address_at == ipv4.SOURCE_AT else ipv4.destination(frame)
    address_change = change_u32(before, address)
    ttl_before = get_u16(frame, ipv4.TTL_AT)  # TTL and protocol share a checksum word
    put_u8(frame, ipv4.TTL_AT, ipv4.ttl(frame) - 1)
    put_u32(frame, address_at, address)
    update_at(frame, ipv4.CHECKSUM_AT, address_change + change_u16(ttl_before, get_u16(frame, ipv4.TTL_AT)))
    if protocol == ipv4.PROTOCOL_ICMP:
        update_at(frame, icmp.CHECKSUM_AT, change_u16(icmp.identifier(frame), port))  # ICMP has no pseudo header
        put_u16(frame, icmp.IDENTIFIER_AT, port)
        return
    change = address_change + change_u16(get_u16(frame, port_at), port)
    put_u16(frame, port_at, port)
    if protocol == ipv4.PROTOCOL_TCP:
        update_at(frame, tcp.CHECKSUM_AT, change)
        return
    stored = get_u16(frame, udp.CHECKSUM_AT)
    if stored != 0:  # 0 says that there is no checksum (RFC 768); one that comes out as 0 is sent as 0xFFFF
        computed = updated(stored, change)
        put_u16(frame, udp.CHECKSUM_AT, computed if computed != 0 else 0xFFFF)
