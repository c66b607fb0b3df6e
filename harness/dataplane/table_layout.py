"""Layout of an instance's state: one array of 64-bit words that holds every table, and nothing outside it.

    header | configuration words | one descriptor per table | slots of table 0 | slots of table 1 | ...

A slot is `meta, key words, value a, value b`. The paper's `key => (a, gen_a, b, gen_b)` (section VI-B) keeps both
generations and the slot's state in the one word `meta`, so that a single store publishes a change to the thread which
reads the frozen state:

    bits 0-1   state: EMPTY, USED or TOMBSTONE
    bits 2-32  stamp of value a: generation * 2 + (1 if the value is null), 0 = never written
    bits 33-63 stamp of value b

The paper's table-wide generation t and its frozen flag are one number, the epoch = 2 t + frozen, shared by all tables:
freezing is one store, whatever the number of tables, and no table can be frozen before another.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Words = npt.NDArray[np.uint64]
Index = Any
"""An integer: a Python int uncompiled, an int64 once compiled."""

MAGIC = 0x534C494D_54424C31

# Header words.
MAGIC_AT = 0
TABLES_AT = 1
EPOCH_AT = 2
SEED_AT = 3
WORDS_AT = 4
CONFIG_AT = 8
CONFIG_WORDS = 56
DESCRIPTORS_AT = CONFIG_AT + CONFIG_WORDS

# Words of a descriptor.
DESCRIPTOR_WORDS = 16
BASE = 0
CAPACITY = 1
MAX_ENTRIES = 2
KEY_WORDS = 3
VALUE_WORDS = 4
SLOT_WORDS = 5
COUNT = 6
NULLS = 7
TOMBSTONES = 8
REFUSED = 9
REAP_CURSOR = 10
NAME = 12
NAME_BYTES = 32

# Slot meta word.
STATE_MASK = 3
EMPTY = 0
USED = 1
TOMBSTONE = 2
A_SHIFT = 2
B_SHIFT = 33
STAMP_MASK = (1 << 31) - 1
GENERATION_MAX = (1 << 29) - 1

TABLES_MAX = 16
KEY_WORDS_MAX = 3
VALUE_WORDS_MAX = 16
ENTRIES_MAX = 1 << 24
PROBE_MAX = 256
"""Longest probe. At the highest load of live entries, one half, a longer run has a probability of e**-49."""

# Error codes (negative, so that they never look like a slot).
NOT_FOUND = -1
FULL = -2
EXISTS = -3
NOT_FROZEN = -4
FROZEN = -5
MALFORMED = -6


@dataclass(frozen=True)
class TableSpec:
    """One table: at most `max_entries` live entries of `key_words` (1 .. 3) and `value_words` (1 .. 16) words."""

    name: str
    key_words: int
    value_words: int
    max_entries: int


def _validate(specs: Sequence[TableSpec]) -> None:
    if not 1 <= len(specs) <= TABLES_MAX:
        raise ValueError(f"an arena holds 1 to {TABLES_MAX} tables, not {len(specs)}")
    if len({spec.name for spec in specs}) != len(specs):
        raise ValueError("two tables have the same name")
    for spec in specs:
        if not spec.name.isascii() or not 1 <= len(spec.name) <= NAME_BYTES:
            raise ValueError(f"table name {spec.name!r}: 1 to {NAME_BYTES} ASCII characters")
        if not 1 <= spec.key_words <= KEY_WORDS_MAX:
            raise ValueError(f"table {spec.name}: key_words must be 1 to {KEY_WORDS_MAX}, not {spec.key_words}")
        if not 1 <= spec.value_words <= VALUE_WORDS_MAX:
            raise ValueError(f"table {spec.name}: value_words must be 1 to {VALUE_WORDS_MAX}, not {spec.value_words}")
        if not 1 <= spec.max_entries <= ENTRIES_MAX:
            raise ValueError(f"table {spec.name}: max_entries must be 1 to {ENTRIES_MAX}, not {spec.max_entries}")


def capacity_of(max_entries: int) -> int:
    """Slots for `max_entries` live entries: a power of two, at most half of it in use."""
    return max(8, 1 << (2 * max_entries - 1).bit_length())


def make_arena(specs: Sequence[TableSpec], seed: int = 0) -> Words:
    """Empty tables, every page of them touched, so that the packet path takes no page fault.

    `seed` (64 bits) goes into the hash: a peer that does not know it cannot choose keys that collide.

    Raises:
        ValueError: a specification is out of bounds.
    """
    _validate(specs)
    slots_at = DESCRIPTORS_AT + DESCRIPTOR_WORDS * len(specs)
    bases: list[int] = []
    for spec in specs:
        bases.append(slots_at)
        slots_at += capacity_of(spec.max_entries) * (1 + spec.key_words + 2 * spec.value_words)
        slots_at = (slots_at + 7) & ~7
    tables: Words = np.full(slots_at, 0, dtype=np.uint64)
    tables[MAGIC_AT] = MAGIC
    tables[TABLES_AT] = len(specs)
    tables[EPOCH_AT] = 2
    tables[SEED_AT] = np.uint64(seed & 0xFFFF_FFFF_FFFF_FFFF)
    tables[WORDS_AT] = slots_at
    for tid, (spec, base) in enumerate(zip(specs, bases, strict=True)):
        at = DESCRIPTORS_AT + DESCRIPTOR_WORDS * tid
        tables[at + BASE] = base
        tables[at + CAPACITY] = capacity_of(spec.max_entries)
        tables[at + MAX_ENTRIES] = spec.max_entries
        tables[at + KEY_WORDS] = spec.key_words
        tables[at + VALUE_WORDS] = spec.value_words
        tables[at + SLOT_WORDS] = 1 + spec.key_words + 2 * spec.value_words
        name = np.frombuffer(spec.name.encode().ljust(NAME_BYTES, b"\0"), dtype="<u8")
        tables[at + NAME : at + NAME + len(name)] = name
    return tables


def table_specs(tables: Words) -> list[TableSpec]:
    """The specifications an arena was made from, in table number order."""
    specs = []
    for tid in range(int(tables[TABLES_AT])):
        words = tables[DESCRIPTORS_AT + DESCRIPTOR_WORDS * tid :][:DESCRIPTOR_WORDS]
        name = words[NAME : NAME + NAME_BYTES // 8].astype("<u8").tobytes().rstrip(b"\0").decode("ascii")
        specs.append(TableSpec(name, int(words[KEY_WORDS]), int(words[VALUE_WORDS]), int(words[MAX_ENTRIES])))
    return specs
