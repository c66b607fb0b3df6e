"""Freezing all tables at once, deleting (which depends on it), and reaping what was deleted while frozen."""

from __future__ import annotations

import numpy as np
from numba import types

from harness.dataplane.fence import release_fence
from harness.dataplane.jit import compiled, compiled_as
from harness.dataplane.table_layout import (
    A_SHIFT,
    B_SHIFT,
    BASE,
    CAPACITY,
    COUNT,
    EMPTY,
    EPOCH_AT,
    FROZEN,
    GENERATION_MAX,
    NOT_FROZEN,
    NULLS,
    PROBE_MAX,
    REAP_CURSOR,
    SLOT_WORDS,
    STAMP_MASK,
    STATE_MASK,
    TABLES_AT,
    TOMBSTONE,
    TOMBSTONES,
    USED,
    Index,
    Words,
)
from harness.dataplane.table_slot import (
    descriptor,
    frozen_stamp,
    newest_stamp,
    slot_at,
    stamped,
    word,
)


@compiled_as(types.void(types.uint64[::1], types.int64, types.int64))
def remove(tables: Words, tid: Index, slot: Index) -> None:
    """Free a slot; it and the tombstones before it become empty if nothing follows it."""
    at = descriptor(tid)
    base = word(tables, at + BASE)
    mask = word(tables, at + CAPACITY) - 1
    slot_words = word(tables, at + SLOT_WORDS)
    if word(tables, base + ((slot + 1) & mask) * slot_words) & STATE_MASK != EMPTY:
        tables[base + slot * slot_words] = np.uint64(TOMBSTONE)
        tables[at + TOMBSTONES] += np.uint64(1)
        return
    tables[base + slot * slot_words] = np.uint64(EMPTY)
    for _ in range(PROBE_MAX):
        slot = (slot - 1) & mask
        position = base + slot * slot_words
        if word(tables, position) & STATE_MASK != TOMBSTONE:
            return
        tables[position] = np.uint64(EMPTY)
        tables[at + TOMBSTONES] -= np.uint64(1)


@compiled_as(types.void(types.uint64[::1], types.int64, types.int64))
def erase(tables: Words, tid: Index, slot: Index) -> None:
    """Delete a live entry. While frozen an entry the snapshot needs stays, with a null value, until it is reaped."""
    at = descriptor(tid)
    position = slot_at(tables, tid, slot)
    meta = word(tables, position)
    epoch = word(tables, EPOCH_AT)
    tables[at + COUNT] -= np.uint64(1)
    if epoch & 1 and frozen_stamp(meta, epoch >> 1) & 1 == 0:
        a_stamp = (meta >> A_SHIFT) & STAMP_MASK
        b_stamp = (meta >> B_SHIFT) & STAMP_MASK
        tables[at + NULLS] += np.uint64(1)
        tables[position] = np.uint64(stamped(a_stamp, b_stamp, (((epoch + 1) >> 1) << 1) | 1))
        return
    remove(tables, tid, slot)


@compiled
def frozen(tables: Words) -> bool:
    """Whether the tables are frozen."""
    return bool(word(tables, EPOCH_AT) & 1 == 1)


@compiled
def generation(tables: Words) -> Index:
    """The paper's t."""
    return word(tables, EPOCH_AT) >> 1


@compiled
def freeze_all(tables: Words) -> Index:
    """Freeze every table at once, in one store; 0, or FROZEN (also when the generations are used up)."""
    epoch = word(tables, EPOCH_AT)
    if epoch & 1 or epoch >> 1 >= GENERATION_MAX - 1:
        return FROZEN
    release_fence()
    tables[EPOCH_AT] = np.uint64(epoch + 1)
    return 0


@compiled
def unfreeze_all(tables: Words) -> Index:
    """End the frozen state: t catches up with m. 0, or NOT_FROZEN."""
    epoch = word(tables, EPOCH_AT)
    if epoch & 1 == 0:
        return NOT_FROZEN
    release_fence()
    tables[EPOCH_AT] = np.uint64(epoch + 1)
    return 0


@compiled
def reap(tables: Words, max_slots: Index) -> Index:
    """Free entries deleted while frozen, looking at no more than `max_slots` slots; slots looked at (0: nothing left).

    Does nothing while frozen: the reader may still need the entries.
    """
    if word(tables, EPOCH_AT) & 1:
        return 0
    seen = np.int64(0)
    for tid in range(word(tables, TABLES_AT)):
        at = descriptor(tid)
        mask = word(tables, at + CAPACITY) - 1
        while seen < max_slots and word(tables, at + NULLS) > 0:
            slot = word(tables, at + REAP_CURSOR) & mask
            meta = word(tables, slot_at(tables, tid, slot))
            if meta & STATE_MASK == USED and newest_stamp(meta) & 1:
                tables[at + NULLS] -= np.uint64(1)
                remove(tables, tid, slot)
            tables[at + REAP_CURSOR] = np.uint64((slot + 1) & mask)
            seen += 1
    return seen
