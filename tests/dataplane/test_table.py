"""Two-generation tables against a dict, which keeps a copy where the tables keep a generation."""

from __future__ import annotations

import random
import threading
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.dataplane.table import (
    EXISTS,
    FROZEN,
    FULL,
    NOT_FOUND,
    NOT_FROZEN,
    TableSpec,
    Words,
    begin_write,
    commit,
    count,
    erase,
    find,
    freeze_all,
    has_room,
    insert,
    make_arena,
    reap,
    refused,
    unfreeze_all,
    value,
)
from harness.dataplane.table_check import check, digest, dump
from harness.dataplane.table_layout import MALFORMED, capacity_of
from harness.dataplane.table_snapshot import load_records, read_frozen, record_words


def put(tables: Words, tid: int, keys: tuple[int, ...], values: tuple[int, ...]) -> int:
    words = [np.uint64(key) for key in keys]
    slot = int(find(tables, tid, *words))
    if slot < 0:
        slot = int(insert(tables, tid, *words))
    if slot >= 0:
        at = begin_write(tables, tid, slot)
        for index, number in enumerate(values):
            tables[at + index] = number
        commit(tables, tid, slot)
    return slot


def frozen_records(tables: Words, tid: int, room_words: int = 64) -> list[tuple[int, ...]]:
    """All records of the frozen state, read in pieces of `room_words`."""
    size = int(record_words(tables, tid))
    out = np.zeros(max(room_words, size), dtype=np.uint64)
    records: list[tuple[int, ...]] = []
    cursor = 0
    while cursor >= 0:
        read, cursor = (int(number) for number in read_frozen(tables, tid, cursor, out))
        assert read >= 0
        records += [tuple(record) for record in out[: read * size].reshape(read, size).tolist()]
    return sorted(records)


OPERATION = st.tuples(
    st.sampled_from(["put", "put", "put", "erase", "erase", "freeze", "unfreeze", "reap"]),
    st.integers(0, 23),
    st.integers(0, 2**64 - 1),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(OPERATION, max_size=120), st.sampled_from([1, 2, 3]), st.integers(0, 2**64 - 1))
def test_any_sequence_agrees_with_a_dict_and_its_copy(
    operations: list[tuple[str, int, int]], key_words: int, seed: int
) -> None:
    tables = make_arena([TableSpec("other", 1, 1, 4), TableSpec("main", key_words, 2, 12)], seed=seed)
    live: dict[tuple[int, ...], tuple[int, int]] = {}
    frozen: dict[tuple[int, ...], tuple[int, int]] | None = None
    for name, key, number in operations:
        keys = (key, key * 3, key * 7)[:key_words]
        if name == "put":
            slot = put(tables, 1, keys, (number, number // 3))
            if keys in live or len(live) < 12:
                if slot == FULL:  # only possible while frozen: deleted entries still hold their slots
                    assert frozen is not None
                    continue
                live[keys] = (number, number // 3)
            else:
                assert slot == FULL
        elif name == "erase":
            slot = int(find(tables, 1, *keys))
            assert (slot >= 0) == (keys in live)
            if slot >= 0:
                erase(tables, 1, slot)
                del live[keys]
        elif name == "freeze":
            assert freeze_all(tables) == (0 if frozen is None else FROZEN)
            frozen = dict(live) if frozen is None else frozen
        elif name == "unfreeze":
            assert unfreeze_all(tables) == (NOT_FROZEN if frozen is None else 0)
            frozen = None
        else:
            looked_at = reap(tables, number % 9)
            assert looked_at <= number % 9
            assert frozen is None or looked_at == 0
        assert count(tables, 1) == len(live)
        if frozen is not None:
            assert frozen_records(tables, 1, 10) == sorted(keys + values for keys, values in frozen.items())
    assert dump(tables)["main"] == sorted(keys + values for keys, values in live.items())
    assert check(tables) == []
    if frozen is not None:
        unfreeze_all(tables)
    while reap(tables, 5):
        pass
    assert check(tables) == []
    assert len(dump(tables)["main"]) == len(live)


def test_snapshot_taken_while_another_thread_writes_is_the_state_at_the_freeze() -> None:
    entries = 3000
    tables = make_arena([TableSpec("main", 1, 4, 2 * entries)])
    rng = random.Random(4)
    for key in range(entries):
        put(tables, 0, (key,), (key, key, key, key))
    for _ in range(3):
        expected = dump(tables)["main"]
        assert freeze_all(tables) == 0
        records: list[tuple[int, ...]] = []
        reader = threading.Thread(target=lambda out=records: out.extend(frozen_records(tables, 0, 50)))
        reader.start()
        writes = 0
        while reader.is_alive() or writes < 2000:
            writes += 1
            key, number = rng.randrange(2 * entries), rng.randrange(2**63)
            slot = find(tables, 0, key)
            if slot >= 0 and rng.random() < 0.5:
                erase(tables, 0, slot)
            else:
                put(tables, 0, (key,), (number, number, number, number))
        reader.join()
        assert records == expected
        assert dump(tables)["main"] != expected
        assert unfreeze_all(tables) == 0
        while reap(tables, 1000):
            pass
        assert check(tables) == []


def test_records_read_from_one_instance_make_the_same_state_in_another() -> None:
    specs = [TableSpec("first", 2, 3, 300), TableSpec("second", 1, 1, 10)]
    source, destination = make_arena(specs, seed=1), make_arena(specs, seed=2)
    for key in range(300):
        put(source, 0, (key, 2**64 - 1 - key), (key, 2**63 + key, 5))
    put(source, 1, (9,), (1,))
    freeze_all(source)
    put(source, 0, (0, 2**64 - 1), (77, 77, 77))
    for tid in range(2):
        records = frozen_records(source, tid)
        words = np.array(records, dtype=np.uint64).reshape(-1)
        assert load_records(destination, tid, words, len(records)) == 0
    assert digest(destination) != digest(source)
    put(destination, 0, (0, 2**64 - 1), (77, 77, 77))
    assert digest(destination) == digest(source)
    assert dump(destination) == dump(source)


def test_full_table_refuses_and_counts() -> None:
    tables = make_arena([TableSpec("main", 1, 1, 3)])
    assert [put(tables, 0, (key,), (key,)) >= 0 for key in range(5)] == [True, True, True, False, False]
    assert refused(tables, 0) == 2
    assert not has_room(tables, 0, 3)
    assert insert(tables, 0, 1) == EXISTS
    assert put(tables, 0, (1,), (9,)) >= 0
    erase(tables, 0, find(tables, 0, 0))
    assert has_room(tables, 0, 3)
    assert put(tables, 0, (3,), (3,)) >= 0
    assert dump(tables) == {"main": [(1, 9), (2, 2), (3, 3)]}


def test_deleted_while_frozen_stays_until_reaped_in_bounded_steps() -> None:
    tables = make_arena([TableSpec("main", 1, 1, 100)])
    for key in range(100):
        put(tables, 0, (key,), (key,))
    freeze_all(tables)
    for key in range(0, 100, 2):
        erase(tables, 0, find(tables, 0, key))
    assert find(tables, 0, 0) == NOT_FOUND
    assert len(frozen_records(tables, 0)) == 100
    unfreeze_all(tables)
    assert reap(tables, 3) == 3
    assert count(tables, 0) == 50
    steps = 0
    while reap(tables, 10):
        steps += 1
    assert 10 < steps <= capacity_of(100) // 10 + 1
    assert check(tables) == []


def test_churn_at_the_highest_load_is_never_refused() -> None:
    entries = 2048
    tables = make_arena([TableSpec("main", 1, 1, entries)])
    keys = list(range(entries))
    for key in keys:
        assert put(tables, 0, (key,), (key,)) >= 0
    rng = random.Random(5)
    for number in range(entries, 20 * entries):
        index = rng.randrange(entries)
        erase(tables, 0, find(tables, 0, keys[index]))
        keys[index] = number
        assert put(tables, 0, (number,), (number,)) >= 0
    assert check(tables) == []
    assert dump(tables)["main"] == [(key, key) for key in sorted(keys)]


def test_freezing_a_large_table_takes_less_than_a_millisecond() -> None:
    tables = make_arena([TableSpec("main", 1, 4, 100_000)])
    warm = make_arena([TableSpec("main", 1, 4, 1)])
    freeze_all(warm), unfreeze_all(warm)
    words = np.arange(500_000, dtype=np.uint64)
    assert load_records(tables, 0, words, 100_000) == 0
    pauses_ns = []
    for _ in range(9):
        started_ns = time.perf_counter_ns()
        freeze_all(tables)
        pauses_ns.append(time.perf_counter_ns() - started_ns)
        unfreeze_all(tables)
    assert sorted(pauses_ns)[4] < 1_000_000


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=400), st.integers(-3, 30), st.integers(-2, 3))
def test_hostile_snapshot_records_are_refused_or_loaded_but_never_break_the_tables(
    content: bytes, records: int, tid: int
) -> None:
    tables = make_arena([TableSpec("first", 2, 2, 5), TableSpec("second", 1, 1, 5)])
    words = np.frombuffer(content.ljust(-len(content) // 8 * -8, b"\0"), dtype=np.uint64).copy()
    result = load_records(tables, tid, words, records)
    assert result in (0, MALFORMED, EXISTS, FULL)
    assert check(tables) == []
    if not 0 <= tid < 2 or records < 0:
        assert result == MALFORMED


def test_duplicate_snapshot_record_is_refused() -> None:
    tables = make_arena([TableSpec("main", 1, 1, 5)])
    assert load_records(tables, 0, np.array([1, 2, 1, 3], dtype=np.uint64), 2) == EXISTS


def test_reading_needs_frozen_tables() -> None:
    tables = make_arena([TableSpec("main", 1, 1, 5)])
    assert tuple(read_frozen(tables, 0, 0, np.zeros(8, dtype=np.uint64))) == (NOT_FROZEN, 0)


@pytest.mark.parametrize(
    "spoil",
    ["magic", "count", "meta", "key"],
)
def test_check_finds_a_spoiled_arena(spoil: str) -> None:
    tables = make_arena([TableSpec("main", 1, 1, 50)])
    for key in range(50):
        put(tables, 0, (key,), (key,))
    slot = int(find(tables, 0, 7))
    at = int(begin_write(tables, 0, slot))
    if spoil == "magic":
        tables[0] = 0
    elif spoil == "count":
        erase(tables, 0, slot)
        tables[at - 2] = 1 | 2 << 2
    elif spoil == "meta":
        tables[at - 2] = 3
    else:
        tables[at - 1] = 8
    assert check(tables) != []


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (TableSpec("x", 0, 1, 1), "key_words"),
        (TableSpec("x", 1, 99, 1), "value_words"),
        (TableSpec("x", 1, 1, 0), "max_entries"),
        (TableSpec("", 1, 1, 1), "name"),
    ],
)
def test_bad_specification_is_named(spec: TableSpec, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_arena([spec])


def test_values_of_all_64_bits_survive() -> None:
    tables = make_arena([TableSpec("main", 1, 1, 4)])
    slot = put(tables, 0, (2**64 - 1,), (2**64 - 1,))
    assert dump(tables) == {"main": [(2**64 - 1, 2**64 - 1)]}
    assert int(value(tables, 0, slot, 0)) & (2**64 - 1) == 2**64 - 1
