"""A process in a namespace, started once and ended with the run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.errors import DeadlineExceeded
from harness.provision.connections.spawned import NotReady, ProcessEnded, ProcessFailed, RunningProcess
from harness.provision.task import Change, Context, State, Task


class Process(Task):
    """Start a process. `running` is the process itself once started."""

    name = "start process"

    def __init__(
        self,
        node: str,
        netns: str | None,
        title: str,
        argv: Sequence[str],
        configuration: Mapping[str, Any],
        log_path: Path,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(node)
        self.netns = netns
        self.title = title
        self.argv = list(argv)
        self.configuration = configuration
        self.log_path = log_path
        self.environment = environment
        self.process: RunningProcess | None = None

    @property
    def running(self) -> RunningProcess:
        """The process; ProcessFailed when it was not started."""
        if self.process is None:
            raise ProcessFailed(f"process {self.title}: not started")
        return self.process

    def wanted(self) -> State:
        return {self.title: "running"}

    def observe(self, context: Context) -> State:
        if self.process is None:
            return {}
        status = self.process.returncode
        return {self.title: "running" if status is None else f"exit status {status}"}

    def apply(self, context: Context, changes: Sequence[Change]) -> None:
        number = context.ownership.intend("process", self.title)
        process = context.connection.spawn(self.argv, self.netns, self.configuration, self.log_path, self.environment)
        self.process = process
        identity = {"pid": process.pid, "start_ticks": process.start_ticks}
        context.ownership.made(number, identity)

    def undo(self, context: Context) -> None:
        item = context.ownership.find("process", self.title)
        if self.process is not None:
            self.process.stop()
            self.process = None
        if item is not None:
            context.ownership.gone(item.number)


class ProcessReady(Task):
    """Wait for the "ready" event of a process; the event is `event` afterwards. NotReady when it does not come;
    ProcessFailed when the process says itself why it cannot go on.
    """

    name = "wait until ready"

    def __init__(self, process: Process, timeout_s: float) -> None:
        super().__init__(process.node)
        self.process = process
        self.timeout_s = timeout_s
        self.deadline_s = timeout_s + 5.0
        self.event: dict[str, Any] = {}

    def wanted(self) -> State:
        return {self.process.title: "ready"}

    def observe(self, context: Context) -> State:
        return {self.process.title: "ready" if self.event else "starting"}

    def apply(self, context: Context, changes: Sequence[Change]) -> None:
        try:
            self.event = self.process.running.wait_event("ready", self.timeout_s)
        except (DeadlineExceeded, ProcessEnded) as error:
            raise NotReady(f"{self.process.title} did not become ready: {error}") from error

    def undo(self, context: Context) -> None:
        """Readiness ends with the process."""
