from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.errors import CleanupError
from harness.provision import clean as clean_module
from harness.provision.clean import CleanedObject, clean
from harness.provision.connections.spawned import process_start_ticks
from harness.provision.owner import OWNER_VARIABLE, Owner, process_numbering
from harness.provision.ownership import Ownership


def write_record(state: Path, run_id: str, *objects: tuple[str, str, dict[str, Any]]) -> Path:
    path = state / run_id / "objects.jsonl"
    path.parent.mkdir(parents=True)
    lines = []
    for number, (kind, name, identity) in enumerate(objects, 1):
        lines.append({"step": "intend", "number": number, "kind": kind, "name": name, "identity": {}})
        lines.append({"step": "made", "number": number, "identity": identity})
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    """A process that ends when its input does, or when told to."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        yield process
        process.kill()


def test_nothing_to_clean_is_no_error(tmp_path: Path) -> None:
    assert clean(tmp_path / "never") == []
    assert clean(tmp_path) == []


def test_ends_the_process_of_a_dead_run_once(tmp_path: Path, child: subprocess.Popen[bytes]) -> None:
    identity = {"pid": child.pid, "start_ticks": process_start_ticks(child.pid)}
    write_record(tmp_path, "dead0001", ("process", "vei", identity))
    assert clean(tmp_path) == [CleanedObject("dead0001", "process", "vei")]
    assert child.wait(5) != 0
    assert clean(tmp_path) == []
    assert not (tmp_path / "dead0001").exists()


def test_leaves_a_process_that_only_has_the_same_id(tmp_path: Path, child: subprocess.Popen[bytes]) -> None:
    ticks = process_start_ticks(child.pid)
    assert ticks is not None
    write_record(tmp_path, "dead0001", ("process", "vei", {"pid": child.pid, "start_ticks": ticks - 1}))
    assert clean(tmp_path) == []
    assert child.poll() is None


def test_leaves_the_run_that_holds_the_lock_alone(tmp_path: Path, child: subprocess.Popen[bytes]) -> None:
    identity = {"pid": child.pid, "start_ticks": process_start_ticks(child.pid)}
    with Ownership.acquire("alive001", tmp_path) as ownership:
        ownership.made(ownership.intend("process", "vei"), identity)
        write_record(tmp_path, "dead0001", ("link", "x", {}))
        assert clean(tmp_path) == []
        assert child.poll() is None
        assert not (tmp_path / "dead0001").exists()
        assert (tmp_path / "alive001").exists()


def owner_line(owner: Owner, started_ns: int = 1) -> str:
    return json.dumps({"step": "owner", "started_ns": started_ns, **vars(owner)}) + "\n"


def test_after_a_start_of_the_machine_only_files_are_left(tmp_path: Path, child: subprocess.Popen[bytes]) -> None:
    """Numbers, start times and inodes are given away again: that they match means nothing then."""
    scratch = tmp_path / "slim-harness-test"
    scratch.mkdir()
    status = scratch.stat()
    record = write_record(
        tmp_path / "state",
        "dead0001",
        ("process", "vei", {"pid": child.pid, "start_ticks": process_start_ticks(child.pid)}),
        ("sysctl", "x", {"netns": None, "path": "/proc/sys/kernel/ostype", "before": "Other", "after": "Linux"}),
        ("directory", str(scratch), {"device": status.st_dev, "inode": status.st_ino}),
    )
    record.write_text(owner_line(replace(Owner.present(), boot="earlier")) + record.read_text())
    assert [item.kind for item in clean(tmp_path / "state")] == ["directory"]
    assert child.poll() is None
    assert not record.exists()


def test_a_process_without_a_record_is_ended_by_its_mark(tmp_path: Path) -> None:
    """Killed between starting a process and writing its number down, a run leaves one that only its mark names."""
    with subprocess.Popen([sys.executable, "-c", "pass"]) as owner:
        mark = f"{owner.pid}:{process_start_ticks(owner.pid) or 1}:{process_numbering()}:{tmp_path}"
    environment = {**os.environ, OWNER_VARIABLE: mark}
    stubborn = "import signal, sys; signal.signal(15, signal.SIG_IGN); print(flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", stubborn], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        (cleaned,) = clean(tmp_path)
        assert (cleaned.run_id, cleaned.kind) == ("", "process")
        assert process.wait(5) == -signal.SIGKILL
    assert clean(tmp_path) == []


def test_what_was_kept_stays_for_clean(tmp_path: Path, child: subprocess.Popen[bytes]) -> None:
    identity = {"pid": child.pid, "start_ticks": process_start_ticks(child.pid)}
    with Ownership.acquire("kept0001", tmp_path) as ownership:
        ownership.made(ownership.intend("process", "vei"), identity)
        ownership.keep()
    assert clean(tmp_path, kept=False) == []
    assert child.poll() is None
    assert clean(tmp_path) == [CleanedObject("kept0001", "process", "vei")]


def test_parameters_of_the_host_wait_for_the_run_that_is_active(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    removed: list[str] = []
    monkeypatch.setattr(clean_module, "_restore_sysctl", lambda item: removed.append(item.name) or True)
    record = write_record(tmp_path, "dead0001", ("sysctl", "x", {}))
    with Ownership.acquire("alive001", tmp_path):
        assert clean(tmp_path) == []
        assert record.exists()
    assert clean(tmp_path) == [CleanedObject("dead0001", "sysctl", "x")]
    assert not record.exists()


def test_the_latest_run_is_cleaned_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each changed the parameter it found: only backwards the first value comes back."""
    seen: list[str] = []
    monkeypatch.setattr(clean_module, "_remove", lambda item: seen.append(item.name) or True)
    for run_id, name, at_ns in (("b0000000", "first", 1), ("a0000000", "second", 2), ("c0000000", "third", 3)):
        record = write_record(tmp_path, run_id, ("sysctl", name, {}))
        record.write_text(owner_line(replace(Owner.present(), pid=1 << 22), at_ns) + record.read_text())
    clean(tmp_path)
    assert seen == ["third", "second", "first"]


def test_a_folder_cut_off_before_its_record_goes(tmp_path: Path) -> None:
    (tmp_path / "dead0001").mkdir()
    (tmp_path / "others").mkdir()
    (tmp_path / "others" / "file").write_text("x")
    assert clean(tmp_path) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lock", "others"]


def test_objects_are_removed_in_reverse_and_a_failure_does_not_stop_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []

    def remove(item: Any) -> bool:
        seen.append(item.name)
        if item.name == "stuck":
            raise OSError(16, "busy")
        return True

    monkeypatch.setattr(clean_module, "_remove", remove)
    record = write_record(tmp_path, "dead0001", *(("namespace", name, {}) for name in ("a", "stuck", "c")))
    with pytest.raises(CleanupError, match=r"namespace stuck of run dead0001: .*busy"):
        clean(tmp_path)
    assert seen == ["c", "stuck", "a"]
    assert record.exists(), "the record must stay while something is left"


def test_a_sysctl_changed_by_someone_else_since_is_left_alone(tmp_path: Path) -> None:
    path = Path("/proc/sys/kernel/ostype")
    identity = {"netns": None, "path": str(path), "before": "Other", "after": "Third"}
    write_record(tmp_path, "dead0001", ("sysctl", "kernel.ostype", identity))
    assert clean(tmp_path) == []
    assert path.read_text() == "Linux\n"


@pytest.mark.parametrize("path", ["/etc/hostname", "relative", 7, None])
def test_a_record_cannot_make_it_write_outside_proc_sys(tmp_path: Path, path: Any) -> None:
    write_record(tmp_path, "dead0001", ("sysctl", "x", {"netns": None, "path": path, "before": "a", "after": "b"}))
    assert clean(tmp_path) == []
