from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from harness.errors import MachineError
from harness.experiment.command import filled, require_programs
from harness.experiment.command_summary import judge_client
from harness.migration.outcome import MigrationOutcome
from harness.profile import Profile, parse_profile
from harness.provision.supervisor import open_ports
from harness.record.summary import CommandSummary

WAIT_S = 60.0


def profile_of(client: list[str], server: list[str] | None = None) -> Profile:
    return parse_profile({"load": {"workload": "command", "command": {"client": client, "server": server or []}}})


def test_addresses_take_the_place_of_names_in_every_word() -> None:
    words = ["curl", "http://{server}:80/?from={client}", "{port}", "{server}{server}"]
    assert filled(words) == ["curl", "http://198.18.2.1:80/?from=10.1.2.1", "{port}", "198.18.2.1198.18.2.1"]


@pytest.mark.parametrize(
    ("client", "server", "key"),
    [(["nosuchprogram"], [], "client"), (["true"], ["./nosuchprogram", "-x"], "server"), (["/"], [], "client")],
)
def test_a_missing_program_is_named(client: list[str], server: list[str], key: str) -> None:
    with pytest.raises(MachineError, match=f"load.command.{key}: no program") as caught:
        require_programs(profile_of(client, server))
    assert (client if key == "client" else server)[0] in str(caught.value)


def test_programs_that_are_there_and_other_workloads_pass() -> None:
    require_programs(profile_of([sys.executable], ["true"]))
    require_programs(Profile())


def ended(**change: Any) -> CommandSummary:
    given = {"argv": ("x",), "exit_status": 0, "started_ns": 1, "duration_ns": 2 * 10**9, "log": "logs/client.out"}
    return CommandSummary.model_validate({**given, **change})


COMPLETED = MigrationOutcome(
    outcome="completed", reason="", epoch=1, mode="statelet", started_ns=1, ended_ns=2, phases=(), durations_ns={}
)


@pytest.mark.parametrize(
    ("command", "mode", "outcome", "failures", "doubts"),
    [
        (ended(), "statelet", COMPLETED, [], []),
        (ended(), "none", None, [], []),
        (ended(exit_status=7), "statelet", COMPLETED, ["exit status 7, must be 0"], []),
        (ended(exit_status=-11), "statelet", COMPLETED, ["exit status -11"], []),
        (ended(exit_status=None, timed_out=True), "statelet", COMPLETED, ["had not ended 2 s after its start"], []),
        (ended(exit_status=7), "none", None, [], ["exit status 7"]),
        (ended(exit_status=None, timed_out=True), "none", None, [], ["had not ended"]),
        (ended(), "duplication", None, [], ["before the migration"]),
        (ended(exit_status=1), "statelet", None, [], ["exit status 1", "before the migration"]),
    ],
)
def test_a_client_that_fails_is_a_result_only_once_something_has_moved(
    command: CommandSummary, mode: str, outcome: Any, failures: list[str], doubts: list[str]
) -> None:
    found = judge_client(command, mode, outcome)
    for reasons, parts in zip(found, (failures, doubts), strict=True):
        assert len(reasons) == len(parts)
        assert all(part in reason for reason, part in zip(reasons, parts, strict=True))


def test_listening_and_udp_sockets_are_open_ports(tmp_path: Path) -> None:
    head, rest = "  sl  local_address rem_address   st tx_queue\n", "0:0 00:0 0 0 0"
    (tmp_path / "tcp").write_text(
        f"{head}   0: 0100007F:1F90 00000000:0000 0A {rest} 77 1\n   1: 0100007F:9999 0200:1 01 {rest} 78 1\n"
    )
    (tmp_path / "udp6").write_text(f"{head}   7: {'0' * 32}:0035 {'0' * 32}:0000 07 {rest} 79 2\n")
    assert open_ports(tmp_path) == {("tcp", "0100007F:1F90", "77"), ("udp6", f"{'0' * 32}:0035", "79")}


# Where that is possible, no port of anybody else is in sight.
OWN_PORTS = ("unshare", "--net") if os.geteuid() == 0 and shutil.which("unshare") else ()


class Supervised:
    """The supervising process with one program, its events and its output."""

    def __init__(self, folder: Path, argv: list[str], **change: Any) -> None:
        self.output = folder / "output"
        task = {"output_bytes_max": 1000, "starts_at_once": True, "awaits_port": False, **change}
        self.popen = subprocess.Popen(
            [*OWN_PORTS, sys.executable, "-m", "harness.provision.supervisor"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self.send({"argv": argv, "output": str(self.output), **task})

    def send(self, line: dict[str, Any]) -> None:
        assert self.popen.stdin is not None
        self.popen.stdin.write(json.dumps(line).encode() + b"\n")
        self.popen.stdin.flush()

    def event(self) -> dict[str, Any]:
        assert self.popen.stdout is not None
        found: dict[str, Any] = json.loads(self.popen.stdout.readline())
        return found

    def close(self) -> None:
        assert self.popen.stdin is not None
        self.popen.stdin.close()
        assert self.popen.wait(WAIT_S) == 0


@pytest.fixture
def supervise(tmp_path: Path) -> Iterator[Any]:
    started: list[Supervised] = []

    def start(argv: list[str], **change: Any) -> Supervised:
        started.append(Supervised(tmp_path, argv, **change))
        return started[-1]

    yield start
    for each in started:
        if each.popen.poll() is None:
            each.popen.kill()
        each.popen.wait(WAIT_S)
        for stream in (each.popen.stdin, each.popen.stdout):
            with contextlib.suppress(OSError):
                stream.close()  # type: ignore[union-attr]


def gone(pid: int) -> bool:
    """Whether the process ends (a zombie has ended)."""
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        time.sleep(0.01)
    return False


def test_a_program_waits_for_its_start_and_its_output_is_capped_and_counted(supervise: Any) -> None:
    program = supervise(["sh", "-c", "yes | head -c 200000; echo end >&2; exit 3"], starts_at_once=False)
    assert program.event() == {"event": "ready"}
    assert program.output.read_bytes() == b""
    program.send({"cmd": "start"})
    event = program.event()
    assert (event["event"], event["exit_status"], event["stopped"]) == ("ended", 3, False)
    assert event["output_bytes"] == 200_004
    assert 0 < event["duration_ns"] < time.monotonic_ns() - event["started_ns"]
    program.close()
    assert program.output.read_bytes() == b"y\n" * 500


def test_a_server_is_ready_when_it_has_opened_a_port(supervise: Any) -> None:
    listen = "import socket, time; s = socket.socket(); s.bind(('127.0.0.1', 0)); s.listen(); time.sleep(600)"
    program = supervise([sys.executable, "-c", listen], awaits_port=True)
    assert program.event() == {"event": "ready"}
    program.send({"cmd": "stop"})
    event = program.event()
    assert (event["exit_status"], event["stopped"]) == (None, True)
    program.close()


@pytest.mark.parametrize(
    ("argv", "part"),
    [(["sh", "-c", "exit 4"], "ended (exit status 4) before it had opened a port"), (["/nowhere/x"], "does not start")],
)
def test_a_server_that_does_not_come_up_says_so(supervise: Any, argv: list[str], part: str) -> None:
    program = supervise(argv, awaits_port=True)
    event = program.event()
    assert event["event"] == "error"
    assert part in event["message"]
    program.close()


STUBBORN = "trap '' TERM HUP INT; setsid sh -c 'trap \"\" TERM HUP; echo $$; sleep 600' & echo $$; wait; sleep 600"


@pytest.mark.parametrize("how", ["stop", "end of input", "killed"])
def test_nothing_of_a_stubborn_program_is_left(supervise: Any, how: str) -> None:
    program = supervise(["sh", "-c", STUBBORN])
    assert program.event() == {"event": "ready"}
    deadline = time.monotonic() + WAIT_S
    while len(pids := program.output.read_text().split()) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    children = psutil.Process(program.popen.pid).children(recursive=True)
    assert {int(pid) for pid in pids} <= {child.pid for child in children}
    if how == "stop":
        program.send({"cmd": "stop"})
        assert program.event()["stopped"]
        program.close()
    elif how == "end of input":
        program.close()
    else:
        program.popen.terminate()
        program.popen.wait(WAIT_S)
    assert all(gone(child.pid) for child in children)


def test_a_daemon_that_outlives_its_program_goes_with_it(supervise: Any) -> None:
    program = supervise(["sh", "-c", "setsid sleep 600 >/dev/null 2>&1 & echo $!"])
    assert program.event() == {"event": "ready"}
    assert program.event()["exit_status"] == 0
    assert gone(int(program.output.read_text()))
    program.close()


def test_the_supervisor_survives_the_terminal(supervise: Any) -> None:
    program = supervise(["sleep", "600"])
    assert program.event() == {"event": "ready"}
    os.kill(program.popen.pid, 2)
    program.send({"cmd": "stop"})
    assert program.event()["stopped"]
    program.close()
