"""The state of an instance as a snapshot sees it: reading the frozen tables, loading them, forgetting them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from harness.dataplane.table import TableSpec, freeze_all, make_arena, unfreeze_all
from harness.dataplane.table_check import live_records
from harness.dataplane.table_layout import (
    BASE,
    COUNT,
    DESCRIPTOR_WORDS,
    DESCRIPTORS_AT,
    FULL,
    NOT_FROZEN,
    NULLS,
    REAP_CURSOR,
    REFUSED,
    TOMBSTONES,
    table_specs,
)
from harness.dataplane.table_snapshot import load_records, read_frozen
from harness.errors import HarnessError, ProtocolError
from harness.migration.snapshot import WORD_BYTES, TableDescription

_READ_BYTES = 1 << 16


class InstanceState:
    """Wraps an instance's tables; made before the first packet, while they are as the image left them."""

    def __init__(self, tables: Any) -> None:
        _load_compiled_code()
        self._tables = tables
        self._slots_at = int(tables[DESCRIPTORS_AT + BASE])
        self._pristine = tables[: self._slots_at].copy()
        self._initial = tuple(live_records(tables, tid).copy() for tid in range(len(table_specs(tables))))
        self.descriptions = tuple(
            TableDescription(name=spec.name, key_words=spec.key_words, value_words=spec.value_words)
            for spec in table_specs(tables)
        )

    def read_frozen(self) -> Iterator[tuple[int, int, memoryview]]:
        """Chunks of the frozen state: (table, records, their words as bytes). Valid until the next chunk is asked for.

        Raises HarnessError where the tables are not frozen.
        """
        words = np.empty(_READ_BYTES // WORD_BYTES, np.uint64)
        for table, description in enumerate(self.descriptions):
            cursor = 0
            while cursor >= 0:
                records, cursor = (int(value) for value in read_frozen(self._tables, table, cursor, words))
                if records == NOT_FROZEN:
                    raise HarnessError("snapshot: the tables were unfrozen while they were read")
                if records:
                    used = words[: records * description.record_bytes // WORD_BYTES].astype("<u8", copy=False)
                    yield table, records, memoryview(used.data).cast("B")

    def load(self, table: int, words: memoryview, count: int) -> None:
        """Insert `count` records. Raises ProtocolError; the state is then to be reset."""
        if count == 0:
            return
        array = np.frombuffer(words, "<u8").astype(np.uint64)
        error = int(load_records(self._tables, table, array, count))
        if error:
            name = self.descriptions[table].name
            cause = "is full" if error == FULL else f"refuses a record of the snapshot (error {error})"
            raise ProtocolError(f"table {name} of the destination {cause}")

    def clear(self) -> None:
        """No entries at all, as a snapshot is loaded into. Only while the engine does not touch the tables."""
        self._tables[self._slots_at :] = 0
        self._tables[: self._slots_at] = self._pristine
        for table in range(len(self.descriptions)):
            at = DESCRIPTORS_AT + DESCRIPTOR_WORDS * table
            for counter in (COUNT, NULLS, TOMBSTONES, REFUSED, REAP_CURSOR):
                self._tables[at + counter] = 0

    def reset(self) -> None:
        """The entries the image started with. Only while the engine does not touch the tables."""
        self.clear()
        for table, records in enumerate(self._initial):
            if records.size:
                self.load(table, memoryview(records.astype("<u8").data).cast("B"), int(records.shape[0]))

    def write_frozen(self, path: Path) -> dict[str, int]:
        """Write the frozen records, sorted, as npz: one array uint64[entries, key and value words] per table.

        Returns the entries by table. Raises HarnessError where the tables are not frozen or the file cannot be written.
        """
        parts: list[list[Any]] = [[] for _ in self.descriptions]
        for table, count, words in self.read_frozen():
            parts[table].append(np.frombuffer(words, "<u8").astype(np.uint64).reshape(count, -1))
        arrays = {
            description.name: _sorted(description, found)
            for description, found in zip(self.descriptions, parts, strict=True)
        }
        partial = path.with_name(f"{path.name}.partial")  # half a state is none
        try:
            with partial.open("wb") as file:
                np.savez(file, **arrays)
            partial.replace(path)
        except OSError as error:
            partial.unlink(missing_ok=True)
            raise HarnessError(f"cannot write the state to {path}: {error.strerror}") from error
        return {name: int(array.shape[0]) for name, array in arrays.items()}


def _load_compiled_code() -> None:
    """Compile what a snapshot needs, or load it from the cache: a migration must not wait for the compiler."""
    tables = make_arena([TableSpec("none", 1, 1, 1)])
    words = np.zeros(2, np.uint64)
    freeze_all(tables)
    read_frozen(tables, 0, 0, words)
    unfreeze_all(tables)
    load_records(tables, 0, words, 1)


def _sorted(description: TableDescription, parts: list[Any]) -> Any:
    width = description.key_words + description.value_words
    records = np.vstack([np.empty((0, width), np.uint64), *parts])
    return records[np.lexsort(records.T[::-1])]
