"""Marks of processes: what a dead owner left is found, and nothing that only looks like it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from harness.provision.connections.spawned import process_start_ticks
from harness.provision.owner import OWNER_VARIABLE, Owner, orphans


@pytest.fixture
def started() -> Iterator[list[subprocess.Popen[bytes]]]:
    processes: list[subprocess.Popen[bytes]] = []
    yield processes
    for process in processes:
        process.kill()
        process.wait()


def start(started: list[subprocess.Popen[bytes]], mark: str) -> tuple[int, int]:
    environment = {**os.environ, OWNER_VARIABLE: mark}
    process = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)
    started.append(process)
    # The kernel tells of the program's start before it shows its environment; one that answers is past both.
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(b"started\n")
    process.stdin.flush()
    assert process.stdout.readline() == b"started\n"
    return process.pid, process_start_ticks(process.pid) or 0


def dead_owner() -> Owner:
    """A process that has ended; its number may be another's by now, its start time is not."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        ticks = process_start_ticks(process.pid)
        assert ticks is not None
        process.communicate(b"\n")
    return replace(Owner.present(), pid=process.pid, start_ticks=ticks)


def test_a_process_of_an_owner_that_has_ended_is_found(started: list[subprocess.Popen[bytes]], tmp_path: Path) -> None:
    identity = start(started, dead_owner().mark(tmp_path))
    assert list(orphans(tmp_path)) == [identity]


def test_its_number_with_another_process_is_no_sign_of_life(
    started: list[subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    present = Owner.present()
    identity = start(started, replace(present, start_ticks=present.start_ticks - 1).mark(tmp_path))
    assert list(orphans(tmp_path)) == [identity]


def test_look_alikes_are_not_ours(started: list[subprocess.Popen[bytes]], tmp_path: Path) -> None:
    dead, present = dead_owner(), Owner.present()
    for mark in (
        present.mark(tmp_path),  # its owner lives
        dead.mark(tmp_path / "other"),  # another state directory
        replace(dead, numbering=dead.numbering + 1).mark(tmp_path),  # another container's process
        "",
        "1",
        f"x:{dead.start_ticks}:{dead.numbering}:{tmp_path}",
        f" {dead.mark(tmp_path)}",
    ):
        start(started, mark)
    assert list(orphans(tmp_path)) == []


def test_an_owner_of_an_earlier_boot_has_ended() -> None:
    present = Owner.present()
    assert not present.has_ended
    assert replace(present, boot="other").has_ended
    assert Owner.parse(vars(present)) == present
    assert Owner.parse({"pid": 1}) is None
    assert Owner.parse([]) is None


def test_an_owner_in_another_numbering_may_still_live() -> None:
    present = Owner.present()
    assert not replace(present, numbering=present.numbering + 1, pid=1 << 22, start_ticks=1).has_ended
