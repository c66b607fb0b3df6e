"""Programs of ours beside the one that starts them: configured by the first line of their input, which may hold
secrets, heard of by events on their output (one JSON object per line), ended by the end of their input.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
from typing import Any

from harness.errors import MachineError, ProtocolError

PATIENCE_S = 30.0
"""For a program to end after its input has; a run under way removes its testbed first."""
EVENT_BYTES_MAX = 1 << 16
WAIT_MAX_S = 5.0
"""One call of `event` waits no longer, so that whoever asks stays able to answer others."""


class Program:
    """A module executed as a process. `event` tells what it says, None where it says nothing for so long."""

    def __init__(self, module: str, configuration: dict[str, Any]) -> None:
        isolated = ["-I"] if sys.flags.isolated else []
        self.module = module
        self._process = subprocess.Popen(
            [sys.executable, *isolated, "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        self._events: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it has ended: `event` says so
            self._process.stdin.write(json.dumps(configuration).encode() + b"\n")
            self._process.stdin.flush()
        threading.Thread(target=self._read, daemon=True, name=f"events of {module}").start()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def event(self, wait_s: float) -> dict[str, Any] | None:
        """The next event; MachineError with its own words for {"event": "error"} and where it has ended."""
        try:
            event = self._events.get(timeout=max(0.0, wait_s))
        except queue.Empty:
            return None
        if event.get("event") == "error":
            raise MachineError(str(event.get("message"))[:400])
        return event

    def end(self, patience_s: float = PATIENCE_S) -> None:
        """End its input, wait, kill it after that. Doing it twice is no error."""
        self.close_input()
        try:
            self._process.wait(patience_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def close_input(self) -> None:
        """Tell it to end, without waiting."""
        if self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        while line := self._process.stdout.readline(EVENT_BYTES_MAX):
            with contextlib.suppress(ValueError):  # what is not ours is not for us
                event = json.loads(line)
                if isinstance(event, dict):
                    self._events.put(event)
        status = self._process.wait()
        self._events.put({"event": "error", "message": f"{self.module} has ended with exit status {status}"})


PROGRAMS = ("harness.sweep.worker_process",)
"""Modules an agent may be asked to start."""
_started: dict[int, Program] = {}


def start(module: str, configuration: dict[str, Any]) -> dict[str, Any]:
    """Call of the agent: start a program. {"pid"}. It ends with the agent."""
    if module not in PROGRAMS or not isinstance(configuration, dict):
        raise ProtocolError(f"{module!r:.80}: not a program an agent starts")
    program = Program(module, configuration)
    _started[program.pid] = program
    return {"pid": program.pid}


def program_event(pid: int, wait_s: float) -> dict[str, Any]:
    """Call of the agent: {"event"} of a program it has started, None where there is none within `wait_s`."""
    if pid not in _started:
        raise ProtocolError(f"{pid!r:.20}: no program of this agent")
    return {"event": _started[pid].event(min(wait_s, WAIT_MAX_S))}


def own_address() -> dict[str, Any]:
    """Call of the agent: the address of this host that the controller has connected to (sshd(8), SSH_CONNECTION)."""
    words = os.environ.get("SSH_CONNECTION", "").split()
    if len(words) != 4:
        raise MachineError("SSH_CONNECTION is not set: not started by an SSH server")
    return {"address": words[2]}


def end_started() -> None:
    """End everything that was started, side by side."""
    for program in _started.values():
        program.close_input()
    for program in _started.values():
        program.end()
    _started.clear()
