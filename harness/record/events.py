"""The event log of a run: one JSON object per line, on its way to the disk before the next thing happens."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from harness.errors import UsageError


@dataclass(frozen=True)
class Event:
    """CLOCK_MONOTONIC and UTC ns since 1970 of the same moment, the phase it belongs to, and what happened."""

    monotonic_ns: int
    wall_ns: int
    phase: str
    text: str
    duration_ns: int | None = None


class EventLog:
    """Appends events to a file; every line is flushed to the kernel, so the end of this process loses none.

    May be used from several threads; lines never mix. `close` also waits for the disk. What a full disk does not take
    waits for the next event, and for `close`: who tells of an event is never disturbed. `unwritten_bytes` is what was
    left in the end; the file then ends in the middle of a line or before it.
    `heard` is told every event, in the order of the file; it neither raises nor waits.
    """

    def __init__(
        self,
        path: Path,
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
        wall_ns: Callable[[], int] = time.time_ns,
        heard: Callable[[Event], None] = lambda _event: None,
    ) -> None:
        self._monotonic_ns = monotonic_ns
        self._heard = heard
        self._wall_ns = wall_ns
        self._lock = threading.Lock()
        self._file = path.open("ab", buffering=0)
        self._waiting = b""

    def record(
        self, phase: str, text: str, *, monotonic_ns: int | None = None, duration_ns: int | None = None
    ) -> Event:
        """Append one event. `monotonic_ns`: when it happened, if not now; its wall time is then calculated."""
        with self._lock:
            now_ns = self._monotonic_ns()
            at_ns = now_ns if monotonic_ns is None else monotonic_ns
            event = Event(at_ns, self._wall_ns() - (now_ns - at_ns), phase, text, duration_ns)
            line = {key: value for key, value in vars(event).items() if value is not None}
            text = json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n"
            # One write of one whole line to a file opened for appending. Text may hold undecodable bytes of a process
            # (surrogates); their backslash form is JSON's own escape.
            self._waiting += text.encode(errors="backslashreplace")
            self._write()
            self._heard(event)
            return event

    @property
    def unwritten_bytes(self) -> int:
        """Of events that have not reached the file."""
        return len(self._waiting)

    def _write(self) -> None:
        while self._waiting:
            try:
                self._waiting = self._waiting[self._file.write(self._waiting) :]
            except OSError:
                return

    def close(self) -> None:
        with self._lock:
            if not self._file.closed:
                self._write()
                os.fsync(self._file.fileno())
                self._file.close()

    def __enter__(self) -> EventLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def read_events(path: Path) -> list[Event]:
    """Every whole line of an event log; a last line cut off by a crash is left out. UsageError for any other damage."""
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror})") from error
    events = []
    for number, line in enumerate(lines[:-1], 1):
        try:
            data = json.loads(line)
            event = Event(**data)
        except (ValueError, TypeError, RecursionError) as error:
            raise UsageError(f"{path}:{number}: not an event ({error})") from error
        if not (type(event.monotonic_ns) is type(event.wall_ns) is int and isinstance(event.phase, str)):
            raise UsageError(f"{path}:{number}: not an event (a time or the phase has the wrong type)")
        events.append(event)
    return events
