"""Tasks of the user's on the host of the tests, through the calls of an agent."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from harness.errors import HarnessError, MachineError, ProtocolError
from harness.provision.clean import clean
from harness.provision.state_directory import STATE_VARIABLE
from harness.remote.frames import pack
from harness.remote.task_part import TaskPart
from tests.remote.agent_process import AgentProcess

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 4_000_000 + 8 * os.getpid()
"""How long programs of these tests would sleep: nobody else's do for as long."""


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(STATE_VARIABLE, str(tmp_path / "state"))
    return tmp_path / "state"


@pytest.fixture
def part(state: Path) -> Iterator[TaskPart]:
    made = TaskPart()
    yield made
    made.close()


def file_task(path: Path, content: str = "ours") -> dict[str, Any]:
    return {"file": {"path": str(path), "content": content}}


def program_task(seconds: int) -> dict[str, Any]:
    return {"process": {"argv": ["sleep", str(seconds)]}}


def running(seconds: int) -> bool:
    return any(p.info["cmdline"] == ["sleep", str(seconds)] for p in psutil.process_iter(["cmdline"]))


def left(state: Path) -> list[Path]:
    return [path for path in state.iterdir() if path.name != "lock"] if state.is_dir() else []


def test_a_check_tells_the_changes_and_makes_none(part: TaskPart, tmp_path: Path) -> None:
    told = part.task(number=0, step="check", table=file_task(tmp_path / "x"))
    assert [subject for subject, _, _ in told["changes"]] == [f"{tmp_path}/x content", f"{tmp_path}/x mode"]
    assert not (tmp_path / "x").exists()


def test_what_was_done_can_be_undone_one_by_one(part: TaskPart, tmp_path: Path) -> None:
    for number, name in enumerate("xy"):
        assert part.task(number=number, step="apply", table=file_task(tmp_path / name))["changes"]
        assert part.task(number=number, step="apply", table=file_task(tmp_path / name))["changes"] == []
    part.task(number=0, step="undo", table=file_task(tmp_path / "x"))
    assert [(tmp_path / name).exists() for name in "xy"] == [False, True]


def test_closing_undoes_everything_and_leaves_no_record(part: TaskPart, state: Path, tmp_path: Path) -> None:
    (tmp_path / "x").write_text("before")
    part.task(number=0, step="apply", table=file_task(tmp_path / "x"))
    part.task(number=1, step="apply", table=program_task(SECONDS + 3))
    assert running(SECONDS + 3)
    assert left(state)
    part.close()
    part.close()
    assert (tmp_path / "x").read_text() == "before"
    assert not running(SECONDS + 3)
    assert left(state) == []


def test_a_task_that_fails_undoes_the_others_of_its_host(part: TaskPart, tmp_path: Path) -> None:
    part.task(number=0, step="apply", table=file_task(tmp_path / "x"))
    with pytest.raises(HarnessError, match="sh: exit status 3"):
        part.task(number=1, step="apply", table={"command": {"argv": ["sh", "-c", "exit 3"]}})
    assert not (tmp_path / "x").exists()


def test_a_program_gets_its_variables_and_what_it_prints_comes_back(part: TaskPart) -> None:
    table = {"command": {"argv": ["sh", "-c", "echo $WORD"], "environment": ["WORD"]}}
    told = part.task(number=0, step="apply", table=table, environment={"WORD": "secret"})
    assert told["output"] == "secret\n"


def test_a_file_may_hold_any_bytes(part: TaskPart, tmp_path: Path) -> None:
    content = bytes(range(256))
    table = {"file": {"path": str(tmp_path / "x"), "source": "elsewhere"}}
    part.task(number=0, step="apply", table=table, content=base64.b64encode(content).decode())
    assert (tmp_path / "x").read_bytes() == content


def test_a_parameter_that_no_kernel_has_is_what_the_machine_lacks(part: TaskPart) -> None:
    with pytest.raises(MachineError, match=r"kernel parameter net\.nosuch: this kernel has none"):
        part.task(number=0, step="check", table={"sysctl": {"net.nosuch": 1}})


@pytest.mark.parametrize(
    "changed",
    [
        {"number": -1},
        {"number": "1"},
        {"step": "destroy"},
        {"table": {}},
        {"table": {"file": {"path": "x", "content": ""}}},
        {"table": {"sysctl": {"../x": 1}}},
        {"table": {"shell": "rm"}},
        {"netns": "../../etc"},
        {"netns": ""},
        {"content": "%%%", "table": {"file": {"path": "/nonexistent/x", "source": "y"}}},
        {"environment": {"A": 1}},
        {"more": True},
    ],
)
def test_what_is_no_request_is_refused_and_nothing_of_it_is_shown(
    part: TaskPart, changed: dict[str, Any], tmp_path: Path
) -> None:
    asked = {
        "number": 0,
        "step": "apply",
        "table": {"command": {"argv": ["touch", str(tmp_path / "ran")]}},
        "environment": {"TOKEN": "hidden"},
    }
    with pytest.raises(ProtocolError, match=r"^task: ") as caught:
        part.task(**{**asked, **changed})
    assert "hidden" not in str(caught.value)
    assert not (tmp_path / "ran").exists()


class Agent(AgentProcess):
    """One whose records are in `state`, asked for tasks."""

    def __init__(self, state: Path) -> None:
        super().__init__(
            subprocess.Popen(
                [sys.executable, "-m", "harness.remote.agent"],
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env={**os.environ, STATE_VARIABLE: str(state)},
                start_new_session=True,
            )
        )
        self.said()

    def call(self, **arguments: Any) -> dict[str, Any]:
        self.ask(1, "task", **arguments)
        while (answer := self.said()).get("id") != 1:
            pass
        return answer


@pytest.fixture
def agent(state: Path) -> Iterator[Agent]:
    started = Agent(state)
    yield started
    if started.popen.poll() is None:
        started.popen.kill()
    for stream in (started.popen.stdin, started.popen.stdout):
        assert stream is not None
        stream.close()
    started.popen.wait(30)


def busy(agent: Agent, tmp_path: Path, seconds: int) -> Path:
    path = tmp_path / "x"
    path.write_text("before")
    for number, table in enumerate((file_task(path), program_task(seconds))):
        answer = agent.call(number=number, step="apply", table=table)
        assert "error" not in answer, json.dumps(answer)
    assert path.read_text() == "ours"
    assert running(seconds)
    return path


def test_an_agent_whose_input_ends_undoes_what_it_has_done(agent: Agent, tmp_path: Path, state: Path) -> None:
    path = busy(agent, tmp_path, SECONDS + 2)
    assert agent.popen.stdin is not None
    agent.popen.stdin.close()
    assert agent.popen.wait(30) == 0
    assert path.read_text() == "before"
    assert not running(SECONDS + 2)
    assert left(state) == []


def test_an_agent_whose_reader_has_gone_undoes_what_it_has_done(agent: Agent, tmp_path: Path, state: Path) -> None:
    path = busy(agent, tmp_path, SECONDS + 1)
    assert agent.popen.stdin is not None
    assert agent.popen.stdout is not None
    agent.popen.stdin.write(pack({"id": 2, "call": "facts"}))
    agent.popen.stdout.close()
    agent.popen.stdin.close()
    agent.popen.wait(30)
    assert path.read_text() == "before"
    assert not running(SECONDS + 1)
    assert left(state) == []


def test_what_a_killed_agent_leaves_is_cleaned(agent: Agent, tmp_path: Path, state: Path) -> None:
    path = busy(agent, tmp_path, SECONDS)
    os.kill(agent.popen.pid, signal.SIGKILL)
    agent.popen.wait(30)
    kinds = {item.kind for item in clean(state)}
    assert {"file", "directory"} <= kinds
    assert path.read_text() == "before"
    assert not running(SECONDS)
    assert left(state) == []
