"""Rewriting the frame after its statelet has been installed; the state is only read."""

from __future__ import annotations

import numpy as np

from harness.dataplane.abi import EXTERIOR_PORT, INTERIOR_PORT, verdict
from harness.dataplane.jit import compiled
from harness.dataplane.table import Words, find
from harness.dataplane.wire import ethernet, ipv4, udp
from harness.dataplane.wire.checksum import change_u16, update_at
from harness.dataplane.wire.octets import Number, Octets, get_u16, put_u8
from vnf_images.frames import IS_ARP
from vnf_images.neighbours import answer_arp, ask_for, neighbour_mac
from vnf_images.pg import reasons, tag
from vnf_images.pg.classify import OUTBOUND, classify
from vnf_images.pg.layout import NEIGHBOUR, SUBSCRIBER, cell_of, is_cell, subscriber_key
from vnf_images.ports import MAC_AT, next_hop, port_config
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
    """To the next hop; the tag goes on as the subscriber sent it."""
    return _send(frame, length, EXTERIOR_PORT, next_hop(ipv4.destination(frame), tables), tables)


@compiled
def _forward_inbound(frame: Octets, length: Number, tables: Words) -> Number:
    """To the subscriber, tagged with the cell it is in."""
    ip = ipv4.destination(frame)
    slot = find(tables, SUBSCRIBER, subscriber_key(ip, udp.destination_port(frame)))
    if slot < 0:
        return np.int64(-reasons.UNKNOWN_SUBSCRIBER)
    cell = cell_of(tables, slot)
    if not is_cell(tables, cell):
        return np.int64(-INCONSISTENT)  # only a hostile snapshot brings such an entry
    tag.write(frame, cell)
    return _send(frame, length, INTERIOR_PORT, ip, tables)


@compiled
def _send(frame: Octets, length: Number, out_port: Number, hop: Number, tables: Words) -> Number:
    """Address the frame to a neighbour and decrement its TTL; the header checksum is updated (RFC 1624)."""
    mac = neighbour_mac(tables, NEIGHBOUR, out_port, hop)
    if mac == 0:
        return ask_for(frame, hop, out_port, tables)
    ethernet.write(frame, mac, port_config(tables, out_port, MAC_AT), ethernet.ETHERTYPE_IPV4)
    before = get_u16(frame, ipv4.TTL_AT)  # TTL and protocol share a checksum word
    put_u8(frame, ipv4.TTL_AT, ipv4.ttl(frame) - 1)
    update_at(frame, ipv4.CHECKSUM_AT, change_u16(before, get_u16(frame, ipv4.TTL_AT)))
    return verdict(length, out_port)
