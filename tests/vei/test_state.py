"""Reading, loading, forgetting and writing the state of an instance."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.dataplane.table import begin_write, commit, freeze_all, insert, unfreeze_all
from harness.dataplane.table_check import check, dump
from harness.errors import HarnessError, ProtocolError
from harness.migration.snapshot import TableDescription
from harness.vei.state import InstanceState
from tests.vei.flow_image import FLOWS_MAX, flow_image


def filled(entries: dict[int, tuple[int, int]]) -> tuple[InstanceState, np.ndarray]:
    tables = flow_image().tables
    state = InstanceState(tables)
    for flow, values in entries.items():
        slot = insert(tables, 0, flow)
        at = begin_write(tables, 0, slot)
        tables[at : at + 2] = values
        commit(tables, 0, slot)
    return state, tables


ENTRIES = st.dictionaries(
    st.integers(0, 2**63 - 1), st.tuples(st.integers(0, 2**62), st.integers(0, 2**62)), max_size=60
)


@given(ENTRIES)
def test_what_is_read_frozen_and_loaded_elsewhere_is_the_same_state(entries: dict[int, tuple[int, int]]) -> None:
    source, tables = filled(entries)
    destination, copy = filled({1: (2, 3)})
    freeze_all(tables)
    frozen = dump(tables)
    destination.clear()
    for table, count, words in source.read_frozen():
        destination.load(table, memoryview(bytes(words)), count)
    unfreeze_all(tables)
    assert dump(copy) == frozen
    assert check(copy) == []


def test_more_records_than_a_chunk_holds_are_all_read() -> None:
    entries = {flow: (flow, 0) for flow in range(FLOWS_MAX)}
    state, tables = filled(entries)
    freeze_all(tables)
    chunks = [(table, count) for table, count, _ in state.read_frozen()]
    assert len(chunks) > 2
    assert sum(count for table, count in chunks if table == 0) == FLOWS_MAX


def test_thawed_tables_are_not_read() -> None:
    state, _ = filled({})
    with pytest.raises(HarnessError, match="unfrozen"):
        list(state.read_frozen())


def test_reset_brings_back_what_the_image_started_with() -> None:
    state, tables = filled({1: (2, 3), 4: (5, 6)})
    freeze_all(tables)
    state.reset()
    assert dump(tables) == dump(flow_image().tables) == {"flows": [], "fixed": [(5, 6, 99)]}
    assert check(tables) == []
    state.clear()
    assert dump(tables) == {"flows": [], "fixed": []}
    assert check(tables) == []


def test_repeated_and_too_many_records_are_refused_with_the_table() -> None:
    state, _ = filled({})
    record = memoryview(np.array([1, 2, 3], "<u8").data).cast("B")
    state.load(0, record, 1)
    with pytest.raises(ProtocolError, match="table flows of the destination refuses a record"):
        state.load(0, record, 1)
    many = np.zeros((FLOWS_MAX, 3), "<u8")
    many[:, 0] = np.arange(FLOWS_MAX) + 10
    with pytest.raises(ProtocolError, match="table flows of the destination is full"):
        state.load(0, memoryview(many.data).cast("B"), FLOWS_MAX)


def test_the_state_is_written_sorted(tmp_path: Path) -> None:
    state, tables = filled({9: (1, 2), 3: (4, 5)})
    path = tmp_path / "state.npz"
    freeze_all(tables)
    assert state.write_frozen(path) == {"flows": 2, "fixed": 1}
    with np.load(path) as arrays:
        assert arrays["flows"].tolist() == [[3, 4, 5], [9, 1, 2]]
        assert arrays["fixed"].tolist() == [[5, 6, 99]]
    with pytest.raises(HarnessError, match=r"cannot write the state to .*No such file"):
        state.write_frozen(tmp_path / "missing" / "state.npz")


def test_half_a_state_never_has_the_name_of_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def half(file: Any, **_arrays: Any) -> None:
        file.write(b"PK")
        assert not (tmp_path / "state.npz").exists(), "killed now, it would be torn"
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", half)
    state, tables = filled({9: (1, 2)})
    freeze_all(tables)
    with pytest.raises(HarnessError, match="No space left"):
        state.write_frozen(tmp_path / "state.npz")
    assert list(tmp_path.iterdir()) == []


def test_descriptions_are_those_of_the_image() -> None:
    assert filled({})[0].descriptions == (
        TableDescription(name="flows", key_words=1, value_words=2),
        TableDescription(name="fixed", key_words=2, value_words=1),
    )
