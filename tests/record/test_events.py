from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.errors import UsageError
from harness.record.events import EventLog, read_events


def test_lines_are_readable_before_the_log_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    log = EventLog(path, monotonic_ns=lambda: 100, wall_ns=lambda: 1_000_000)
    first = log.record("load", "started")
    second = log.record("migrate", 'über "all"\n', monotonic_ns=40, duration_ns=7)
    assert read_events(path) == [first, second]
    assert (second.monotonic_ns, second.wall_ns, second.duration_ns) == (40, 999_940, 7)
    assert json.loads(path.read_text().splitlines()[0]) == {
        "monotonic_ns": 100,
        "wall_ns": 1_000_000,
        "phase": "load",
        "text": "started",
    }
    log.close()
    log.close()


def test_reopened_log_is_continued(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    for text in ("one", "two"):
        with EventLog(path) as log:
            log.record("x", text)
    assert [event.text for event in read_events(path)] == ["one", "two"]


def test_threads_never_mix_lines(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    with EventLog(path) as log:
        threads = [
            threading.Thread(target=lambda n=n: [log.record(str(n), "x" * 500) for _ in range(50)]) for n in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    events = read_events(path)
    assert sorted(event.phase for event in events) == sorted(["0", "1", "2", "3"] * 50)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 300))
def test_crash_in_the_last_line_keeps_all_before(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "events.jsonl"
    path.unlink(missing_ok=True)
    with EventLog(path) as log:
        events = [log.record("phase", f"number {i}") for i in range(3)]
    content = path.read_bytes()[:cut]
    path.write_bytes(content)
    assert read_events(path) == events[: content.count(b"\n")]


@pytest.mark.parametrize("line", ["{}", "[]", "x", '{"monotonic_ns":"1","wall_ns":1,"phase":"a","text":"b"}', "1" * 9])
def test_damage_elsewhere_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "events.jsonl"
    path.write_text(line + "\n")
    with pytest.raises(UsageError, match=r"events.jsonl:1"):
        read_events(path)


def test_undecodable_bytes_survive(tmp_path: Path) -> None:
    text = b"stderr: \xff\x80".decode(errors="surrogateescape")
    with EventLog(tmp_path / "events.jsonl") as log:
        log.record("x", text)
    assert read_events(tmp_path / "events.jsonl")[0].text == text


def test_missing_log_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        read_events(tmp_path / "none")
