"""Foreign programs: a command that is run to its end, and a program that runs until it is undone.

Both run below harness.provision.supervisor, so that nothing of them is left when they, or the harness, end.
"""

from __future__ import annotations

import os
import shutil
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.errors import DeadlineExceeded, HarnessError, MachineError
from harness.provision.connections.errors import NamespaceMissing
from harness.provision.connections.spawned import ProcessFailed, SpawnedProcess
from harness.provision.task import Change, Context, State, Task

SUPERVISOR = "harness.provision.supervisor"
OUTPUT_BYTES_MAX = 64 << 10
"""What is kept of a program's output, from its beginning."""
_START_S = 20.0
_MARGIN_S = 10.0


class CommandFailed(HarnessError):
    """A foreign program ended otherwise than it should."""


@dataclass(frozen=True)
class Program:
    """What is started: words, namespace (None: the host's), variables beside the environment of the harness, and where
    its output goes (`<output>`, and the supervisor's own words to `<output>.log`)."""

    argv: Sequence[str]
    netns: str | None
    output: Path
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    _running: list[SpawnedProcess] = field(default_factory=list, init=False, repr=False, compare=False)
    _broken_off: threading.Event = field(default_factory=threading.Event, init=False, repr=False, compare=False)

    def require(self) -> None:
        """MachineError where the host has no such program."""
        if shutil.which(self.argv[0]) is None:
            raise MachineError(f"no program {self.argv[0]!r:.80} on this host; install it or name another")

    def start(self, context: Context, awaits_port: bool = False) -> SpawnedProcess:
        """Start it below a supervisor, which says "ready" and, at the end, "ended"."""
        self.require()
        configuration = {
            "argv": list(self.argv),
            "output": str(self.output),
            "output_bytes_max": OUTPUT_BYTES_MAX,
            "starts_at_once": True,
            "awaits_port": awaits_port,
        }
        log_path = self.output.with_name(f"{self.output.name}.log")
        environment = {**os.environ, **self.environment}
        argv = [sys.executable, "-P", "-m", SUPERVISOR]
        return context.connection.spawn(argv, self.netns, configuration, log_path, environment)

    def said(self) -> str:
        """The beginning of its output; empty where there is none."""
        try:
            return self.output.read_bytes()[:OUTPUT_BYTES_MAX].decode(errors="replace")
        except OSError:
            return ""

    def failure(self, status: object) -> CommandFailed:
        """The error that it ended with that status, with the last line that is known of it."""
        lines = [line for line in self.said().splitlines() if line.strip()]
        last = "".join(c if c.isprintable() else " " for c in lines[-1]).strip()[:200] if lines else "no output"
        return CommandFailed(f"{self.argv[0]}: exit status {status} ({last})")

    def run(self, context: Context, deadline_s: float) -> int:
        """Run it to its end; the exit status. DeadlineExceeded: it was ended."""
        ends_s = time.monotonic() + deadline_s
        process = self.start(context)
        self._running.append(process)
        try:
            if self._broken_off.is_set():
                process.stop()
            process.wait_event("ready", _START_S)
            ended = process.wait_event("ended", max(0.0, ends_s - time.monotonic()))
        except DeadlineExceeded:
            raise DeadlineExceeded(f"{self.argv[0]}: not done within {deadline_s:g} s") from None
        except ProcessFailed as error:
            raise CommandFailed(f"{self.argv[0]}: {error}") from error
        finally:
            self._running.remove(process)
            process.stop()
        if ended["exit_status"] is None:
            raise CommandFailed(f"{self.argv[0]}: was broken off")
        return int(ended["exit_status"])

    def break_off(self) -> None:
        """End what `run` is at, or will be, from another thread."""
        self._broken_off.set()
        for process in list(self._running):
            process.stop()


class Command(Task):
    """Run a command, unless the file `creates` is there or the command `unless` ends with 0; both are only looked at in
    a check. It has no undo. CommandFailed for another exit status than 0, or where `creates` is not there afterwards.
    """

    name = "run command"
    stays = True

    def __init__(
        self,
        node: str,
        program: Program,
        command_deadline_s: float,
        creates: Path | None = None,
        unless: Sequence[str] = (),
    ) -> None:
        super().__init__(node)
        self.program = program
        self.command_deadline_s = command_deadline_s
        self.deadline_s = 2 * (command_deadline_s + _START_S + _MARGIN_S)
        self.creates = creates
        self.unless = tuple(unless)
        self._has_run = False

    @property
    def output(self) -> str:
        """What it has printed."""
        return self.program.said() if self._has_run else ""

    def wanted(self) -> State:
        return {self.program.argv[0]: "done"}

    def observe(self, context: Context) -> State:
        return {self.program.argv[0]: "done" if self._is_done(context) else "not done"}

    def _is_done(self, context: Context) -> bool:
        if self.creates is not None and self.creates.exists():
            return True
        if self._has_run:
            return self.creates is None
        return bool(self.unless) and self._is_unnecessary(context)

    def _is_unnecessary(self, context: Context) -> bool:
        beside = self.program.output.with_name(f"{self.program.output.name}.unless")
        asked = Program(self.unless, self.program.netns, beside, self.program.environment)
        try:
            return asked.run(context, self.command_deadline_s) == 0
        except NamespaceMissing:
            return False

    def apply(self, context: Context, changes: Sequence[Change]) -> None:
        status = self.program.run(context, self.command_deadline_s)
        self._has_run = True
        if status != 0:
            raise self.program.failure(status)
        if self.creates is not None and not self.creates.exists():
            raise CommandFailed(f"{self.program.argv[0]}: ended well, but {self.creates} is not there")

    def cancel(self) -> None:
        self.program.break_off()

    def undo(self, context: Context) -> None:
        """What a command does cannot be taken back by anybody else."""


class RunningProgram(Task):
    """Start a program that runs until the task is undone. awaits_port: it is ready once it has opened a TCP or UDP port
    of its namespace, within `ready_s`.
    """

    name = "start program"

    def __init__(self, node: str, program: Program, awaits_port: bool = False, ready_s: float = _START_S) -> None:
        super().__init__(node)
        self.program = program
        self.awaits_port = awaits_port
        self.ready_s = ready_s
        self.deadline_s = ready_s + _START_S + _MARGIN_S
        self.ended: dict[str, Any] | None = None
        self._process: SpawnedProcess | None = None

    @property
    def output(self) -> str:
        """What it has printed."""
        return self.program.said()

    def wanted(self) -> State:
        return {self.program.argv[0]: "running"}

    def observe(self, context: Context) -> State:
        running = self._process is not None and self._process.returncode is None
        return {self.program.argv[0]: "running" if running else "not running"}

    def apply(self, context: Context, changes: Sequence[Change]) -> None:
        number = context.ownership.intend("process", self.program.argv[0])
        self._process = self.program.start(context, self.awaits_port)
        context.ownership.made(number, {"pid": self._process.pid, "start_ticks": self._process.start_ticks})
        try:
            self._process.wait_event("ready", self.ready_s)
        except DeadlineExceeded:
            what = "opened no port" if self.awaits_port else "did not start"
            raise DeadlineExceeded(f"{self.program.argv[0]}: {what} within {self.ready_s:g} s") from None

    def cancel(self) -> None:
        if (process := self._process) is not None:
            process.stop()

    def undo(self, context: Context) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.stop()
            self.ended = _end_of(process)
        item = context.ownership.find("process", self.program.argv[0])
        if item is not None:
            context.ownership.gone(item.number)


def _end_of(process: SpawnedProcess) -> dict[str, Any] | None:
    """What the supervisor has said of the program's end; None where it has said nothing."""
    try:
        return process.wait_event("ended", 0.0)
    except HarnessError:
        return None
