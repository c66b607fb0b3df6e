"""A process the harness started: configuration and commands in, events out, both as JSON lines."""

from __future__ import annotations

import contextlib
import json
import queue
import signal
import subprocess
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Protocol

from harness.errors import DeadlineExceeded, HarnessError

_MAX_LINE_BYTES = 1 << 20
_POLL_S = 0.05


class ProcessFailed(HarnessError):
    """A process ended, or said it cannot go on, while something was expected of it."""


class ProcessEnded(ProcessFailed):
    """A process ended without having said why, while something was expected of it."""


class NotReady(ProcessFailed):
    """A process did not become ready: the testbed could not be built, which says nothing of what was to be measured."""


def process_start_ticks(pid: int) -> int | None:
    """Start time of a process in clock ticks since boot (proc(5), stat field 22); None when there is no such process.

    A zombie counts as gone: it holds nothing any more and only waits for its parent.
    """
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = text[text.rindex(")") + 2 :].split()
    return None if fields[0] in "ZX" else int(fields[19])


class Child(Protocol):
    """What is needed of a started process: the part of subprocess.Popen that is used here."""

    @property
    def pid(self) -> int: ...
    @property
    def stdin(self) -> IO[bytes] | None: ...
    @property
    def stdout(self) -> IO[bytes] | None: ...
    def poll(self) -> int | None: ...
    def wait(self, timeout: float | None = None) -> int: ...
    def send_signal(self, number: int, /) -> None: ...
    def kill(self) -> None: ...


class RunningProcess(ABC):
    """A process of the harness, wherever it runs: it takes commands and tells events, both JSON objects."""

    def __init__(self, pid: int, argv: Sequence[str], log_path: Path) -> None:
        self.pid = pid
        self.argv = list(argv)
        self.log_path = log_path
        self.start_ticks = 0
        """With the process id, what tells it from any other of this host; 0 where that is of no use."""
        self._events: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()

    @property
    @abstractmethod
    def returncode(self) -> int | None:
        """Exit status, negative for a signal; None while the process runs."""

    @abstractmethod
    def send(self, command: Mapping[str, Any]) -> None:
        """Give it a command; ProcessFailed when the process no longer reads."""

    @abstractmethod
    def signal(self, number: int) -> None:
        """Send it a signal; nothing happens to a process that has ended."""

    @abstractmethod
    def stop(self, timeout_s: float = 2.0) -> int:
        """End the process: end of input first, SIGTERM after half of the time, SIGKILL at the end. Returns its exit
        status.
        """

    def next_event(self, timeout_s: float) -> dict[str, Any] | None:
        """The next event, or None when the process has closed its output; DeadlineExceeded when neither comes in
        time.
        """
        try:
            event = self._events.get(timeout=max(0.0, timeout_s))
        except queue.Empty:
            raise DeadlineExceeded(f"{self._title()}: no event within {timeout_s:.3g} s") from None
        if event is None:
            self._events.put(None)
        return event

    def wait_event(self, name: str, timeout_s: float) -> dict[str, Any]:
        """The next event called `name`; other events before it are dropped, except "error", which raises
        ProcessFailed.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                event = self.next_event(deadline - time.monotonic())
            except DeadlineExceeded:
                raise DeadlineExceeded(f"{self._title()}: no event {name!r} within {timeout_s:.3g} s") from None
            if event is None:
                self._settle()
                raise ProcessEnded(f"{self._title()}: ended before event {name!r} ({self._fate()})")
            if event.get("event") == name:
                return event
            if event.get("event") == "error":
                raise ProcessFailed(f"{self._title()}: {event.get('message', 'error without a message')}")

    def _settle(self) -> None:  # noqa: B027 - not every process can close its output and live on
        """Wait a moment for the end of one that has closed its output."""

    def _title(self) -> str:
        return f"process {self.pid} ({' '.join(self.argv[:4])})"

    def _fate(self) -> str:
        status = self.returncode
        return f"{'still running' if status is None else f'exit status {status}'}, log {self.log_path}"


class SpawnedProcess(RunningProcess):
    """Standard input carries one JSON object per line to the process, standard output its events back.

    Events are read by a thread of their own, so a slow caller never stops the process on a full pipe.
    """

    def __init__(self, popen: Child, argv: Sequence[str], log_path: Path) -> None:
        super().__init__(popen.pid, argv, log_path)
        self._popen = popen
        self.start_ticks = process_start_ticks(popen.pid) or 0
        self._reader = threading.Thread(target=self._read, name=f"events-{popen.pid}", daemon=True)
        self._reader.start()
        self._input_lock = threading.Lock()

    @property
    def returncode(self) -> int | None:
        return self._popen.poll()

    def send(self, command: Mapping[str, Any]) -> None:
        line = json.dumps(command, allow_nan=False).encode() + b"\n"
        stream = self._popen.stdin
        assert stream is not None
        try:
            with self._input_lock:
                stream.write(line)
                stream.flush()
        except (BrokenPipeError, ValueError, OSError) as error:
            raise ProcessFailed(f"{self._title()}: no longer reads its commands ({self._fate()})") from error

    def signal(self, number: int) -> None:
        self._popen.send_signal(number)

    def stop(self, timeout_s: float = 2.0) -> int:
        with self._input_lock:
            stream = self._popen.stdin
            if stream is not None and not stream.closed:
                with contextlib.suppress(OSError):  # it may have ended before reading what was buffered
                    stream.close()
        for patience_s, action in ((timeout_s / 2, signal.SIGTERM), (timeout_s / 2, signal.SIGKILL), (5.0, None)):
            try:
                self._popen.wait(patience_s)
                break
            except subprocess.TimeoutExpired:
                if action is None:
                    raise HarnessError(f"{self._title()}: does not end, not even by SIGKILL") from None
                self._popen.send_signal(action)
        self._reader.join(timeout_s)
        return self._popen.wait(0)

    def _read(self) -> None:
        stream = self._popen.stdout
        assert stream is not None
        with stream:
            while line := stream.readline(_MAX_LINE_BYTES):
                try:
                    event = json.loads(line)
                except ValueError:
                    event = None
                if not isinstance(event, dict):
                    event = {"event": "error", "message": f"printed something that is not an event: {line[:80]!r}"}
                self._events.put(event)
        self._events.put(None)

    def _settle(self) -> None:
        with contextlib.suppress(subprocess.TimeoutExpired):  # it closed its output but lives on; the message says so
            self._popen.wait(_POLL_S)
