from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.errors import CleanupError
from harness.provision import clean as clean_module
from harness.provision.clean import CleanedObject, clean
from harness.provision.connections.spawned import process_start_ticks
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
