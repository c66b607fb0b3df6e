"""The agent as a process of its own, spoken to over pipes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from harness import __version__
from harness.provision.state_directory import STATE_VARIABLE
from harness.remote.agent import answer
from harness.remote.wheel import code_digest
from tests.remote.agent_process import AgentProcess

BUSY = """
import time
from harness.remote import agent
busy = {busy}
agent.LEASE_S = {lease_s}
agent.CALLS = {{**agent.CALLS, "busy": lambda: time.sleep(busy) or {{}}}}
raise SystemExit(agent.main())
"""


@contextmanager
def agent(tmp_path: Path, busy_s: float = 0.0, lease_s: float = 60.0) -> Iterator[AgentProcess]:
    code = BUSY.format(busy=busy_s, lease_s=lease_s)
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": ":".join(sys.path), STATE_VARIABLE: str(tmp_path)}
    popen = subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
    )
    try:
        yield AgentProcess(popen)
    finally:
        popen.kill()
        popen.wait()
        for stream in (popen.stdin, popen.stdout, popen.stderr):
            assert stream is not None
            stream.close()


@pytest.mark.timeout(60)
def test_it_says_what_it_runs_answers_in_order_and_ends_with_its_input(tmp_path: Path) -> None:
    with agent(tmp_path) as running:
        hello = running.said()
        assert (hello["hello"], hello["digest"]) == (__version__, code_digest())
        running.ask(1, "facts")
        running.ask(2, "no such call")
        running.ask(3, "facts", beside="the point")
        assert running.said()["result"]["cpus"] >= 1
        assert "no call 'no such call'" in running.said()["error"]
        assert "TypeError" in running.said()["error"]
        assert running.popen.stdin is not None
        running.popen.stdin.close()
        assert running.popen.wait(30) == 0


@pytest.mark.timeout(60)
def test_whether_it_is_there_can_be_asked_while_it_is_busy(tmp_path: Path) -> None:
    with agent(tmp_path, busy_s=2.0) as running:
        running.said()
        running.ask(1, "busy")
        running.ask(2, "alive")
        running.ask(3, "clock")
        assert [running.said()["id"] for _ in range(3)] == [2, 3, 1]


@pytest.mark.timeout(60)
def test_it_ends_when_nobody_says_anything(tmp_path: Path) -> None:
    with agent(tmp_path, lease_s=0.2) as running:
        running.said()
        assert running.popen.wait(30) == 0
        assert running.popen.stderr is not None
        assert b"nothing was heard of the controller for 0.2 s" in running.popen.stderr.read()


def test_a_request_that_is_none_is_answered() -> None:
    assert "no call None" in answer({"id": 1})["error"]
    assert answer({"id": 1, "call": "alive", "arguments": []})["exit_code"] == 2
