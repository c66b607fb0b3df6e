"""Two-generation hash tables (paper section VI-B) in one array of 64-bit words; see `table_layout` for the layout.

One thread writes. A second thread may read the frozen state at the same time (`table_snapshot`); it never waits for the
writer and never makes it wait. Open addressing, linear probing, bounded probes; a full table is a return code.

An entry is written in three steps, so that the reader never sees half of a value:

    slot = insert(tables, tid, key0, key1)      or find(...)
    at = begin_write(tables, tid, slot)         index of the value's first word; holds the current value (or zeros)
    tables[at] = ...
    commit(tables, tid, slot)                   publishes it

Between `insert` or `begin_write` and `commit` nothing else may be done to the same table.
"""

from __future__ import annotations

import numpy as np
from numba import types

from harness.dataplane.fence import release_fence
from harness.dataplane.jit import compiled, compiled_as
from harness.dataplane.table_freeze import (
    erase,
    freeze_all,
    frozen,
    generation,
    reap,
    unfreeze_all,
)
from harness.dataplane.table_layout import (
    A_SHIFT,
    B_SHIFT,
    CAPACITY,
    COUNT,
    EXISTS,
    FROZEN,
    FULL,
    KEY_WORDS,
    MAX_ENTRIES,
    NOT_FOUND,
    NOT_FROZEN,
    NULLS,
    REFUSED,
    STAMP_MASK,
    STATE_MASK,
    TOMBSTONE,
    TOMBSTONES,
    USED,
    VALUE_WORDS,
    Index,
    TableSpec,
    Words,
    capacity_of,
    make_arena,
    table_specs,
)
from harness.dataplane.table_slot import (
    descriptor,
    find_slot,
    free_slot,
    home_slot,
    is_live,
    key,
    newest_stamp,
    slot_at,
    slot_state,
    stamped,
    value,
    value_at,
    word,
    write_generation,
)

__all__ = [
    "EXISTS",
    "FROZEN",
    "FULL",
    "NOT_FOUND",
    "NOT_FROZEN",
    "TableSpec",
    "Words",
    "begin_write",
    "capacity",
    "capacity_of",
    "commit",
    "count",
    "erase",
    "find",
    "freeze_all",
    "frozen",
    "generation",
    "has_room",
    "home_slot",
    "insert",
    "is_live",
    "key",
    "make_arena",
    "reap",
    "refused",
    "slot_state",
    "table_specs",
    "unfreeze_all",
    "value",
    "value_at",
]


@compiled
def find(tables: Words, tid: Index, key0: Index, key1: Index = 0, key2: Index = 0) -> Index:
    """Slot of a live entry, or NOT_FOUND. Key words beyond the table's own must be 0."""
    slot = find_slot(tables, tid, np.uint64(key0), np.uint64(key1), np.uint64(key2))
    if slot >= 0 and newest_stamp(word(tables, slot_at(tables, tid, slot))) & 1:
        return NOT_FOUND
    return slot


@compiled
def has_room(tables: Words, tid: Index, key0: Index, key1: Index = 0, key2: Index = 0) -> bool:
    """Whether `insert` of this absent key would succeed; changes nothing."""
    at = descriptor(tid)
    if word(tables, at + COUNT) >= word(tables, at + MAX_ENTRIES):
        return False
    k0, k1, k2 = np.uint64(key0), np.uint64(key1), np.uint64(key2)
    return bool(find_slot(tables, tid, k0, k1, k2) >= 0 or free_slot(tables, tid, k0, k1, k2) >= 0)


@compiled
def insert(tables: Words, tid: Index, key0: Index, key1: Index = 0, key2: Index = 0) -> Index:
    """Slot for a key that is absent; it becomes live with `commit`. FULL (counted) or EXISTS otherwise."""
    k0, k1, k2 = np.uint64(key0), np.uint64(key1), np.uint64(key2)
    at = descriptor(tid)
    slot = find_slot(tables, tid, k0, k1, k2)
    if slot >= 0 and newest_stamp(word(tables, slot_at(tables, tid, slot))) & 1 == 0:
        return EXISTS
    if word(tables, at + COUNT) >= word(tables, at + MAX_ENTRIES):
        tables[at + REFUSED] += np.uint64(1)
        return FULL
    if slot >= 0:  # deleted while frozen: its slot comes back to life
        return slot
    slot = free_slot(tables, tid, k0, k1, k2)
    if slot < 0:
        tables[at + REFUSED] += np.uint64(1)
        return FULL
    position = slot_at(tables, tid, slot)
    key_words = word(tables, at + KEY_WORDS)
    tables[position + 1] = k0
    if key_words > 1:
        tables[position + 2] = k1
    if key_words > 2:
        tables[position + 3] = k2
    return slot


@compiled_as(types.int64(types.uint64[::1], types.int64, types.int64))
def begin_write(tables: Words, tid: Index, slot: Index) -> Index:
    """Index of the value words to write for the current generation.

    A second write in a generation goes to the same place; the first one of a generation goes to the place of the
    smaller generation and starts from a copy of the current value (zeros if there is none).
    """
    at = descriptor(tid)
    position = slot_at(tables, tid, slot)
    value_words = word(tables, at + VALUE_WORDS)
    a_at = position + 1 + word(tables, at + KEY_WORDS)
    b_at = a_at + value_words
    meta = word(tables, position)
    if meta & STATE_MASK != USED:
        for index in range(a_at, b_at):
            tables[index] = np.uint64(0)
        return a_at
    a_stamp = (meta >> A_SHIFT) & STAMP_MASK
    b_stamp = (meta >> B_SHIFT) & STAMP_MASK
    newest = max(a_stamp, b_stamp)
    current = a_at if a_stamp > b_stamp else b_at
    target = current
    if newest >> 1 != write_generation(tables):
        target = b_at if a_stamp > b_stamp else a_at
    if newest & 1:
        for index in range(value_words):
            tables[target + index] = np.uint64(0)
    elif target != current:
        for index in range(value_words):
            tables[target + index] = tables[current + index]
    return target


@compiled_as(types.void(types.uint64[::1], types.int64, types.int64))
def commit(tables: Words, tid: Index, slot: Index) -> None:
    """Publish what was written at `begin_write`'s index, in one store of the slot's meta word."""
    at = descriptor(tid)
    position = slot_at(tables, tid, slot)
    meta = word(tables, position)
    stamp = write_generation(tables) << 1
    state = meta & STATE_MASK
    if state != USED:
        if state == TOMBSTONE:
            tables[at + TOMBSTONES] -= np.uint64(1)
        tables[at + COUNT] += np.uint64(1)
        published = USED | (stamp << A_SHIFT)
    else:
        a_stamp = (meta >> A_SHIFT) & STAMP_MASK
        b_stamp = (meta >> B_SHIFT) & STAMP_MASK
        newest = max(a_stamp, b_stamp)
        if newest == stamp:
            return
        if newest & 1:
            tables[at + NULLS] -= np.uint64(1)
            tables[at + COUNT] += np.uint64(1)
        published = stamped(a_stamp, b_stamp, stamp)
    release_fence()
    tables[position] = np.uint64(published)


@compiled
def capacity(tables: Words, tid: Index) -> Index:
    """Number of slots."""
    return word(tables, descriptor(tid) + CAPACITY)


@compiled
def count(tables: Words, tid: Index) -> Index:
    """Number of live entries."""
    return word(tables, descriptor(tid) + COUNT)


@compiled
def refused(tables: Words, tid: Index) -> Index:
    """Insertions refused because the table was full."""
    return word(tables, descriptor(tid) + REFUSED)
