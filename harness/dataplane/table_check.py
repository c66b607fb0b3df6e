"""Looking at tables from outside the packet path: their contents, a digest of them, and whether they are sound."""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt

from harness.dataplane import table_layout as layout
from harness.dataplane.table_layout import Words, capacity_of, table_specs
from harness.dataplane.table_slot import descriptor, find_slot

Records = list[tuple[int, ...]]


def _slots(tables: Words, tid: int) -> Words:
    """The slots of a table: shape (capacity, words per slot)."""
    at = int(descriptor(tid))
    base, slots, slot_words = (int(tables[at + i]) for i in (layout.BASE, layout.CAPACITY, layout.SLOT_WORDS))
    return tables[base : base + slots * slot_words].reshape(slots, slot_words)


def _stamps(meta: Words) -> tuple[Words, Words]:
    mask = np.uint64(layout.STAMP_MASK)
    return (meta >> np.uint64(layout.A_SHIFT)) & mask, (meta >> np.uint64(layout.B_SHIFT)) & mask


def live_records(tables: Words, tid: int) -> Words:
    """Current key and value words of every live entry, sorted: shape (entries, key words + value words)."""
    spec = table_specs(tables)[tid]
    slots = _slots(tables, tid)
    slots = slots[slots[:, 0] & np.uint64(layout.STATE_MASK) == layout.USED]
    a_stamp, b_stamp = _stamps(slots[:, 0])
    live = np.maximum(a_stamp, b_stamp) & np.uint64(1) == 0
    slots, a_newest = slots[live], (a_stamp > b_stamp)[live]
    keys = slots[:, 1 : 1 + spec.key_words]
    a = slots[:, 1 + spec.key_words :][:, : spec.value_words]
    b = slots[:, 1 + spec.key_words + spec.value_words :]
    records: Words = np.hstack([keys, np.where(a_newest[:, None], a, b)])
    order: npt.NDArray[np.intp] = np.lexsort(records.T[::-1])
    return records[order]


def dump(tables: Words) -> dict[str, Records]:
    """The live state: per table name its sorted records, each the key words followed by the value words."""
    return {
        spec.name: [tuple(record) for record in live_records(tables, tid).tolist()]
        for tid, spec in enumerate(table_specs(tables))
    }


def digest(tables: Words) -> str:
    """SHA-256 over the live state; equal for equal `dump`s."""
    state = hashlib.sha256()
    for tid, spec in enumerate(table_specs(tables)):
        records = live_records(tables, tid)
        state.update(f"{spec.name}:{records.shape[0]}:{records.shape[1]};".encode())
        state.update(records.astype("<u8").tobytes())
    return state.hexdigest()


def check(tables: Words) -> list[str]:
    """What is wrong with the structure of the tables, one line per fault; [] if they are sound."""
    if tables.size < layout.DESCRIPTORS_AT or int(tables[layout.MAGIC_AT]) != layout.MAGIC:
        return ["header: not an arena"]
    number = int(tables[layout.TABLES_AT])
    if not 1 <= number <= layout.TABLES_MAX or int(tables[layout.WORDS_AT]) != tables.size:
        return ["header: number of tables or size is wrong"]
    errors: list[str] = []
    expected_base = layout.DESCRIPTORS_AT + layout.DESCRIPTOR_WORDS * number
    for tid, spec in enumerate(table_specs(tables)):
        at = int(descriptor(tid))
        slot_words = 1 + spec.key_words + 2 * spec.value_words
        slots = capacity_of(spec.max_entries) if 1 <= spec.max_entries <= layout.ENTRIES_MAX else 0
        found = [int(tables[at + index]) for index in (layout.BASE, layout.CAPACITY, layout.SLOT_WORDS)]
        if found != [expected_base, slots, slot_words]:
            errors.append(f"{spec.name}: base, capacity, slot words are {found}")
            return errors
        expected_base = (expected_base + slots * slot_words + 7) & ~7
        errors += [f"{spec.name}: {fault}" for fault in _check_table(tables, tid, spec.key_words)]
    if expected_base != tables.size:
        errors.append("header: tables do not fill the arena")
    return errors


def _check_table(tables: Words, tid: int, key_words: int) -> list[str]:
    errors = []
    at = int(descriptor(tid))
    slots = _slots(tables, tid)
    meta = slots[:, 0]
    state = meta & np.uint64(layout.STATE_MASK)
    a_stamp, b_stamp = _stamps(meta)
    newest = np.maximum(a_stamp, b_stamp)
    used = state == layout.USED
    nulls = used & (newest & np.uint64(1) == 1)
    highest = np.uint64((int(tables[layout.EPOCH_AT]) + 1) >> 1)
    if np.any(state > layout.TOMBSTONE) or np.any(meta[~used] > layout.TOMBSTONE):
        errors.append("a slot has an unknown state")
    if np.any(used & (a_stamp >> np.uint64(1) == b_stamp >> np.uint64(1))) or np.any(used & (newest == 0)):
        errors.append("a used slot has no newest value")
    if np.any(used & (newest >> np.uint64(1) > highest)):
        errors.append("a value is from a future generation")
    for name, index, actual in (
        ("count", layout.COUNT, int(np.sum(used & ~nulls))),
        ("nulls", layout.NULLS, int(np.sum(nulls))),
        ("tombstones", layout.TOMBSTONES, int(np.sum(state == layout.TOMBSTONE))),
    ):
        if int(tables[at + index]) != actual:
            errors.append(f"{name} says {int(tables[at + index])}, {actual} found")
    if int(tables[at + layout.COUNT]) > int(tables[at + layout.MAX_ENTRIES]):
        errors.append("more entries than allowed")
    for slot in np.flatnonzero(used).tolist():
        keys = [slots[slot, 1 + i] if i < key_words else np.uint64(0) for i in range(layout.KEY_WORDS_MAX)]
        if find_slot(tables, tid, *keys) != slot:
            errors.append(f"slot {slot} is not found by its key")
    return errors
