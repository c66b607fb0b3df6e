"""What the nemesis does to real processes, and that it leaves none as it should not be."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.faults import guardian
from harness.faults.history import FAILED, NOT_REACHED, OVER
from harness.faults.nemesis import Nemesis
from harness.faults.schedule import Fault
from harness.faults.stage import Stage
from harness.migration.phases import ControllerPhase, PhaseEvent
from harness.provision.connections.local import LocalConnection
from harness.provision.connections.spawned import SpawnedProcess, process_start_ticks
from harness.testbed.testbed import StartedProcess

DEADLINE_S = 20.0
COMMIT = ControllerPhase.COMMIT
PROGRAM = 'import sys\nfor line in sys.stdin: print(\'{"event": "heard"}\', flush=True)'


def wait_until(reached: Callable[[], Any], what: str) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not reached():
        assert time.monotonic() < deadline, what
        time.sleep(0.005)


def state(pid: int) -> str:
    """One letter of proc(5): R, S, T (stopped), Z."""
    text = Path(f"/proc/{pid}/stat").read_text()
    return text[text.rindex(")") + 2]


def reached(phase: ControllerPhase, node: str = "controller") -> PhaseEvent:
    return PhaseEvent(node, "", phase.value, time.monotonic_ns(), time.time_ns())


class FakeFabric:
    """Remembers what was cut."""

    def __init__(self) -> None:
        self.cut: set[str] = set()

    def cut_management(self, node: str) -> None:
        self.cut.add(node)

    def restore_management(self, node: str) -> None:
        self.cut.discard(node)


class Bench:
    """A source that is a real process, a nemesis, and threads that do things at their time."""

    def __init__(self, folder: Path) -> None:
        self._connection = LocalConnection()
        self._folder = folder
        self.process = self.spawn()
        self.processes = {"source": StartedProcess("source", self.process)}
        self.fabric = FakeFabric()
        self.stage = Stage(self.processes, self.fabric)
        self.journal: list[tuple[str, str]] = []
        self.nemesis: Nemesis | None = None

    def spawn(self) -> SpawnedProcess:
        return self._connection.spawn([sys.executable, "-c", PROGRAM], None, {}, self._folder / "log")

    def plan(self, *faults: Fault) -> Nemesis:
        def later(at_ns: int, _name: str, act: Callable[[], str]) -> None:
            threading.Timer(max(0.0, (at_ns - time.monotonic_ns()) / 1e9), act).start()

        self.nemesis = Nemesis(faults, self.stage, lambda phase, text, _ns: self.journal.append((phase, text)), later)
        self.nemesis.start(time.monotonic_ns())
        self.nemesis.attempt(1)
        return self.nemesis

    def close(self) -> None:
        if self.nemesis is not None:
            self.nemesis.close()
        self.process.stop()
        self._connection.close()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.close()


def test_a_process_is_killed_before_its_phase_goes_on(bench: Bench) -> None:
    nemesis = bench.plan(Fault("source", "kill", COMMIT))
    nemesis.phase(reached(ControllerPhase.SNAPSHOT))
    nemesis.phase(reached(COMMIT, node="destination"))
    assert bench.process.returncode is None
    assert nemesis.killed == {}
    nemesis.phase(reached(COMMIT))
    assert nemesis.killed == {"source": "kill source at commit"}
    wait_until(lambda: bench.process.returncode == -9, "the end of the process")
    (entry,) = nemesis.history.entries
    assert (entry.state, entry.attempt, entry.during) == (OVER, 1, "commit")
    assert bench.journal == [("fault.source.kill", f"kill source at commit begins: process {bench.process.pid}")]


def test_a_fault_happens_once_and_spares_what_is_started_anew(bench: Bench) -> None:
    nemesis = bench.plan(Fault("source", "kill", COMMIT))
    nemesis.phase(reached(COMMIT))
    wait_until(lambda: bench.process.returncode is not None, "the end of the process")
    bench.process = bench.spawn()
    bench.processes["source"] = StartedProcess("source", bench.process)
    nemesis.rebooted("source")
    nemesis.attempt(2)
    nemesis.phase(reached(COMMIT))
    bench.process.send({"hello": 1})
    assert bench.process.wait_event("heard", DEADLINE_S)
    assert nemesis.killed == {}


def test_a_stopped_process_stands_still_for_its_time(bench: Bench) -> None:
    nemesis = bench.plan(Fault("source", "stop", COMMIT, for_ns=1_000_000_000))
    nemesis.phase(reached(COMMIT))
    assert not nemesis.wait_until_over(0.0)
    wait_until(lambda: state(bench.process.pid) == "T", "the process to stand still")
    assert nemesis.wait_until_over(DEADLINE_S)
    wait_until(lambda: state(bench.process.pid) != "T", "the process to go on")
    (entry,) = nemesis.history.entries
    assert entry.state == OVER
    assert entry.begun_ns is not None
    assert entry.over_ns is not None
    assert entry.over_ns - entry.begun_ns >= 1_000_000_000


def test_delays_and_times_are_waited_for(bench: Bench) -> None:
    begun_ns = time.monotonic_ns()
    nemesis = bench.plan(
        Fault("management", "cut", COMMIT, delay_ns=600_000_000, for_ns=100_000_000, node="source"),
        Fault("management", "cut", at_ns=120_000_000, for_ns=1_000_000),
    )
    nemesis.phase(reached(COMMIT))
    assert bench.fabric.cut == set()
    assert not nemesis.wait_until_over(0.0), "it is about to begin"
    assert nemesis.wait_until_over(DEADLINE_S)
    cut, timed = nemesis.history.entries
    assert cut.begun_ns is not None
    assert timed.begun_ns is not None
    assert cut.begun_ns - begun_ns >= 600_000_000
    assert timed.begun_ns - begun_ns >= 120_000_000
    assert bench.fabric.cut == set()


def test_closing_undoes_everything_and_nothing_begins_afterwards(bench: Bench) -> None:
    minute_ns = 60_000_000_000
    nemesis = bench.plan(
        Fault("source", "stop", COMMIT, for_ns=minute_ns),
        Fault("management", "cut", COMMIT, for_ns=minute_ns),
        Fault("source", "kill", ControllerPhase.DRAIN),
    )
    nemesis.phase(reached(COMMIT))
    wait_until(lambda: state(bench.process.pid) == "T", "the process to stand still")
    assert bench.fabric.cut == {"destination"}
    nemesis.close()
    wait_until(lambda: state(bench.process.pid) != "T", "the process to go on")
    assert bench.fabric.cut == set()
    nemesis.phase(reached(ControllerPhase.DRAIN))
    assert bench.process.returncode is None
    assert [entry.state for entry in nemesis.history.entries] == [OVER, OVER, NOT_REACHED]
    nemesis.rebooted("source")
    nemesis.close()


def test_what_cannot_be_done_is_a_doubt_and_no_error(bench: Bench) -> None:
    nemesis = bench.plan(
        Fault("latency", "kill", COMMIT), Fault("disk", "fill", COMMIT, for_ns=1), Fault("source", "kill", COMMIT)
    )
    nemesis.phase(reached(COMMIT))
    assert [entry.state for entry in nemesis.history.entries] == [FAILED, FAILED, OVER]
    assert nemesis.doubts() == [
        "fault: kill latency at commit: failed: this run has no process latency",
        "fault: fill disk for 1ns at commit: failed: the run's folder has no file system of its own",
    ]
    assert nemesis.wait_until_over(DEADLINE_S)


def test_a_stopped_process_goes_on_when_the_harness_is_gone() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as stopped:
        os.kill(stopped.pid, 19)
        wait_until(lambda: state(stopped.pid) == "T", "the process to stand still")
        with subprocess.Popen(
            [sys.executable, "-I", "-S", guardian.__file__], stdin=subprocess.PIPE, text=True
        ) as guard:
            assert guard.stdin is not None
            ticks = process_start_ticks(stopped.pid)
            guard.stdin.write(f"{stopped.pid} {ticks}\n{os.getpid()} 1\n999999999 5\n")
            guard.stdin.close()
            assert guard.wait(DEADLINE_S) == 0
        wait_until(lambda: state(stopped.pid) != "T", "the process to go on")
        stopped.kill()
