"""The gateway's g (paper section III): what a frame does to the state; the state is only read.

Only a new place of a subscriber and a new neighbour are state changes. A packet that announces the cell the subscriber
is in already is none, so that an announcement may be repeated until it is known to have arrived. An announcement counts
even where its packet cannot go on because the next hop's Ethernet address is not known yet.
"""

from __future__ import annotations

import numpy as np

from harness.dataplane.abi import TIMER_PORT
from harness.dataplane.jit import compiled
from harness.dataplane.table import Words, find, has_room
from harness.dataplane.wire import ipv4, udp
from harness.dataplane.wire.octets import Number, Octets, get_u16, put_u16, put_u32
from vnf_images.frames import IS_ARP
from vnf_images.neighbours import announce_arp
from vnf_images.pg import reasons, tag
from vnf_images.pg.bearer import put_next_bearer
from vnf_images.pg.classify import INBOUND, classify
from vnf_images.pg.layout import (
    ATTACHED,
    CELL_AT,
    HANDED_OVER,
    HANDOVERS_AT,
    IP_AT,
    NEIGHBOUR,
    NO_CELL,
    PORT_AT,
    PREVIOUS_AT,
    SUBSCRIBER,
    cell_of,
    handovers_of,
    statelet_bytes,
    subscriber_key,
)
from vnf_images.ports import LOW_32


@compiled
def announce_frame(frame: Octets, length: Number, port: Number, tables: Words, statelet: Octets) -> Number:
    """Length of the statelet, 0 for none, or -reason."""
    if port == TIMER_PORT:
        return np.int64(0)  # subscribers stay until the gateway ends
    kind = classify(frame, length, port, tables)
    if kind < 0:
        return kind
    if kind == IS_ARP:
        return announce_arp(frame, port, tables, NEIGHBOUR, statelet)
    if kind == INBOUND:
        found = find(tables, SUBSCRIBER, subscriber_key(ipv4.destination(frame), udp.destination_port(frame)))
        return np.int64(0 if found >= 0 else -reasons.UNKNOWN_SUBSCRIBER)
    return _announce_outbound(frame, tables, statelet)


@compiled
def _announce_outbound(frame: Octets, tables: Words, statelet: Octets) -> Number:
    subscriber = subscriber_key(ipv4.source(frame), get_u16(frame, udp.SOURCE_PORT_AT))
    cell = tag.cell(frame)
    slot = find(tables, SUBSCRIBER, subscriber)
    if slot < 0:
        if not tag.announces(frame):
            return np.int64(-reasons.UNKNOWN_SUBSCRIBER)
        if not has_room(tables, SUBSCRIBER, subscriber):
            return np.int64(-reasons.SUBSCRIBER_TABLE_FULL)
        return _write(statelet, ATTACHED, tables, slot, subscriber, cell, np.int64(NO_CELL), np.int64(0))
    current = cell_of(tables, slot)
    if not tag.announces(frame) or cell == current:
        return np.int64(0)
    handovers = (handovers_of(tables, slot) + 1) & LOW_32
    return _write(statelet, HANDED_OVER, tables, slot, subscriber, cell, current, handovers)


@compiled
def _write(
    statelet: Octets,
    kind: Number,
    tables: Words,
    slot: Number,
    subscriber: Number,
    cell: Number,
    previous: Number,
    handovers: Number,
) -> Number:
    length = statelet_bytes(tables)
    put_u16(statelet, 0, kind)
    put_u16(statelet, 2, length - 4)
    put_u32(statelet, IP_AT, subscriber >> 16)
    put_u16(statelet, PORT_AT, subscriber)
    put_u16(statelet, CELL_AT, cell)
    put_u16(statelet, PREVIOUS_AT, previous)
    put_u32(statelet, HANDOVERS_AT, handovers)
    put_next_bearer(statelet, tables, slot, subscriber, cell, handovers)
    return length
