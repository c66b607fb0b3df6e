"""Carries out the schedule of faults beside a run, and undoes what it has done.

A fault that waits for a phase without a delay is carried out by the thread that changes the phase, before the phase
goes on: at COMMIT means before the source is asked to commit. That costs the migration the time of a signal or of one
netlink message, in runs with such a fault only. Everything else is done at its time by `later`, beside the run.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from harness.faults import guardian
from harness.faults.actions import Undo, carry_out
from harness.faults.history import FAILED, History, Journal
from harness.faults.schedule import STREAMS, Fault
from harness.faults.stage import Stage
from harness.migration.phases import PhaseEvent
from harness.provision.connections.spawned import RunningProcess

GUARDIAN_END_S = 5.0
_POLL_S = 0.005

Later = Callable[[int, str, Callable[[], str]], None]
"""Has an act carried out at a time (CLOCK_MONOTONIC ns) by another thread; the name is for the journal."""


class Nemesis:
    """The faults of one run. Nothing here raises for a fault that cannot be carried out: the history says so."""

    def __init__(self, schedule: tuple[Fault, ...], stage: Stage, journal: Journal, later: Later) -> None:
        self.history = History(schedule, journal)
        self.stage = stage
        self._schedule, self._later = schedule, later
        self._lock = threading.Lock()
        self._waiting = set(range(len(schedule)))
        self._coming: set[int] = set()
        self._active: dict[int, Undo | None] = {}
        self._attempt, self._phase = 0, ""
        self._closed = False
        self._guardian: subprocess.Popen[bytes] | None = None

    # -- what the run tells --------------------------------------------------------------------------------------

    def start(self, window_start_ns: int) -> None:
        """The load has begun: times count from here."""
        if any(fault.action == "stop" and fault.target not in STREAMS for fault in self._schedule):
            self._guardian = subprocess.Popen(
                [sys.executable, "-I", "-S", str(Path(guardian.__file__))],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
            for started in self.stage.processes.values():
                self.guard(started.process)
        for index, fault in enumerate(self._schedule):
            if fault.at_ns is not None:
                self._come(index, window_start_ns + fault.at_ns)

    def guard(self, process: RunningProcess) -> None:
        """A process that may be stopped: it must not stay so when the harness is gone. One on another host is ended by
        that host then."""
        if process.start_ticks and not self._closed and self._guardian is not None and self._guardian.stdin is not None:
            with contextlib.suppress(OSError):
                self._guardian.stdin.write(b"%d %d\n" % (process.pid, process.start_ticks))
                self._guardian.stdin.flush()

    def rebooted(self, title: str) -> None:
        """A process that was killed has been started anew: its end is no longer expected."""
        self.stage.killed.pop(title, None)
        self.guard(self.stage.processes[title].process)

    def attempt(self, number: int) -> None:
        """A migration is about to begin."""
        self._attempt = number

    def phase(self, event: PhaseEvent) -> None:
        """A phase has changed; called from the thread that changes it."""
        if event.node != "controller":
            return
        self._phase = event.phase
        for index, fault in enumerate(self._schedule):
            if fault.phase is None or fault.phase.value != event.phase:
                continue
            if fault.delay_ns:
                self._come(index, event.monotonic_ns + fault.delay_ns)
            elif self._take(index):
                self._begin(index)

    # -- what the run asks ---------------------------------------------------------------------------------------

    @property
    def killed(self) -> Mapping[str, str]:
        """Titles of the processes that were killed, and by which fault."""
        return self.stage.killed

    def wait_until_over(self, deadline_s: float) -> bool:
        """Wait until no fault is under way or about to begin; whether that has come in time."""
        deadline = time.monotonic() + deadline_s
        while time.monotonic() < deadline:
            with self._lock:
                if not self._active and not self._coming:
                    return True
            time.sleep(_POLL_S)
        return False

    def doubts(self) -> list[str]:
        """Faults that were to happen and could not: the run is not what was asked for."""
        return [f"fault: {entry.describe()}" for entry in self.history.entries if entry.state == FAILED]

    def close(self) -> None:
        """Undo everything that lasts, now. Doing it twice is no error; afterwards no fault begins."""
        with self._lock:
            self._closed = True
            active, self._waiting, self._coming = list(self._active), set(), set()
        for index in active:
            self._end(index)
        if self.stage.relays is not None:
            self.stage.relays.close()
        if self._guardian is not None:
            if self._guardian.stdin is not None:
                with contextlib.suppress(OSError):
                    self._guardian.stdin.close()
            try:
                self._guardian.wait(GUARDIAN_END_S)
            except subprocess.TimeoutExpired:
                self._guardian.kill()
                self._guardian.wait()

    # -- carrying out --------------------------------------------------------------------------------------------

    def _take(self, index: int) -> bool:
        """Whether this caller is to carry the fault out: each happens once."""
        with self._lock:
            if self._closed or index not in self._waiting:
                return False
            self._waiting.discard(index)
            return True

    def _come(self, index: int, at_ns: int) -> None:
        if not self._take(index):
            return
        with self._lock:
            self._coming.add(index)
        self._later(at_ns, self._schedule[index].describe(), partial(self._arrive, index))

    def _arrive(self, index: int) -> str:
        with self._lock:
            if index not in self._coming:
                return "not carried out, the run has ended"
        self._begin(index)
        with self._lock:
            self._coming.discard(index)
        return "done"

    def _begin(self, index: int) -> None:
        fault = self._schedule[index]
        during = (self._attempt, self._phase)
        moment_ns = time.monotonic_ns()
        try:
            if fault.target in STREAMS:
                self._arm(index, fault)
                return
            done, undo = carry_out(self.stage, fault)
        except Exception as error:  # whatever it is, the run must go on and say so
            self.history.failed(index, str(error) or type(error).__name__)
            return
        if undo is not None:
            with self._lock:
                self._active[index] = undo
        self.history.begun(index, *during, done, moment_ns)
        if undo is not None:
            self._later(moment_ns + fault.for_ns, f"end of: {fault.describe()}", partial(self._end, index))

    def _end(self, index: int) -> str:
        with self._lock:
            if index not in self._active:
                return "over already"
            undo = self._active.pop(index)
        if undo is None:
            return "ends by itself"
        try:
            done = undo()
        except Exception as error:
            self.history.failed(index, f"could not be undone: {error}")
            return f"failed: {error}"
        self.history.over(index, done)
        return done

    def _arm(self, index: int, fault: Fault) -> None:
        """A fault of a stream begins when its byte passes the relay, which is another thread."""
        relays = self.stage.relays
        assert relays is not None

        def begun(detail: str) -> None:
            if fault.for_ns:
                with self._lock:
                    self._active[index] = None
            self.history.begun(index, self._attempt, self._phase, detail)

        def over(detail: str) -> None:
            with self._lock:
                self._active.pop(index, None)
            self.history.over(index, detail)

        relays.arm(fault, begun, over)
