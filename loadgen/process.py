"""The contract of a process that the harness starts: configuration and commands in, events out."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from typing import Any

from harness.errors import HarnessError, UsageError

_LINE_BYTES_MAX = 1 << 20


class LineReader:
    """Lines of a file descriptor, without the buffered stream that must not be waited on when the interpreter ends."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._pending = b""

    def line(self) -> bytes | None:
        """The next line without its end, None at the end of input. Raises UsageError for an endless line."""
        while b"\n" not in self._pending:
            if len(self._pending) > _LINE_BYTES_MAX:
                raise UsageError(f"input: a line of more than {_LINE_BYTES_MAX} bytes")
            data = os.read(self._descriptor, 65536)
            if not data:
                return None
            self._pending += data
        line, self._pending = self._pending.split(b"\n", 1)
        return line


def emit(event: str, **fields: Any) -> None:
    """Write one event line."""
    sys.stdout.write(json.dumps({"event": event, **fields}, allow_nan=False) + "\n")
    sys.stdout.flush()


class CommandThread(threading.Thread):
    """Reads commands while the loop runs: start (once) and stop set words that the loop looks at.

    The end of input means that the harness is gone: the process exits at once. A command that does not parse or comes
    at the wrong time is answered with an error event and otherwise ignored.
    """

    def __init__(self, reader: LineReader, on_start: Callable[[int], None], on_stop: Callable[[], None]) -> None:
        super().__init__(name="commands", daemon=True)
        self._reader = reader
        self._on_start = on_start
        self._on_stop = on_stop
        self._was_started = False

    def run(self) -> None:
        while True:
            try:
                line = self._reader.line()
                if line is None:
                    os._exit(1)
                self._obey(line)
            except HarnessError as error:
                emit("error", message=str(error))

    def _obey(self, line: bytes) -> None:
        try:
            command = json.loads(line)
        except ValueError:
            raise UsageError("command: not JSON") from None
        name = command.get("cmd") if isinstance(command, dict) else None
        if name == "stop":
            self._on_stop()
        elif name == "start":
            start_ns = command.get("start_ns")
            if not isinstance(start_ns, int) or isinstance(start_ns, bool):
                raise UsageError("command start: start_ns must be a whole number of ns on CLOCK_MONOTONIC")
            ahead_ns = start_ns - time.monotonic_ns()
            if not 0 < ahead_ns < 3_600_000_000_000:
                raise UsageError(f"command start: start_ns is {ahead_ns} ns from now; give a time in the next hour")
            if self._was_started:
                raise UsageError("command start: already started")
            self._was_started = True
            self._on_start(start_ns)
        else:
            raise UsageError(f"command {name!r} is unknown; start and stop are possible")


def run_process(main: Callable[[LineReader, bytes], None]) -> int:
    """Call `main` with the input and its first line; every failure becomes one error event. Returns the exit code."""
    # An interrupt at the terminal is for the harness, which ends its processes in its own order.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    reader = LineReader(0)
    try:
        first = reader.line()
        if first is None:
            raise UsageError("configuration: nothing on standard input; this process is started by the harness")
        main(reader, first)
    except HarnessError as error:
        emit("error", message=str(error))
        return error.exit_code
    except Exception as error:  # the harness learns of it in any case; the log has the rest
        traceback.print_exc()
        emit("error", message=f"{type(error).__name__}: {error}")
        return 1
    return 0
