"""Slots of the tables: hashing, probing, and which of an entry's two values counts. Everything here only reads."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import numpy as np
from numba import types

from harness.dataplane.jit import JIT_DISABLED, compiled_as
from harness.dataplane.table_layout import (
    A_SHIFT,
    B_SHIFT,
    BASE,
    CAPACITY,
    DESCRIPTOR_WORDS,
    DESCRIPTORS_AT,
    EMPTY,
    EPOCH_AT,
    FULL,
    KEY_WORDS,
    NOT_FOUND,
    PROBE_MAX,
    SEED_AT,
    SLOT_WORDS,
    STAMP_MASK,
    STATE_MASK,
    USED,
    VALUE_WORDS,
    Index,
    Words,
)

_MIX_A = np.uint64(0x9E3779B97F4A7C15)
_MIX_B = np.uint64(0xBF58476D1CE4E5B9)
_MIX_C = np.uint64(0x94D049BB133111EB)
_SHIFT = np.uint64(32)


def _wrapping(function: Callable[..., Any]) -> Callable[..., Any]:
    """Uncompiled, NumPy warns of the overflow that the multiplications of a hash are there for."""

    @wraps(function)
    def quiet(*arguments: Any) -> Any:
        with np.errstate(over="ignore"):
            return function(*arguments)

    return quiet


def _hash(seed: np.uint64, key_words: Index, key0: np.uint64, key1: np.uint64, key2: np.uint64) -> Index:
    """31-bit hash; multiply and fold as in splitmix64, once per key word and once more."""
    mixed = (key0 ^ seed) * _MIX_A
    mixed ^= mixed >> _SHIFT
    if key_words > 1:
        mixed = (mixed ^ key1) * _MIX_B
        mixed ^= mixed >> _SHIFT
    if key_words > 2:
        mixed = (mixed ^ key2) * _MIX_B
        mixed ^= mixed >> _SHIFT
    return np.int64((mixed * _MIX_C) >> np.uint64(33))


hash_key = (
    _wrapping(_hash)
    if JIT_DISABLED
    else compiled_as(types.int64(types.uint64, types.int64, types.uint64, types.uint64, types.uint64))(_hash)
)


@compiled_as(types.int64(types.int64))
def descriptor(tid: Index) -> Index:
    """Index of the first descriptor word of table `tid`."""
    return DESCRIPTORS_AT + DESCRIPTOR_WORDS * tid


@compiled_as(types.int64(types.uint64[::1], types.int64))
def word(tables: Words, index: Index) -> Index:
    """A word as a signed integer: mixed with int64, a uint64 would turn into a float."""
    return np.int64(tables[index])


@compiled_as(types.int64(types.uint64[::1], types.int64, types.int64))
def slot_at(tables: Words, tid: Index, slot: Index) -> Index:
    """Index of the first word of a slot."""
    at = descriptor(tid)
    return word(tables, at + BASE) + slot * word(tables, at + SLOT_WORDS)


@compiled_as(types.int64(types.int64))
def newest_stamp(meta: Index) -> Index:
    """Stamp of the current value of a used slot: the higher generation wins; both are never equal."""
    return max((meta >> A_SHIFT) & STAMP_MASK, (meta >> B_SHIFT) & STAMP_MASK)


@compiled_as(types.int64(types.uint64[::1]))
def write_generation(tables: Words) -> Index:
    """The paper's m: t + 1 while frozen, otherwise t."""
    return (word(tables, EPOCH_AT) + 1) >> 1


@compiled_as(types.boolean(types.uint64[::1], types.int64, types.int64, types.uint64, types.uint64, types.uint64))
def same_key(tables: Words, at: Index, key_words: Index, key0: np.uint64, key1: np.uint64, key2: np.uint64) -> bool:
    """Whether the slot that starts at word `at` has this key."""
    if tables[at + 1] != key0:
        return False
    if key_words > 1 and tables[at + 2] != key1:
        return False
    return bool(key_words <= 2 or tables[at + 3] == key2)


@compiled_as(types.int64(types.uint64[::1], types.int64, types.uint64, types.uint64, types.uint64))
def find_slot(tables: Words, tid: Index, key0: np.uint64, key1: np.uint64, key2: np.uint64) -> Index:
    """Slot that holds the key, whether its current value is null or not, or NOT_FOUND."""
    at = descriptor(tid)
    base = word(tables, at + BASE)
    mask = word(tables, at + CAPACITY) - 1
    key_words = word(tables, at + KEY_WORDS)
    slot_words = word(tables, at + SLOT_WORDS)
    slot = hash_key(tables[SEED_AT], key_words, key0, key1, key2) & mask
    for _ in range(min(PROBE_MAX, mask + 1)):
        position = base + slot * slot_words
        state = word(tables, position) & STATE_MASK
        if state == EMPTY:
            return NOT_FOUND
        if state == USED and same_key(tables, position, key_words, key0, key1, key2):
            return slot
        slot = (slot + 1) & mask
    return NOT_FOUND


@compiled_as(types.int64(types.uint64[::1], types.int64, types.uint64, types.uint64, types.uint64))
def free_slot(tables: Words, tid: Index, key0: np.uint64, key1: np.uint64, key2: np.uint64) -> Index:
    """First slot within the longest probe that is not in use, or FULL."""
    at = descriptor(tid)
    base = word(tables, at + BASE)
    mask = word(tables, at + CAPACITY) - 1
    key_words = word(tables, at + KEY_WORDS)
    slot_words = word(tables, at + SLOT_WORDS)
    slot = hash_key(tables[SEED_AT], key_words, key0, key1, key2) & mask
    for _ in range(min(PROBE_MAX, mask + 1)):
        if word(tables, base + slot * slot_words) & STATE_MASK != USED:
            return slot
        slot = (slot + 1) & mask
    return FULL


@compiled_as(types.int64(types.int64, types.int64, types.int64))
def stamped(a_stamp: Index, b_stamp: Index, stamp: Index) -> Index:
    """Meta word of a used slot after a write with `stamp`: same generation, same place; otherwise the smaller one."""
    a_is_newest = a_stamp > b_stamp
    same_generation = max(a_stamp, b_stamp) >> 1 == stamp >> 1
    if a_is_newest == same_generation:
        return USED | (stamp << A_SHIFT) | (b_stamp << B_SHIFT)
    return USED | (a_stamp << A_SHIFT) | (stamp << B_SHIFT)


@compiled_as(types.int64(types.int64, types.int64))
def frozen_stamp(meta: Index, generation_t: Index) -> Index:
    """Stamp of the value with the highest generation not above t; 1 (null in generation 0) if there is none."""
    a_stamp = (meta >> A_SHIFT) & STAMP_MASK
    b_stamp = (meta >> B_SHIFT) & STAMP_MASK
    best = np.int64(1)
    if a_stamp >> 1 <= generation_t and a_stamp > best:
        best = a_stamp
    if b_stamp >> 1 <= generation_t and b_stamp > best:
        best = b_stamp
    return best


@compiled_as(types.boolean(types.uint64[::1], types.int64, types.int64))
def is_live(tables: Words, tid: Index, slot: Index) -> bool:
    """Whether the slot holds an entry with a current value."""
    meta = word(tables, slot_at(tables, tid, slot))
    return bool(meta & STATE_MASK == USED and newest_stamp(meta) & 1 == 0)


@compiled_as(types.int64(types.uint64[::1], types.int64, types.int64))
def home_slot(tables: Words, tid: Index, slot: Index) -> Index:
    """Slot where the probe for this slot's key starts: the same in every instance with the same specs and seed."""
    at = descriptor(tid)
    position = slot_at(tables, tid, slot)
    key_words = word(tables, at + KEY_WORDS)
    key1 = np.uint64(0)
    key2 = np.uint64(0)
    if key_words > 1:
        key1 = tables[position + 2]
    if key_words > 2:
        key2 = tables[position + 3]
    return hash_key(tables[SEED_AT], key_words, tables[position + 1], key1, key2) & (word(tables, at + CAPACITY) - 1)


@compiled_as(types.int64(types.uint64[::1], types.int64, types.int64))
def slot_state(tables: Words, tid: Index, slot: Index) -> Index:
    """EMPTY, USED or TOMBSTONE."""
    return word(tables, slot_at(tables, tid, slot)) & STATE_MASK


@compiled_as(types.int64(types.uint64[::1], types.int64, types.int64, types.int64))
def key(tables: Words, tid: Index, slot: Index, index: Index) -> Index:
    """Key word `index` of a slot, as a signed integer."""
    return word(tables, slot_at(tables, tid, slot) + 1 + index)


@compiled_as(types.int64(types.uint64[::1], types.int64, types.int64))
def value_at(tables: Words, tid: Index, slot: Index) -> Index:
    """Index of the first word of a live entry's current value."""
    at = descriptor(tid)
    position = slot_at(tables, tid, slot)
    meta = word(tables, position)
    value_index = position + 1 + word(tables, at + KEY_WORDS)
    if (meta >> A_SHIFT) & STAMP_MASK < (meta >> B_SHIFT) & STAMP_MASK:
        value_index += word(tables, at + VALUE_WORDS)
    return value_index


@compiled_as(types.int64(types.uint64[::1], types.int64, types.int64, types.int64))
def value(tables: Words, tid: Index, slot: Index, index: Index) -> Index:
    """Value word `index` of a live entry, as a signed integer."""
    return word(tables, value_at(tables, tid, slot) + index)
