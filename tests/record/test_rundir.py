from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import MachineError, UsageError
from harness.record import rundir
from harness.record.rundir import Folder, RunDirectory, finite, write_atomically, write_json

NOW = datetime(2026, 1, 2, 4, 4, 5, tzinfo=timezone(timedelta(hours=1)))


def test_names_by_hand(tmp_path: Path) -> None:
    directory = RunDirectory.create(tmp_path / "results", "nat_512B", "a1b2c3d4", NOW)
    assert directory.path == tmp_path / "results" / "20260102T030405Z-nat_512B-a1b2c3d4"
    run = directory.run(1, "statelet")
    assert run.path == directory.path / "01-statelet"
    assert run.path.is_dir()


def test_existing_directory_is_refused_and_left_alone(tmp_path: Path) -> None:
    directory = RunDirectory.create(tmp_path, "nat", "x", NOW)
    directory.write_text("profile.toml", "mine")
    with pytest.raises(UsageError, match="already exists"):
        RunDirectory.create(tmp_path, "nat", "x", NOW)
    assert directory.file("profile.toml").read_text() == "mine"
    directory.run(1, "none")
    with pytest.raises(UsageError, match="already exists"):
        directory.run(1, "none")


@pytest.mark.parametrize("name", ["", "..", "a/b", ".hidden", "a\n", "-x"])
def test_names_that_leave_the_directory_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="not usable"):
        RunDirectory.create(tmp_path, name, "x", NOW)
    with pytest.raises(UsageError, match="not usable"):
        RunDirectory.create(tmp_path, "p", name, NOW)
    with pytest.raises(UsageError, match="not usable"):
        RunDirectory.create(tmp_path, "p", "x", NOW).run(1, name)


def test_place_that_cannot_be_written_is_a_machine_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(MachineError, match="cannot create"):
        RunDirectory.create(tmp_path / "file", "p", "x", NOW)


json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)),
    max_leaves=10,
)


@given(st.dictionaries(st.text(max_size=5), json_values, max_size=4))
def test_finite_is_valid_json_and_changes_nothing_else(data) -> None:
    text = json.dumps(finite(data), allow_nan=False)

    def without_nan(value):
        if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
            return None
        if isinstance(value, dict):
            return {k: without_nan(v) for k, v in value.items()}
        return [without_nan(v) for v in value] if isinstance(value, list) else value

    assert json.loads(text) == without_nan(data)


def test_numpy_scalars_are_plain_numbers(tmp_path: Path) -> None:
    write_json(tmp_path / "x.json", {"a": np.float64("nan"), "b": (np.int64(3), np.float64(0.5))})
    assert json.loads((tmp_path / "x.json").read_text()) == {"a": None, "b": [3, 0.5]}


def test_what_json_cannot_hold_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    write_json(path, {"a": 1})
    with pytest.raises(TypeError):
        write_json(path, {"a": object()})
    assert json.loads(path.read_text()) == {"a": 1}


def test_crash_before_the_rename_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x"
    write_atomically(path, b"old")

    def crash(descriptor: int) -> None:
        raise OSError("disk is gone")

    monkeypatch.setattr(rundir.os, "fsync", crash)
    with pytest.raises(OSError, match="disk is gone"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_points_are_appended_and_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    monkeypatch.setattr(rundir.os, "fsync", lambda descriptor: synced.append(os.fstat(descriptor).st_size))
    folder = Folder(tmp_path)
    folder.append_points(["a 1", "b 2"])
    folder.append_points(["c 3"])
    assert (tmp_path / "points.lp").read_text() == "a 1\nb 2\nc 3\n"
    # Each call synced the file after all its bytes were in it.
    assert synced == [8, 12]


def test_arrays_come_back(tmp_path: Path) -> None:
    Folder(tmp_path).write_arrays("series.npz", {"a": np.arange(3)})
    with np.load(tmp_path / "series.npz", allow_pickle=False) as data:
        assert data["a"].tolist() == [0, 1, 2]


def test_objects_are_not_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="allow_pickle"):
        Folder(tmp_path).write_arrays("series.npz", {"a": np.array([{}], dtype=object)})
    assert not (tmp_path / "series.npz").exists()


def test_logs_and_events_have_their_place(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    assert folder.log("loadgen") == tmp_path / "logs" / "loadgen.log"
    with folder.events() as events:
        events.record("x", "y")
    assert (tmp_path / "events.jsonl").stat().st_size > 0
    assert NOW.astimezone(UTC).hour == 3
