"""The gateway's h (paper section III): the only code that changes its state. Statelets may come from a hostile peer.

A statelet says what it follows (previous cell, number of the handover), so that one that is missing, comes twice or in
the wrong order is refused instead of installed.
"""

from __future__ import annotations

import numpy as np

from harness.dataplane.abi import INTERIOR_PORT
from harness.dataplane.jit import compiled
from harness.dataplane.table import Words, begin_write, commit, find, insert
from harness.dataplane.wire.octets import Number, Octets, get_u16, get_u32
from vnf_images.neighbours import ARP_EXTERIOR, ARP_INTERIOR, INSTALLED, MALFORMED, TABLE_FULL, install_arp
from vnf_images.pg.bearer import store_bearer
from vnf_images.pg.layout import (
    ATTACHED,
    CELL_AT,
    HANDED_OVER,
    HANDOVERS,
    HANDOVERS_AT,
    IP_AT,
    NEIGHBOUR,
    NO_CELL,
    PLACE,
    PORT_AT,
    PREVIOUS_AT,
    SUBSCRIBER,
    cell_of,
    handovers_of,
    is_cell,
    place,
    statelet_bytes,
    subscriber_key,
)
from vnf_images.ports import LOW_32, in_prefix

UNKNOWN_TYPE = -2
ABSENT = -3
PRESENT = -4
OUT_OF_STEP = -6


@compiled
def install_statelet(statelet: Octets, length: Number, tables: Words) -> Number:
    """INSTALLED, or a negative code; then nothing has changed."""
    if length < 4 or length > statelet.size or get_u16(statelet, 2) != length - 4:
        return np.int64(MALFORMED)
    kind = get_u16(statelet, 0)
    if kind in (ARP_INTERIOR, ARP_EXTERIOR):
        return install_arp(statelet, length, tables, NEIGHBOUR)
    if kind not in (ATTACHED, HANDED_OVER):
        return np.int64(UNKNOWN_TYPE)
    if length != statelet_bytes(tables):
        return np.int64(MALFORMED)
    if not in_prefix(tables, INTERIOR_PORT, get_u32(statelet, IP_AT)) or not is_cell(
        tables, get_u16(statelet, CELL_AT)
    ):
        return np.int64(MALFORMED)
    subscriber = subscriber_key(get_u32(statelet, IP_AT), get_u16(statelet, PORT_AT))
    if kind == ATTACHED:
        return _install_attachment(statelet, subscriber, tables)
    return _install_handover(statelet, subscriber, tables)


@compiled
def _store(statelet: Octets, tables: Words, slot: Number) -> Number:
    at = begin_write(tables, SUBSCRIBER, slot)
    tables[at + PLACE] = np.uint64(place(get_u16(statelet, CELL_AT), get_u16(statelet, PREVIOUS_AT)))
    tables[at + HANDOVERS] = np.uint64(get_u32(statelet, HANDOVERS_AT))
    store_bearer(statelet, tables, at)
    commit(tables, SUBSCRIBER, slot)
    return np.int64(INSTALLED)


@compiled
def _install_attachment(statelet: Octets, subscriber: Number, tables: Words) -> Number:
    if get_u16(statelet, PREVIOUS_AT) != NO_CELL or get_u32(statelet, HANDOVERS_AT) != 0:
        return np.int64(MALFORMED)
    if find(tables, SUBSCRIBER, subscriber) >= 0:
        return np.int64(PRESENT)
    slot = insert(tables, SUBSCRIBER, subscriber)
    if slot < 0:
        return np.int64(TABLE_FULL)
    return _store(statelet, tables, slot)


@compiled
def _install_handover(statelet: Octets, subscriber: Number, tables: Words) -> Number:
    previous = get_u16(statelet, PREVIOUS_AT)
    if previous == get_u16(statelet, CELL_AT):
        return np.int64(MALFORMED)
    slot = find(tables, SUBSCRIBER, subscriber)
    if slot < 0:
        return np.int64(ABSENT)
    handovers = (handovers_of(tables, slot) + 1) & LOW_32
    if previous != cell_of(tables, slot) or get_u32(statelet, HANDOVERS_AT) != handovers:
        return np.int64(OUT_OF_STEP)
    return _store(statelet, tables, slot)
