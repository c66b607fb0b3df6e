"""Everything that writes during a run, on a disk that is full for a while: nothing torn, nothing lost for good."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from harness.dataplane.instance import MODE_ACTIVE, Instance, InstanceSettings
from harness.dataplane.status_page import open_status_page
from harness.dataplane.trace import RECORD_BYTES
from harness.faults.disk import Ballast
from harness.profile.images import known_images
from harness.provision.clean import clean
from harness.provision.connections.local import LocalConnection
from harness.provision.ownership import Ownership
from harness.provision.task import Context
from harness.provision.tasks.small_disk import SmallDisk
from harness.record.events import EventLog, read_events
from harness.record.rundir import POINTS, Folder
from harness.vei.image import load_image

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")

DEADLINE_S = 20.0
SIZE = 4 << 20


def wait_until(reached: Callable[[], Any], what: str) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not reached():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)


@contextmanager
def small_disk(folder: Path, state: Path) -> Iterator[None]:
    connection = LocalConnection()
    with Ownership.acquire("t1234567", state) as ownership:
        context = Context(connection, ownership)
        task = SmallDisk("localhost", folder, SIZE)
        task.apply(context, [])
        try:
            yield
        finally:
            task.undo(context)
            task.undo(context)
    connection.close()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    with small_disk(folder, tmp_path / "state"):
        yield folder


def test_a_small_disk_is_full_when_it_is_full_and_its_content_stays(tmp_path: Path) -> None:
    folder = tmp_path / "disk"
    folder.mkdir()
    with small_disk(folder, tmp_path / "state"):
        assert folder.is_mount()
        (folder / "kept").mkdir()
        (folder / "kept" / "file").write_text("content")
        ballast = Ballast(folder)
        assert SIZE // 2 < ballast.fill() < SIZE
        with pytest.raises(OSError, match="No space left"):
            (folder / "more").write_bytes(b"x" * 5000)
        ballast.release()
        ballast.release()
        (folder / "more").write_bytes(b"x" * 5000)
    assert not folder.is_mount()
    assert (folder / "kept" / "file").read_text() == "content"
    assert {path.name for path in folder.iterdir()} == {"kept", "more"}
    assert {path.name for path in tmp_path.iterdir()} == {"disk", "state"}


def test_clean_unmounts_what_a_dead_run_has_mounted_and_nothing_else(tmp_path: Path) -> None:
    folder, state = tmp_path / "disk", tmp_path / "state"
    folder.mkdir()
    connection = LocalConnection()
    with Ownership.acquire("t1234567", state) as ownership:
        SmallDisk("localhost", folder, SIZE).apply(Context(connection, ownership), [])
        (folder / "file").write_text("content")
    connection.close()
    assert [(item.kind, item.name) for item in clean(state)] == [("mount", str(folder))]
    assert not folder.is_mount()
    assert (folder / "file").read_text() == "content"
    assert clean(state) == []


def test_events_wait_for_room(disk: Path) -> None:
    log = EventLog(disk / "events.jsonl")
    log.record("before", "x" * 100)
    ballast = Ballast(disk)
    ballast.fill()
    for number in range(200):
        log.record("full", f"{number} " + "x" * 100)
    assert log.unwritten_bytes > 0
    ballast.release()
    log.record("after", "")
    log.close()
    assert log.unwritten_bytes == 0
    events = read_events(disk / "events.jsonl")
    assert [event.phase for event in events] == ["before", *["full"] * 200, "after"]
    assert [event.text.split()[0] for event in events[1:-1]] == [str(number) for number in range(200)]


def test_events_that_never_found_room_are_known_and_tear_nothing_but_the_end(disk: Path) -> None:
    with EventLog(disk / "events.jsonl") as log:
        log.record("before", "x" * 100)
        Ballast(disk).fill()
        for _ in range(200):
            log.record("full", "x" * 100)
    assert log.unwritten_bytes > 0
    phases = [event.phase for event in read_events(disk / "events.jsonl")]
    assert phases[0] == "before"
    assert 1 <= len(phases) < 201


def test_points_are_appended_whole_or_not_at_all(disk: Path) -> None:
    folder = Folder(disk)
    folder.append_points(["first 1", "second 2"])
    Ballast(disk).fill()
    with pytest.raises(OSError, match="No space left"):
        folder.append_points([f"line {number}" for number in range(2000)])
    assert (disk / POINTS).read_text() == "first 1\nsecond 2\n"


class Nat:
    """A NAT that traces to a file, and frames for it."""

    def __init__(self, trace: Path) -> None:
        image = load_image(known_images()["nat"], {}, seed=5)
        self._pairs = [socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM) for _ in range(2)]
        for _, inside in self._pairs:
            inside.setblocking(False)
        settings = InstanceSettings(scheduler="other", trace_path=trace)
        self.instance = Instance(image, [inside for _, inside in self._pairs], settings)
        self.instance.start()
        self.instance.set_mode(MODE_ACTIVE)
        self.sent = 0

    def send(self, packets: int) -> None:
        for _ in range(packets):
            self._pairs[0][0].send(bytes(60))
            self.sent += 1
            wait_until(lambda: self.processed() == self.sent, "the packet")

    def processed(self) -> int:
        return sum(int(port["processed"]) for port in self.instance.status()["ports"])

    def close(self) -> None:
        self.instance.close()
        for outside, _ in self._pairs:
            outside.close()


def test_a_trace_waits_for_room(disk: Path) -> None:
    trace = disk / "trace"
    nat = Nat(trace)
    nat.send(10)
    wait_until(lambda: trace.stat().st_size == 10 * RECORD_BYTES, "the first records")
    ballast = Ballast(disk)
    ballast.fill()
    nat.send(200)
    ballast.release()
    nat.close()
    assert trace.stat().st_size == 210 * RECORD_BYTES


def test_a_trace_that_finds_no_room_ends_with_a_whole_record(disk: Path) -> None:
    trace = disk / "trace"
    nat = Nat(trace)
    nat.send(3)
    wait_until(lambda: trace.stat().st_size == 3 * RECORD_BYTES, "the first records")
    Ballast(disk).fill()
    nat.send(200)
    nat.close()
    assert 3 * RECORD_BYTES <= trace.stat().st_size < 203 * RECORD_BYTES
    assert trace.stat().st_size % RECORD_BYTES == 0


def test_a_page_without_room_is_an_error_at_the_start_and_not_a_dead_process_later(disk: Path) -> None:
    Ballast(disk).fill()
    with pytest.raises(OSError, match="No space left"):
        open_status_page(disk / "page")
