from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.errors import DeadlineExceeded
from harness.provision.connections.local import LocalConnection
from harness.provision.connections.spawned import ProcessFailed, SpawnedProcess, process_start_ticks

Start = Callable[[str], SpawnedProcess]
PRELUDE = "import json, sys\ndef say(**event): print(json.dumps(event), flush=True)\n"


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    connection = LocalConnection()
    started: list[SpawnedProcess] = []

    def run(program: str) -> SpawnedProcess:
        argv = [sys.executable, "-c", PRELUDE + program]
        started.append(connection.spawn(argv, None, {"secret": "s3cret"}, tmp_path / "log"))
        return started[-1]

    yield run
    for process in started:
        process.stop(0.2)
    connection.close()


def test_the_configuration_is_the_first_line_and_nowhere_else(start: Start) -> None:
    process = start("say(event='ready', got=json.loads(sys.stdin.readline())); sys.stdin.read()")
    assert process.wait_event("ready", 10)["got"] == {"secret": "s3cret"}
    assert b"s3cret" not in Path(f"/proc/{process.pid}/cmdline").read_bytes()
    assert b"s3cret" not in Path(f"/proc/{process.pid}/environ").read_bytes()


def test_commands_arrive_in_order(start: Start) -> None:
    process = start("sys.stdin.readline()\nfor line in sys.stdin: say(event='echo', got=json.loads(line)['n'])")
    for number in range(3):
        process.send({"n": number})
    assert [process.wait_event("echo", 10)["got"] for _ in range(3)] == [0, 1, 2]


def test_it_ends_at_the_end_of_its_input(start: Start) -> None:
    process = start("say(event='ready'); sys.stdin.read(); sys.exit(7)")
    process.wait_event("ready", 10)
    assert process.stop(10) == 7


def test_one_that_ignores_everything_is_killed(start: Start) -> None:
    ignore = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); say(event='ready')\n"
    process = start(ignore + "while True: signal.pause()")
    process.wait_event("ready", 10)
    assert process.stop(0.1) == -9
    assert process_start_ticks(process.pid) is None


def test_a_process_that_ends_early_is_reported_with_status_and_log(start: Start, tmp_path: Path) -> None:
    process = start("sys.stderr.write('broken'); sys.exit(3)")
    with pytest.raises(ProcessFailed, match=r"exit status 3.*log"):
        process.wait_event("ready", 10)
    assert (tmp_path / "log").read_text() == "broken"
    with pytest.raises(ProcessFailed, match="no longer reads"):
        process.send({})


def test_its_own_error_event_is_raised(start: Start) -> None:
    process = start("say(event='error', message='no such image'); sys.stdin.read()")
    with pytest.raises(ProcessFailed, match="no such image"):
        process.wait_event("ready", 10)


@pytest.mark.parametrize("line", ["not json", "[1, 2]", "17"])
def test_output_that_is_no_event_is_an_error(start: Start, line: str) -> None:
    process = start(f"print({line!r}, flush=True); sys.stdin.read()")
    with pytest.raises(ProcessFailed, match="not an event"):
        process.wait_event("ready", 10)


def test_waiting_ends_at_its_deadline(start: Start) -> None:
    process = start("say(event='other'); sys.stdin.read()")
    process.wait_event("other", 10)
    with pytest.raises(DeadlineExceeded, match=r"'ready' within 0.01 s"):
        process.wait_event("ready", 0.01)


def test_a_program_that_does_not_exist_is_one_line(tmp_path: Path) -> None:
    connection = LocalConnection()
    with pytest.raises(ProcessFailed, match="/no/such/program"):
        connection.spawn(["/no/such/program"], None, {}, tmp_path / "log")
    connection.close()


def test_start_time_tells_processes_of_one_id_apart() -> None:
    ticks = process_start_ticks(os.getpid())
    assert ticks is not None
    assert ticks > 0
    assert process_start_ticks(2**22 + 1) is None
