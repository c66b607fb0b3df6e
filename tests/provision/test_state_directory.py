from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.errors import MachineError
from harness.provision import state_directory as module
from harness.provision.ownership import Ownership
from harness.provision.state_directory import (
    lock_state,
    make_state_directory,
    remove_state_directory,
    state_directory,
)


@pytest.fixture
def user(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Within the test this process is that of an ordinary user, whoever runs it; the user's runtime directory."""
    before = os.geteuid()
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        runtime = Path(folder)
        if before == 0:
            os.chown(runtime, 4321, 4321)
            os.seteuid(4321)
        try:
            monkeypatch.delenv("SLIM_HARNESS_STATE", raising=False)
            monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
            yield runtime
        finally:
            os.seteuid(before)


def test_the_environment_moves_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SLIM_HARNESS_STATE", str(tmp_path))
    assert state_directory() == tmp_path
    monkeypatch.delenv("SLIM_HARNESS_STATE")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert state_directory() == Path("/run/slim-harness")


def test_a_user_has_one_in_the_runtime_directory(user: Path) -> None:
    assert state_directory() == user / "slim-harness"


@pytest.mark.parametrize("runtime", ["", "relative", "/nonexistent", "/proc"])
def test_a_runtime_directory_that_is_not_the_users_is_not_used(
    user: Path, monkeypatch: pytest.MonkeyPatch, runtime: str
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", runtime)
    assert state_directory() == Path(f"/tmp/slim-harness-{os.geteuid()}")


def test_one_that_somebody_else_made_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    owner = tmp_path.stat().st_uid
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    with pytest.raises(MachineError, match="belongs to somebody else; set SLIM_HARNESS_STATE"):
        make_state_directory(tmp_path)
    monkeypatch.setattr(os, "geteuid", lambda: owner)
    make_state_directory(tmp_path)


def test_a_lock_is_held_once(tmp_path: Path) -> None:
    descriptor = lock_state(tmp_path)
    with pytest.raises(BlockingIOError):
        lock_state(tmp_path)
    os.close(descriptor)
    os.close(lock_state(tmp_path))


def test_a_lock_removed_before_it_was_taken_is_no_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flock = module.fcntl.flock
    removed: list[int] = []

    def remove_first(descriptor: int, operation: int) -> None:
        if not removed:
            removed.append(os.fstat(descriptor).st_ino)
            (tmp_path / "lock").rename(tmp_path / "gone")
        flock(descriptor, operation)

    monkeypatch.setattr(module.fcntl, "flock", remove_first)
    descriptor = lock_state(tmp_path)
    assert removed != [os.fstat(descriptor).st_ino]
    assert os.path.samestat(os.fstat(descriptor), (tmp_path / "lock").stat())
    os.close(descriptor)


def test_a_link_in_the_place_of_the_lock_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic"):
        lock_state(tmp_path)
    assert not (tmp_path / "elsewhere").exists()


def test_a_users_is_removed_when_it_is_of_no_more_use(user: Path) -> None:
    where = state_directory()
    make_state_directory(where)
    descriptor = lock_state(where)
    remove_state_directory(where)
    assert where.exists(), "it was in use"
    os.close(descriptor)
    (where / "runa0001").mkdir()
    remove_state_directory(where)
    assert where.exists(), "it held a record"
    (where / "runa0001").rmdir()
    remove_state_directory(where)
    assert not where.exists()


def test_one_that_was_chosen_stays(user: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.close(lock_state(user))
    remove_state_directory(user)
    monkeypatch.setenv("SLIM_HARNESS_STATE", str(user))
    remove_state_directory(user)
    assert (user / "lock").exists()


def test_a_run_in_the_default_directory_holds_the_lock_of_the_machine(
    user: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[str] = []

    class Lock:
        def __init__(self) -> None:
            taken.append("held")

        def release(self) -> None:
            taken.append("released")

    monkeypatch.setattr("harness.provision.ownership.MachineLock", Lock)
    with Ownership.acquire("runa0001", user / "chosen"):
        assert taken == []
    with Ownership.acquire("runa0001"):
        assert taken == ["held"]
    assert taken == ["held", "released"]
