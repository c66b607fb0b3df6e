"""Temporary directories: gone with their block, and after a kill with the next clean; those of others stay."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from harness.provision.clean import CleanedObject, clean
from harness.provision.ownership import STATE_VARIABLE
from harness.provision.scratch import PREFIX, remove_scratch, scratch_directory

_MAKE = """
from harness.provision.scratch import scratch_directory
with scratch_directory("test") as path:
    (path / "folder").mkdir()
    (path / "folder" / "file").write_text("x")
    print(path, flush=True)
    input()
"""


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(STATE_VARIABLE, str(tmp_path / "state"))
    return tmp_path / "state"


def test_it_goes_with_the_block(state: Path) -> None:
    with scratch_directory("test") as path:
        (path / "file").write_text("x")
        assert path.name.startswith(f"{PREFIX}test-")
        assert path.stat().st_mode & 0o777 == 0o700
        assert clean(state) == []
    assert not path.exists()
    assert [path.name for path in state.iterdir() if path.name != "lock"] == []


def test_after_a_kill_clean_removes_it(state: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", _MAKE], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        path = Path(process.stdout.readline().decode().strip())
        process.kill()
    assert path.is_dir()
    (cleaned,) = clean(state)
    assert (cleaned.kind, cleaned.name) == ("directory", str(path))
    assert isinstance(cleaned, CleanedObject)
    assert not path.exists()
    assert clean(state) == []


def test_one_of_another_owner_stays(tmp_path: Path) -> None:
    path = tmp_path / f"{PREFIX}test-1"
    path.mkdir()
    (path / "file").write_text("x")
    status = path.stat()
    assert not remove_scratch(str(path), {"device": status.st_dev, "inode": status.st_ino + 1})
    assert not remove_scratch(str(path), {}), "it is not empty, so it is not one that was cut off"
    assert not remove_scratch(str(tmp_path / "other"), {})
    link = tmp_path / f"{PREFIX}link"
    link.symlink_to(path)
    assert not remove_scratch(str(link), {"device": status.st_dev, "inode": status.st_ino})
    assert (path / "file").exists()
    assert remove_scratch(str(path), {"device": status.st_dev, "inode": status.st_ino})


@pytest.mark.parametrize("name", ["/etc", "relative", f"/tmp/{PREFIX}x/../../etc", ""])
def test_a_record_cannot_make_it_remove_anything_else(name: str) -> None:
    assert not remove_scratch(name, {})


def test_without_a_state_directory_it_is_there_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(STATE_VARIABLE, str(tmp_path / "file" / "state"))
    with scratch_directory("test") as path:
        assert path.is_dir()
    assert not path.exists()
