"""Real programs, in the namespace of the tests themselves."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from harness.errors import DeadlineExceeded, MachineError
from harness.provision.connections.local import LocalConnection
from harness.provision.ownership import Ownership
from harness.provision.task import Context
from harness.provision.tasks.command import Command, CommandFailed, Program, RunningProgram
from tests.provision.contract import check_contract

_SERVER = """
import socket, time
server = socket.socket()
server.bind(("127.0.0.1", 0))
server.listen()
print("listening", flush=True)
time.sleep(100)
"""


@pytest.fixture
def context(tmp_path: Path) -> Iterator[Context]:
    connection = LocalConnection()
    with Ownership.beside("commands", tmp_path / "state") as ownership:
        yield Context(connection, ownership)
    connection.close()


def program(folder: Path, *argv: str, **environment: str) -> Program:
    return Program(argv, None, folder / "out", environment)


def carry_out(task: Command, context: Context) -> bool:
    """Whether there was something to do."""
    changes = task.diff(task.observe(context))
    if changes:
        task.apply(context, changes)
        task.verify(context)
    return bool(changes)


def test_a_command_runs_once_and_what_it_says_is_kept(context: Context, tmp_path: Path) -> None:
    words = ("sh", "-c", f'echo "$WORD"; echo x >> {tmp_path}/ran')
    task = Command("n", program(tmp_path, *words, WORD="from outside"), 10)
    assert carry_out(task, context)
    assert not carry_out(task, context)
    assert task.output == "from outside\n"
    assert (tmp_path / "ran").read_text() == "x\n"


def test_a_command_is_not_run_where_its_file_is_there(context: Context, tmp_path: Path) -> None:
    made = tmp_path / "made"
    task = Command("n", program(tmp_path, "touch", str(made)), 10, creates=made)
    assert carry_out(task, context)
    assert not carry_out(Command("n", program(tmp_path, "false"), 10, creates=made), context)


def test_a_command_that_does_not_make_its_file_has_failed(context: Context, tmp_path: Path) -> None:
    with pytest.raises(CommandFailed, match="true: ended well, but /nonexistent/file is not there"):
        carry_out(Command("n", program(tmp_path, "true"), 10, creates=Path("/nonexistent/file")), context)


def test_a_command_is_not_run_where_another_says_that_it_is_unnecessary(context: Context, tmp_path: Path) -> None:
    assert not carry_out(Command("n", program(tmp_path, "false"), 10, unless=["true"]), context)
    assert carry_out(Command("n", program(tmp_path, "true"), 10, unless=["false"]), context)


def test_a_command_that_fails_is_one_line_with_its_last_words(context: Context, tmp_path: Path) -> None:
    task = Command("n", program(tmp_path, "sh", "-c", "echo first; printf 'no such \\033thing\\n\\n' >&2; exit 7"), 10)
    with pytest.raises(CommandFailed, match=r"^sh: exit status 7 \(no such  ?thing\)$"):
        carry_out(task, context)


def test_a_command_is_ended_at_its_deadline_with_all_it_has_started(context: Context, tmp_path: Path) -> None:
    task = Command("n", program(tmp_path, "sh", "-c", "sleep 3987 & sleep 3987"), 0.5)
    with pytest.raises(DeadlineExceeded, match=r"sh: not done within 0\.5 s"):
        carry_out(task, context)
    assert not [p for p in psutil.process_iter(["cmdline"]) if p.info["cmdline"] == ["sleep", "3987"]]


def test_a_command_is_broken_off_from_another_thread(context: Context, tmp_path: Path) -> None:
    task = Command("n", program(tmp_path, "sh", "-c", "echo running; sleep 3977"), 60)
    with ThreadPoolExecutor(1) as executor:
        at_work = executor.submit(carry_out, task, context)
        while not (tmp_path / "out").exists() or not (tmp_path / "out").read_text():
            assert not at_work.done()
        task.cancel()
        with pytest.raises(CommandFailed, match="sh: was broken off"):
            at_work.result(20)
    assert not [p for p in psutil.process_iter(["cmdline"]) if p.info["cmdline"] == ["sleep", "3977"]]


@pytest.mark.parametrize("kind", [Command, RunningProgram])
def test_a_program_that_is_not_there_is_what_the_machine_lacks(
    context: Context, tmp_path: Path, kind: type[Command] | type[RunningProgram]
) -> None:
    missing = program(tmp_path, "nosuchprogram")
    task = Command("n", missing, 10) if kind is Command else RunningProgram("n", missing)
    with pytest.raises(MachineError, match="no program 'nosuchprogram' on this host"):
        task.apply(context, task.diff(task.observe(context)))


def test_a_program_runs_until_it_is_undone(context: Context, tmp_path: Path) -> None:
    check_contract(RunningProgram("n", program(tmp_path, "sleep", "3986")), context)
    assert not [p for p in psutil.process_iter(["cmdline"]) if p.info["cmdline"] == ["sleep", "3986"]]
    assert context.ownership.living() == []


def test_a_program_may_be_ready_only_once_it_has_a_port(context: Context, tmp_path: Path) -> None:
    task = RunningProgram("n", program(tmp_path, sys.executable, "-c", _SERVER), awaits_port=True)
    task.apply(context, task.diff(task.observe(context)))
    task.undo(context)
    assert task.output == "listening\n"
    assert task.ended is not None


def test_a_program_that_opens_no_port_in_time_is_one_line(context: Context, tmp_path: Path) -> None:
    task = RunningProgram("n", program(tmp_path, "sleep", "3985"), awaits_port=True, ready_s=0.5)
    with pytest.raises(DeadlineExceeded, match=r"sleep: opened no port within 0\.5 s"):
        task.apply(context, task.diff(task.observe(context)))
    task.undo(context)
    assert not [p for p in psutil.process_iter(["cmdline"]) if p.info["cmdline"] == ["sleep", "3985"]]


def test_the_end_of_a_program_that_ended_by_itself_is_known(context: Context, tmp_path: Path) -> None:
    task = RunningProgram("n", program(tmp_path, "sh", "-c", "exit 3"))
    task.apply(context, task.diff(task.observe(context)))
    for _ in psutil.wait_procs([p for p in psutil.Process().children(recursive=True) if p.name() == "sh"], 10)[0]:
        pass
    task.undo(context)
    assert task.ended is not None
    assert task.ended["exit_status"] == 3
