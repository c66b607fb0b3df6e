"""A run of the workload "command": programs talk through the VNF by the kernel's stack while it moves."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from harness.errors import DeadlineExceeded, HarnessError, MachineError
from harness.experiment.processes import CLIENT, SERVER
from harness.experiment.run import DONE_TIMEOUT_S, Run
from harness.experiment.sampling import Sampler, Watched
from harness.profile.model import Profile
from harness.record.events import EventLog
from harness.record.rundir import LOGS
from harness.record.summary import CommandSummary
from harness.testbed import topology as names
from harness.testbed.testbed import ProcessSpec

_NODES = {CLIENT: names.LOADGEN, SERVER: names.ECHOSERVER}
OUTPUT_BYTES_MAX = 1 << 20
"""What is kept of a program's output."""
START_TIMEOUT_S = 20.0


def require_programs(profile: Profile) -> None:
    """MachineError naming the first program of the workload that this machine is to start and has not."""
    command = profile.load.command
    if profile.load.workload != "command":
        return
    for name, words in ((CLIENT, command.client), (SERVER, command.server)):
        elsewhere = _NODES[name] in profile.placement.hosts  # found out when it is started there
        if words and not elsewhere and shutil.which(words[0]) is None:
            raise MachineError(
                f"load.command.{name}: no program {words[0]!r} on this machine; install it or name another"
            )


def filled(words: Sequence[str]) -> list[str]:
    """The words with the addresses of both ends in the place of {server} and {client}."""
    client, server = names.STACK_ADDRESSES[names.LOADGEN], names.STACK_ADDRESSES[names.ECHOSERVER]
    return [word.replace("{server}", server).replace("{client}", client) for word in words]


def log_name(program: str) -> str:
    """Where the output of CLIENT or SERVER is kept, in the run's folder."""
    return f"{LOGS}/{program}.out"


class CommandRun(Run):
    """The server is up before the load would begin, the client starts then, and the run ends with it."""

    _started_ns = 0

    def _load_specs(self, folder: Path, log: Path) -> list[ProcessSpec]:
        command = self._profile.load.command
        specs = [self._spec(CLIENT, command.client, folder, log, START_TIMEOUT_S)]
        if command.server:
            specs.append(self._spec(SERVER, command.server, folder, log, command.ready_within_ns / 1e9))
        return specs

    def _spec(self, program: str, words: Sequence[str], folder: Path, log: Path, ready_timeout_s: float) -> ProcessSpec:
        is_server, node = program == SERVER, _NODES[program]
        configuration = {
            "argv": filled(words),
            "output": str(self._testbed.sites.path(node, folder / log_name(program))),
            "output_bytes_max": OUTPUT_BYTES_MAX,
            "starts_at_once": is_server,
            "awaits_port": is_server,
        }
        argv = [sys.executable, "-m", "harness.provision.supervisor"]
        return ProcessSpec(node, program, argv, configuration, log / f"{program}.log", ready_timeout_s)

    def _load(self, events: EventLog) -> None:
        timing, command = self._profile.timing, self._profile.load.command
        pids = self._note_pids()
        self._record.before = self._watch.reading(self._processes)
        self._watch.read_hosts(self._processes)
        watched = Watched(self._record.pages, None, {}, pids, self._testbed.counters, 0)
        self._sampler = Sampler(watched, timing.interval_ns, self._show)
        self._started_ns = time.monotonic_ns()
        self._record.window_start_ns = self._started_ns + timing.warm_up_ns
        self._processes[CLIENT].process.send({"cmd": "start"})
        self._sampler.start(self._started_ns)
        self._note(events, "client", self._started_ns)
        self._faults.start(self._record.window_start_ns, events)
        self._start_impairments(events, None)
        migrate_ns = self._record.window_start_ns + timing.migrate_at_ns
        if not self._client_ended(migrate_ns) and self._migrates:
            self._migrate(events)
        if not self._client_ended(self._started_ns + command.deadline_ns):
            self._processes[CLIENT].process.send({"cmd": "stop"})
            if not self._client_ended(time.monotonic_ns() + int(DONE_TIMEOUT_S * 1e9)):
                raise HarnessError("client: could not be ended at its deadline")
        self._note(events, "client_end")
        self._record.faults = self._faults.close()
        self._end_impairments()
        self._watch.read_hosts(self._processes)
        if SERVER in self._processes:
            self._processes[SERVER].process.stop()
        self._record.after, self._record.is_quiet = self._watch.quiet_reading(self._processes)

    def _client_ended(self, until_ns: int) -> bool:
        """Wait until the client has ended or CLOCK_MONOTONIC reaches `until_ns`; whether it has ended."""
        client = self._processes[CLIENT].process
        while self._record.command is None and (left_ns := until_ns - time.monotonic_ns()) > 0:
            self._look_after_processes()
            try:
                event = client.next_event(min(left_ns / 1e9, 0.2))
            except DeadlineExceeded:
                continue
            if event is None or event.get("event") == "error":
                message = "ended unexpectedly" if event is None else event.get("message")
                raise HarnessError(f"client: {message}; see {LOGS}/{CLIENT}.log")
            if event.get("event") == "ended":
                self._record.command = self._summary(event)
        return self._record.command is not None

    def _summary(self, event: dict[str, object]) -> CommandSummary:
        command = self._profile.load.command
        server = None
        if command.server:
            server = CommandSummary(argv=tuple(filled(command.server)), exit_status=None, log=log_name(SERVER))
        counted = {name: event[name] for name in ("exit_status", "started_ns", "duration_ns", "output_bytes")}
        return CommandSummary.model_validate(
            {
                **counted,
                "argv": tuple(filled(command.client)),
                "timed_out": event["stopped"],
                "log": log_name(CLIENT),
                "server": server,
            }
        )
