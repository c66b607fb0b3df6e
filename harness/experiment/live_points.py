"""Writes the points of a run while it goes on, so that whoever follows the file sees what happens.

A thread beside the run takes what the sampler and the event log have meanwhile, a hundred lines or so at a time, and
waits for the disk itself: neither the controller nor the sampler ever waits for it. What it could not write is left
for the end of the run.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections.abc import Callable

from harness.experiment.sample_points import PointTags, Written, sample_points
from harness.experiment.sampling import Series
from harness.record.events import Event
from harness.record.rundir import POINTS, Folder

PERIOD_S = 0.5
STOP_S = 30.0
"""Longest wait for a disk that does not answer."""

_log = logging.getLogger(__name__)


class LivePoints:
    """From `start` to `stop`; `written` then says what need not be written again. series: what is sampled so far."""

    def __init__(self, folder: Folder, of: PointTags, series: Callable[[], Series], period_s: float = PERIOD_S) -> None:
        self.written = Written()
        self._folder, self._of, self._series, self._period_s = folder, of, series, period_s
        self._events: list[Event] = []
        self._failed = False
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="live points", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def hear(self, event: Event) -> None:
        """An event has been journalled; called in the order of the journal, from whichever thread."""
        self._events.append(event)

    def stop(self) -> None:
        """Write what is there and end."""
        self._ending.set()
        if self._thread.is_alive():
            self._thread.join(STOP_S)

    def _run(self) -> None:
        while not self._ending.wait(self._period_s):
            self._try_to_write()
        self._try_to_write()

    def _try_to_write(self) -> None:
        try:
            self._write()
        except (OSError, ValueError) as error:
            # The run goes on, and a disk may have room again; what is left is written at the end.
            if not self._failed:
                _log.warning("points are not written while the run goes on: %s", error)
            self._failed = True

    def _write(self) -> None:
        lines, until = sample_points(self._of, self._series(), self._events, self.written)
        if not lines:
            return
        path = self._folder.file(POINTS)
        size_bytes = path.stat().st_size if path.exists() else 0
        try:
            self._folder.append_points(lines)
        except OSError:
            # Half a line at the end would spoil the next one.
            with contextlib.suppress(OSError):
                os.truncate(path, size_bytes)
            raise
        self.written = until
