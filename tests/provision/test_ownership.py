from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.errors import HarnessError, MachineError
from harness.provision.objects import read_objects
from harness.provision.ownership import Ownership, describe_owner, read_owner


def test_the_record_is_on_disk_before_and_after_an_object_is_made(tmp_path: Path) -> None:
    record = tmp_path / "runa0001" / "objects.jsonl"
    with Ownership.acquire("runa0001", tmp_path) as ownership:
        number = ownership.intend("namespace", "x")
        (item,) = read_objects(record)
        assert (item.kind, item.name, item.made, item.gone) == ("namespace", "x", False, False)
        ownership.made(number, {"device": 4, "inode": 17})
        (item,) = read_objects(record)
        assert item.made
        assert item.identity == {"device": 4, "inode": 17}
        ownership.gone(number)
        assert read_objects(record)[0].gone


def test_a_second_run_is_refused_with_the_owner_of_the_first(tmp_path: Path) -> None:
    with Ownership.acquire("runa0001", tmp_path):
        with pytest.raises(MachineError) as caught:
            Ownership.acquire("runb0002", tmp_path)
        for word in ("runa0001", str(os.getpid()), "started 20"):
            assert word in str(caught.value)
        assert not (tmp_path / "runb0002").exists()
    Ownership.acquire("runb0002", tmp_path).release()


def test_the_lock_is_released_and_names_nobody_afterwards(tmp_path: Path) -> None:
    ownership = Ownership.acquire("runa0001", tmp_path)
    assert read_owner(tmp_path)["run_id"] == "runa0001"
    ownership.release()
    ownership.release()
    assert read_owner(tmp_path) == {}


def test_the_record_stays_exactly_as_long_as_something_is_left(tmp_path: Path) -> None:
    with Ownership.acquire("runa0001", tmp_path) as ownership:
        ownership.made(ownership.intend("namespace", "x"), {"inode": 1})
    assert (tmp_path / "runa0001").exists()
    with Ownership.acquire("runa0001", tmp_path) as ownership:
        item = ownership.find("namespace", "x")
        assert item is not None
        ownership.gone(item.number)
    assert not (tmp_path / "runa0001").exists()


def test_what_lived_in_a_namespace_is_gone_with_it(tmp_path: Path) -> None:
    with Ownership.acquire("runa0001", tmp_path) as ownership:
        namespace = ownership.intend("namespace", "ns")
        ownership.intend("link", "ns/up0", {"container": "ns"})
        ownership.intend("link", "host0")
        assert [item.name for item in ownership.living()] == ["ns", "ns/up0", "host0"]
        ownership.gone(namespace)
        assert [item.name for item in ownership.living()] == ["host0"]


def test_a_preview_owns_nothing_and_can_make_nothing() -> None:
    preview = Ownership.preview("runa0001")
    with pytest.raises(HarnessError, match="does not own the machine"):
        preview.intend("namespace", "x")
    preview.release()


def test_an_unwritable_state_directory_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(MachineError, match="SLIM_HARNESS_STATE"):
        Ownership.acquire("runa0001", tmp_path / "file" / "state")


def test_the_owner_is_described_even_when_the_lock_says_nothing() -> None:
    assert "not written" in describe_owner({})


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(cut=st.integers(0, 400), junk=st.binary(max_size=40))
def test_a_torn_record_is_read_as_far_as_it_goes(tmp_path: Path, cut: int, junk: bytes) -> None:
    entries = [
        {"step": "intend", "number": 1, "kind": "namespace", "name": "a", "identity": {}},
        {"step": "made", "number": 1, "identity": {"inode": 5}},
        {"step": "intend", "number": 2, "kind": "process", "name": "b", "identity": {}},
    ]
    whole = b"".join(json.dumps(entry).encode() + b"\n" for entry in entries)
    record = tmp_path / "objects.jsonl"
    record.write_bytes(whole[:cut] + b"\n" + junk)
    complete = whole[:cut].count(b"\n") + (1 if cut < len(whole) and whole[cut : cut + 1] == b"\n" else 0)
    names = [item.name for item in read_objects(record)]
    assert names == ["a", "b"][: {0: 0, 1: 1, 2: 1, 3: 2}[complete]]
