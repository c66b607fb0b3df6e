"""The ARP table of an image that routes: its statelets, what changes it, and the answers and requests on the wire.

One table of one key and one value word, whichever its number `tid` is in the image. Statelet types ARP_INTERIOR and
ARP_EXTERIOR are the same in every image: address u32, Ethernet address 48 bits (paper, section VI-C: 10 bytes).
"""

from __future__ import annotations

import numpy as np
from numba import types

from harness.dataplane.abi import BYTES, EXTERIOR_PORT, INTERIOR_PORT, WORDS, replaced, verdict
from harness.dataplane.jit import compiled, compiled_as
from harness.dataplane.table import Words, begin_write, commit, find, has_room, insert, value
from harness.dataplane.wire import arp, ethernet
from harness.dataplane.wire.octets import Number, Octets, get_u16, get_u32, get_u48, put_u16, put_u32, put_u48
from vnf_images import reasons
from vnf_images.ports import ADDRESS_AT, MAC_AT, in_prefix, port_config

ARP_INTERIOR = 0x01
ARP_EXTERIOR = 0x02
ARP_IP_AT = 4
ARP_MAC_AT = 8
ARP_STATELET_BYTES = 14

INSTALLED = 0
MALFORMED = -1
TABLE_FULL = -5


@compiled
def neighbour_key(port: Number, ip: Number) -> Number:
    """Key of an ARP entry."""
    return (port << 32) | ip


@compiled_as(types.int64(WORDS, types.int64, types.int64, types.int64))
def neighbour_mac(tables: Words, tid: Number, port: Number, ip: Number) -> Number:
    """Ethernet address of a neighbour, 0 if unknown."""
    slot = find(tables, tid, neighbour_key(port, ip))
    if slot < 0:
        return np.int64(0)
    return value(tables, tid, slot, 0)


@compiled_as(types.int64(BYTES, types.int64, WORDS, types.int64, BYTES))
def announce_arp(frame: Octets, port: Number, tables: Words, tid: Number, statelet: Octets) -> Number:
    """Statelet of a new or changed neighbour; its length, 0 for no change, or -reason."""
    ip, mac = arp.sender_ip(frame), arp.sender_mac(frame)
    known = neighbour_mac(tables, tid, port, ip)
    if known == mac or ip == 0:
        return np.int64(0)
    if known == 0 and not has_room(tables, tid, neighbour_key(port, ip)):
        return np.int64(-reasons.NEIGHBOUR_TABLE_FULL)
    put_u16(statelet, 0, ARP_INTERIOR if port == INTERIOR_PORT else ARP_EXTERIOR)
    put_u16(statelet, 2, ARP_STATELET_BYTES - 4)
    put_u32(statelet, ARP_IP_AT, ip)
    put_u48(statelet, ARP_MAC_AT, mac)
    return np.int64(ARP_STATELET_BYTES)


@compiled_as(types.int64(BYTES, types.int64, WORDS, types.int64))
def install_arp(statelet: Octets, length: Number, tables: Words, tid: Number) -> Number:
    """Install a statelet of type ARP_INTERIOR or ARP_EXTERIOR; INSTALLED, or a negative code: nothing has changed."""
    if length != ARP_STATELET_BYTES:
        return np.int64(MALFORMED)
    port = np.int64(INTERIOR_PORT if get_u16(statelet, 0) == ARP_INTERIOR else EXTERIOR_PORT)
    ip, mac = get_u32(statelet, ARP_IP_AT), get_u48(statelet, ARP_MAC_AT)
    if not in_prefix(tables, port, ip) or not ethernet.is_station(mac):
        return np.int64(MALFORMED)
    slot = find(tables, tid, neighbour_key(port, ip))
    if slot < 0:
        slot = insert(tables, tid, neighbour_key(port, ip))
        if slot < 0:
            return np.int64(TABLE_FULL)
    at = begin_write(tables, tid, slot)
    tables[at] = np.uint64(mac)
    commit(tables, tid, slot)
    return np.int64(INSTALLED)


@compiled
def answer_arp(frame: Octets, port: Number, tables: Words) -> Number:
    """Put the reply in the place of a request for our address; verdict, or -reason."""
    if arp.operation(frame) == arp.REPLY:
        return np.int64(-reasons.ARP_CONSUMED)
    if frame.size < ethernet.MIN_FRAME_BYTES:
        return np.int64(-reasons.ARP_MALFORMED)
    own_mac, own_ip = port_config(tables, port, MAC_AT), port_config(tables, port, ADDRESS_AT)
    peer_mac, peer_ip = arp.sender_mac(frame), arp.sender_ip(frame)
    return verdict(arp.write(frame, arp.REPLY, own_mac, own_ip, peer_mac, peer_ip), port)


@compiled_as(types.int64(BYTES, types.int64, types.int64, WORDS))
def ask_for(frame: Octets, ip: Number, port: Number, tables: Words) -> Number:
    """Put an ARP request for `ip` in the place of the packet, which is dropped; verdict, or -reason."""
    if frame.size < ethernet.MIN_FRAME_BYTES:
        return np.int64(-reasons.ARP_UNRESOLVED)
    own_mac, own_ip = port_config(tables, port, MAC_AT), port_config(tables, port, ADDRESS_AT)
    out_length = arp.write(frame, arp.REQUEST, own_mac, own_ip, np.int64(0), ip)
    return replaced(out_length, port, reasons.ARP_UNRESOLVED)
