"""Letting mappings and sessions expire, a few table slots per timer tick.

The window of a tick is a range of home slots, and the smallest key of the expired entries goes first: both depend on
the entries alone, not on the order they were inserted in. An instance that is given the same ticks and packets (the
duplication mode) so lets the same entries expire at the same time.
"""

from __future__ import annotations

import numpy as np

from harness.dataplane.jit import compiled
from harness.dataplane.table import Words, capacity, home_slot, is_live, key, slot_state, value
from harness.dataplane.table_layout import EMPTY, PROBE_MAX
from harness.dataplane.wire import ipv4
from harness.dataplane.wire.octets import Number, Octets, put_u16, put_u32
from vnf_images.nat.layout import (
    EXPIRED,
    EXPIRED_REMOTE_AT,
    EXPIRY_WINDOW_AT,
    IP_AT,
    MAPPING,
    PORT_AT,
    SESSION,
    TCP_BASE,
    payload_bytes,
    statelet_base,
)
from vnf_images.ports import LOW_32, config


@compiled
def expired_slot(tables: Words, tid: Number, tick: Number, now: Number) -> Number:
    """Slot of the expired entry with the smallest key in the tick's window, or -1. TCP mappings do not expire alone."""
    slots = capacity(tables, tid)
    window = min(config(tables, EXPIRY_WINDOW_AT), slots)
    first = ((tick & LOW_32) * window) & (slots - 1)
    best = np.int64(-1)
    for offset in range(min(window + PROBE_MAX, slots)):
        slot = (first + offset) & (slots - 1)
        if offset >= window and slot_state(tables, tid, slot) == EMPTY:
            break
        if not is_live(tables, tid, slot) or value(tables, tid, slot, 0) & LOW_32 > now:
            continue
        if tid == MAPPING and key(tables, tid, slot, 0) >> 48 == ipv4.PROTOCOL_TCP:
            continue
        if (home_slot(tables, tid, slot) - first) & (slots - 1) >= window:
            continue
        if best < 0 or _precedes(tables, tid, slot, best):
            best = np.int64(slot)
    return best


@compiled
def _precedes(tables: Words, tid: Number, slot: Number, other: Number) -> bool:
    first, second = key(tables, tid, slot, 0), key(tables, tid, other, 0)
    if first != second or tid == MAPPING:
        return bool(first < second)
    return bool(key(tables, tid, slot, 1) < key(tables, tid, other, 1))


@compiled
def announce_expiry(tick: Number, now: Number, tables: Words, statelet: Octets) -> Number:
    """Statelet of one expired entry of the tick's window; its length, 0 if there is none."""
    tid = np.int64(MAPPING)
    slot = expired_slot(tables, tid, tick, now)
    if slot < 0:
        tid = np.int64(SESSION)
        slot = expired_slot(tables, tid, tick, now)
        if slot < 0:
            return np.int64(0)
    interior = key(tables, tid, slot, 0)
    base = statelet_base((interior >> 48) & 0xFF)
    length = payload_bytes(base, EXPIRED)
    if length < 0 or (tid == SESSION) != (base == TCP_BASE):
        return np.int64(0)  # only a hostile snapshot brings such an entry
    put_u16(statelet, 0, base + EXPIRED)
    put_u16(statelet, 2, length)
    put_u32(statelet, IP_AT, interior >> 16)
    put_u16(statelet, PORT_AT, interior)
    if tid == SESSION:
        remote = key(tables, tid, slot, 1)
        put_u32(statelet, EXPIRED_REMOTE_AT, remote >> 16)
        put_u16(statelet, EXPIRED_REMOTE_AT + 4, remote)
    return length + 4
