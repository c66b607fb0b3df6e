from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.errors import CleanupError, HarnessError
from harness.provision.clean import clean
from harness.provision.connections.local import LocalConnection
from harness.provision.ownership import Ownership
from harness.provision.task import Context
from harness.provision.tasks.file import KIND, FileContent, digest_of, restore_file
from tests.provision.contract import check_contract


@pytest.fixture
def context(tmp_path: Path) -> Iterator[Context]:
    with Ownership.beside("files", tmp_path / "state") as ownership:
        yield Context(LocalConnection(), ownership)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "etc"
    made.mkdir()
    return made


def put(task: FileContent, context: Context) -> None:
    task.apply(context, task.diff(task.observe(context)))
    task.verify(context)


def test_a_new_file_keeps_the_contract_and_goes(context: Context, folder: Path) -> None:
    check_contract(FileContent("n", folder / "x", b"content", 0o640), context)
    assert list(folder.iterdir()) == []


def test_what_was_there_comes_back_with_all_it_had(context: Context, folder: Path) -> None:
    path, link = folder / "x", folder / "link"
    path.write_bytes(b"before")
    path.chmod(0o604)
    link.hardlink_to(path)
    before = path.stat()
    task = FileContent("n", path, b"after", 0o600)
    put(task, context)
    assert path.read_bytes() == b"after"
    assert path.stat().st_mode & 0o7777 == 0o600
    assert (path.stat().st_uid, path.stat().st_gid) == (before.st_uid, before.st_gid)
    task.undo(context)
    assert path.read_bytes() == b"before"
    assert (path.stat().st_ino, path.stat().st_mode, path.stat().st_nlink) == (before.st_ino, before.st_mode, 2)
    assert sorted(entry.name for entry in folder.iterdir()) == ["link", "x"]


def test_only_a_mode_may_differ(context: Context, folder: Path) -> None:
    path = folder / "x"
    path.write_bytes(b"same")
    path.chmod(0o600)
    task = FileContent("n", path, b"same", 0o644)
    assert [change.subject for change in task.diff(task.observe(context))] == [f"{path} mode"]
    put(task, context)
    task.undo(context)
    assert path.stat().st_mode & 0o7777 == 0o600
    assert [entry.name for entry in folder.iterdir()] == ["x"]


def test_two_tasks_on_one_file_are_undone_in_reverse(context: Context, folder: Path) -> None:
    path = folder / "x"
    path.write_bytes(b"0")
    first, second = FileContent("n", path, b"1"), FileContent("n", path, b"2")
    put(first, context)
    put(second, context)
    second.undo(context)
    assert path.read_bytes() == b"1"
    first.undo(context)
    assert path.read_bytes() == b"0"


def test_a_file_that_somebody_has_changed_meanwhile_is_theirs_and_nothing_is_lost(
    context: Context, folder: Path
) -> None:
    path = folder / "x"
    path.write_bytes(b"before")
    task = FileContent("n", path, b"ours")
    put(task, context)
    path.write_bytes(b"theirs")
    with pytest.raises(CleanupError, match="somebody has changed it meanwhile; what it was before is in ") as caught:
        task.undo(context)
    assert path.read_bytes() == b"theirs"
    assert Path(str(caught.value).rpartition(" ")[2]).read_bytes() == b"before"


def test_a_new_file_that_somebody_has_changed_meanwhile_stays(context: Context, folder: Path) -> None:
    task = FileContent("n", folder / "x", b"ours")
    put(task, context)
    (folder / "x").write_bytes(b"theirs")
    task.undo(context)
    assert (folder / "x").read_bytes() == b"theirs"


@pytest.mark.parametrize("kind", ["directory", "symlink", "fifo"])
def test_what_is_no_file_is_never_touched(context: Context, folder: Path, kind: str) -> None:
    path = folder / "x"
    if kind == "directory":
        path.mkdir()
    elif kind == "symlink":
        path.symlink_to(folder / "other")
    else:
        os.mkfifo(path)
    with pytest.raises(HarnessError, match="is no regular file"):
        FileContent("n", path, b"x").observe(context)


def test_a_directory_that_is_not_there_is_one_line(context: Context, folder: Path) -> None:
    task = FileContent("n", folder / "no" / "x", b"x")
    with pytest.raises(HarnessError, match=f"there is no directory {folder}/no"):
        task.apply(context, task.diff(task.observe(context)))
    task.undo(context)
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("existed", [False, True])
@pytest.mark.parametrize("cut_at", ["new", "old", "exchanged"])
def test_whatever_a_kill_has_cut_off_is_restored_from_the_record(folder: Path, existed: bool, cut_at: str) -> None:
    path, new, old = folder / "x", folder / ".x.1.new.slim-harness", folder / ".x.1.old.slim-harness"
    if existed:
        path.write_bytes(b"before")
    identity = {"after": digest_of(b"ours"), "new": str(new), "old": str(old) if existed else None}
    new.write_bytes(b"ours" if cut_at != "new" else b"ou")
    if cut_at != "new" and existed:
        old.hardlink_to(path)
    if cut_at == "exchanged":
        new.replace(path)
    for _ in range(2):
        restore_file(str(path), identity)
        assert {entry.name: entry.read_bytes() for entry in folder.iterdir()} == ({"x": b"before"} if existed else {})


def test_a_record_names_nothing_but_what_is_ours(folder: Path) -> None:
    path, other = folder / "x", folder / "other"
    other.write_bytes(b"other")
    path.write_bytes(b"theirs")
    restore_file(str(path), {"after": digest_of(b"ours"), "new": str(other), "old": str(other)})
    assert (path.read_bytes(), other.read_bytes()) == (b"theirs", b"other")


def test_clean_restores_what_a_dead_owner_has_written(tmp_path: Path, folder: Path) -> None:
    path = folder / "x"
    path.write_bytes(b"before")
    ownership = Ownership.beside("files", tmp_path / "state")
    put(FileContent("n", path, b"ours"), Context(LocalConnection(), ownership))
    assert clean(tmp_path / "state") == []  # its owner lives
    ownership.release()
    assert [(item.kind, item.name) for item in clean(tmp_path / "state")] == [(KIND, str(path))]
    assert path.read_bytes() == b"before"
