"""Reading the frozen state while the dataplane goes on writing, and loading it into another instance's tables."""

from __future__ import annotations

import numpy as np

from harness.dataplane.fence import acquire_fence
from harness.dataplane.jit import compiled
from harness.dataplane.table import begin_write, commit, insert
from harness.dataplane.table_layout import (
    A_SHIFT,
    BASE,
    CAPACITY,
    EPOCH_AT,
    KEY_WORDS,
    MALFORMED,
    NOT_FROZEN,
    SLOT_WORDS,
    STAMP_MASK,
    STATE_MASK,
    TABLES_AT,
    USED,
    VALUE_WORDS,
    Index,
    Words,
)
from harness.dataplane.table_slot import descriptor, frozen_stamp, word


@compiled
def record_words(tables: Words, tid: Index) -> Index:
    """Words of one snapshot record: key words, then value words."""
    at = descriptor(tid)
    return word(tables, at + KEY_WORDS) + word(tables, at + VALUE_WORDS)


@compiled
def read_frozen(tables: Words, tid: Index, cursor: Index, out_words: Words) -> tuple[Index, Index]:
    """Copy records of the frozen state into `out_words`, as many as fit, from slot `cursor` on (start with 0).

    Returns (records, next cursor); the table is done when the next cursor is -1. (NOT_FROZEN, cursor) if the tables are
    not frozen or were unfrozen meanwhile. Runs on any thread; takes no lock (paper section VI-B).
    """
    epoch = word(tables, EPOCH_AT)
    if epoch & 1 == 0:
        return np.int64(NOT_FROZEN), np.int64(cursor)
    acquire_fence()
    generation_t = epoch >> 1
    at = descriptor(tid)
    base = word(tables, at + BASE)
    slots = word(tables, at + CAPACITY)
    slot_words = word(tables, at + SLOT_WORDS)
    key_words = word(tables, at + KEY_WORDS)
    value_words = word(tables, at + VALUE_WORDS)
    room = out_words.size // (key_words + value_words)
    records = np.int64(0)
    slot = np.int64(max(cursor, 0))
    written = 0
    while slot < slots and records < room:
        position = base + slot * slot_words
        meta = word(tables, position)
        acquire_fence()
        stamp = frozen_stamp(meta, generation_t)
        if meta & STATE_MASK == USED and stamp & 1 == 0:
            for index in range(key_words):
                out_words[written + index] = tables[position + 1 + index]
            written += key_words
            value_index = position + 1 + key_words
            if (meta >> A_SHIFT) & STAMP_MASK != stamp:
                value_index += value_words
            for index in range(value_words):
                out_words[written + index] = tables[value_index + index]
            written += value_words
            records += 1
        slot += 1
    acquire_fence()
    if word(tables, EPOCH_AT) != epoch:
        return np.int64(NOT_FROZEN), np.int64(cursor)
    return records, slot if slot < slots else np.int64(-1)


@compiled
def load_records(tables: Words, tid: Index, words: Words, records: Index) -> Index:
    """Insert `records` snapshot records; 0, or MALFORMED (table or count), EXISTS (duplicate key), FULL.

    Stops at the first bad record; the ones before it stay, so that an instance which got an error is to be discarded.
    """
    if tid < 0 or tid >= word(tables, TABLES_AT) or records < 0:
        return np.int64(MALFORMED)
    at = descriptor(tid)
    key_words = word(tables, at + KEY_WORDS)
    value_words = word(tables, at + VALUE_WORDS)
    size = key_words + value_words
    if records > words.size // size:
        return np.int64(MALFORMED)
    read = np.int64(0)
    for _ in range(records):
        key1 = np.uint64(0)
        key2 = np.uint64(0)
        if key_words > 1:
            key1 = words[read + 1]
        if key_words > 2:
            key2 = words[read + 2]
        slot = insert(tables, tid, words[read], key1, key2)
        if slot < 0:
            return slot
        target = begin_write(tables, tid, slot)
        for index in range(value_words):
            tables[target + index] = words[read + key_words + index]
        commit(tables, tid, slot)
        read += size
    return np.int64(0)
