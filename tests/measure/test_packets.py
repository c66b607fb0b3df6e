from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.errors import RunFailed
from harness.measure.packets import _CELLS as CELLS
from harness.measure.packets import _LOADGEN as LOADGEN
from harness.measure.packets import MAX_RUN_NS, load_packet_records


def write(folder: Path, arrays: dict[str, np.ndarray]) -> tuple[Path, Path]:
    loadgen, echoserver = folder / "loadgen.npz", folder / "echoserver.npz"
    of_loadgen = {*LOADGEN, *CELLS}
    np.savez(loadgen, **{k: v for k, v in arrays.items() if k in of_loadgen})
    np.savez(echoserver, **{k: v for k, v in arrays.items() if k not in of_loadgen})
    return loadgen, echoserver


@pytest.fixture
def arrays(records) -> dict[str, np.ndarray]:
    made = asdict(records([10, None, 11], server_delays_ms=[5, None]))
    return {name: array for name, array in made.items() if isinstance(array, np.ndarray)}


def test_reads_what_the_processes_wrote(tmp_path: Path, arrays) -> None:
    loaded = load_packet_records(*write(tmp_path, arrays))
    assert (loaded.packets, loaded.server_packets, loaded.flows) == (3, 2, 2)
    for name, array in arrays.items():
        np.testing.assert_array_equal(getattr(loaded, name), array)


@pytest.fixture
def cells() -> dict[str, np.ndarray]:
    return {
        "cell": np.array([4, 4, 5], np.uint16),
        "announced": np.array([True, False, False]),
        "reply_cell": np.array([4, 0, 6], np.uint16),
        "server_cell": np.array([4, 0], np.uint16),
    }


def test_cells_are_read_where_they_were_recorded(tmp_path: Path, arrays, cells) -> None:
    assert load_packet_records(*write(tmp_path, arrays)).cells is None
    loaded = load_packet_records(*write(tmp_path, {**arrays, **cells}))
    for name, array in cells.items():
        np.testing.assert_array_equal(getattr(loaded.cells, name), array)
    # Subscriber 0 announced cell 4 at the very beginning; packet 2 comes back 13 ms later from cell 6.
    assert loaded.wrong_cell.tolist() == [False, False, True]
    assert loaded.delivered_ns.tolist() == [*loaded.received_ns[:2].tolist(), 0]
    generous = load_packet_records(*write(tmp_path, {**arrays, **cells}), 13_000_000)
    assert not generous.wrong_cell.any()


def test_part_of_the_cells_and_cells_of_other_packets_are_refused(tmp_path: Path, arrays, cells) -> None:
    with pytest.raises(RunFailed, match="no array 'announced'"):
        load_packet_records(*write(tmp_path, {**arrays, "cell": cells["cell"]}))
    with pytest.raises(RunFailed, match="reply_cell has 2 entries"):
        load_packet_records(*write(tmp_path, {**arrays, **cells, "reply_cell": np.zeros(2, np.uint16)}))
    with pytest.raises(RunFailed, match=r"announced must be bool\[N\]"):
        load_packet_records(*write(tmp_path, {**arrays, **cells, "announced": np.zeros(3, np.int8)}))


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("sent_ns", np.zeros(2, np.int64), "sent_ns has 2 entries"),
        ("sent_ns", np.zeros(3, np.int32), r"sent_ns must be int64\[N\]"),
        ("flow", np.array([0, 1, 2], np.uint32), r"flow\[2\]"),
        ("server_flow", np.array([0, 9], np.uint32), r"server_flow\[1\]"),
        ("intended_ns", np.array([0, 1, 2], np.int64), r"intended_ns\[0\]: not a time"),
        ("received_ns", np.array([-1, 0, 0], np.int64), "negative time"),
        ("received_ns", np.array([1, 0, 0], np.int64), "before it was due"),
        ("sent_ns", np.zeros(3, np.int64), "never sent"),
        ("frame_bytes", np.full(3, 41, np.uint16), "below the 42"),
        ("duplicates", np.array([0, 1, 0], np.uint16), "never received"),
        ("server_duplicates", np.array([0, 1], np.uint16), "never received"),
        ("server_intended_ns", np.array([1, MAX_RUN_NS * 2], np.int64), "apart|before"),
        ("flow_packets", np.zeros((2, 1), np.uint64), "flow_packets must be"),
    ],
)
def test_inconsistent_records_are_refused(tmp_path: Path, arrays, name, value, message) -> None:
    files = write(tmp_path, {**arrays, name: value})
    with pytest.raises(RunFailed, match=message):
        load_packet_records(*files)


def test_objects_are_never_unpickled(tmp_path: Path, arrays) -> None:
    files = write(tmp_path, {**arrays, "sent_ns": np.array([{}, {}, {}], dtype=object)})
    with pytest.raises(RunFailed, match="not readable"):
        load_packet_records(*files)


def test_missing_file_and_missing_array_are_named(tmp_path: Path, arrays) -> None:
    loadgen, echoserver = write(tmp_path, {k: v for k, v in arrays.items() if k != "server_flow"})
    with pytest.raises(RunFailed, match="no array 'server_flow'"):
        load_packet_records(loadgen, echoserver)
    with pytest.raises(RunFailed, match="not there"):
        load_packet_records(tmp_path / "none.npz", echoserver)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(data=st.data())
def test_damaged_files_are_refused_or_read(tmp_path: Path, arrays, data: st.DataObject) -> None:
    loadgen, echoserver = write(tmp_path, arrays)
    content = bytearray(loadgen.read_bytes())
    content = content[: data.draw(st.integers(0, len(content)))]
    for position in data.draw(st.lists(st.integers(0, max(0, len(content) - 1)), max_size=4)):
        if content:
            content[position] ^= data.draw(st.integers(1, 255))
    loadgen.write_bytes(bytes(content))
    try:
        loaded = load_packet_records(loadgen, echoserver)
    except RunFailed:
        return
    assert loaded.packets == 3
