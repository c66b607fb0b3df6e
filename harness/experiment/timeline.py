"""Acts at their times beside a run: changes of the links, faults. One thread carries them out and journals each.

Nothing an act does can end the run: an exception, a deadline that passed and an act that came too late are doubts of
the run, which make it INVALID.
"""

from __future__ import annotations

import heapq
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

DEADLINE_NS = 2_000_000_000
LATE_NS = 100_000_000
"""An act that begins later than this after its time is a doubt: what was measured is not what was asked for."""
_STOP_MARGIN_S = 1.0


@dataclass(frozen=True)
class Entry:
    """One act. `at_ns` is CLOCK_MONOTONIC; `act` returns what it did, in a few words, and may raise anything."""

    at_ns: int
    name: str
    act: Callable[[], str]
    phase: str = "impairment"
    """Under which it is journalled."""
    deadline_ns: int = DEADLINE_NS
    is_required: bool = True
    """Whether it is a doubt if the run ends before."""


@dataclass(frozen=True)
class Carried:
    """An entry that was carried out, or failed: `error` then says how. Times are CLOCK_MONOTONIC."""

    entry: Entry
    started_ns: int
    ended_ns: int
    text: str
    error: str | None = None

    @property
    def late_ns(self) -> int:
        """From its time to when it began."""
        return self.started_ns - self.entry.at_ns

    def describe(self) -> str:
        """One line for the journal, with how late it began."""
        what = self.text if self.error is None else f"failed: {self.error}"
        return f"{self.entry.name}: {what} (begun {self.late_ns / 1e6:.1f} ms after its time)"


@dataclass
class _Work:
    """An act under way in its own thread; `done` is set when it has ended."""

    entry: Entry
    started_ns: int
    done: threading.Event = field(default_factory=threading.Event)
    ended_ns: int = 0
    text: str = ""
    error: str | None = None

    def run(self) -> None:
        try:
            self.text = self.entry.act()
        except BaseException as error:  # whatever it is, the run goes on and says so
            self.error = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        finally:
            self.ended_ns = time.monotonic_ns()
            self.done.set()


class Timeline:
    """Carries out entries in order of their times, one after the other, from `start` to `stop`.

    `journal` is called with each `Carried`, from the timeline's thread; EventLog may be used from several threads.
    Entries may be added while it runs. An act that does not end by its deadline is left behind (no thread can be ended
    from outside), and no further entry is carried out: it could collide with the one that hangs.
    """

    def __init__(self, entries: Sequence[Entry], journal: Callable[[Carried], object]) -> None:
        self._journal = journal
        self._waiting: list[tuple[int, int, Entry]] = []
        self._count = 0
        self._changed = threading.Condition()
        self._stopping = False
        self._doubts: list[str] = []
        self._carried: list[Carried] = []
        self._longest_ns = DEADLINE_NS
        self._thread = threading.Thread(target=self._run, name="timeline", daemon=True)
        for entry in entries:
            self.add(entry)

    def add(self, entry: Entry) -> None:
        """Have one more entry carried out; one whose time is past, at once."""
        with self._changed:
            self._count += 1  # entries of the same time keep their order
            heapq.heappush(self._waiting, (entry.at_ns, self._count, entry))
            self._longest_ns = max(self._longest_ns, entry.deadline_ns)
            self._changed.notify()

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> tuple[str, ...]:
        """End, waiting for an act under way until its deadline; returns the doubts. Doing it twice is no error.

        What was not reached by then is not carried out and, where it is required, a doubt.
        """
        with self._changed:
            self._stopping = True
            self._changed.notify()
        if self._thread.ident is not None:
            self._thread.join(self._longest_ns / 1e9 + _STOP_MARGIN_S)
        with self._changed:
            left, self._waiting = sorted(self._waiting), []
            missed = [entry for _, _, entry in left if entry.is_required]
            self._doubts += [f"{entry.name}: not carried out, the run ended before" for entry in missed]
            return tuple(self._doubts)

    @property
    def doubts(self) -> tuple[str, ...]:
        """What went wrong so far."""
        with self._changed:
            return tuple(self._doubts)

    @property
    def carried(self) -> tuple[Carried, ...]:
        """What was carried out so far, failures included, in order."""
        with self._changed:
            return tuple(self._carried)

    def _run(self) -> None:
        while (entry := self._next()) is not None:
            if not self._carry_out(entry):
                return

    def _next(self) -> Entry | None:
        """The next entry when its time has come, or None when it is time to stop."""
        with self._changed:
            while not self._stopping:
                left_ns = self._waiting[0][0] - time.monotonic_ns() if self._waiting else None
                if left_ns is not None and left_ns <= 0:
                    return heapq.heappop(self._waiting)[2]
                self._changed.wait(None if left_ns is None else left_ns / 1e9)
        return None

    def _carry_out(self, entry: Entry) -> bool:
        """Whether it ended, well or not."""
        work = _Work(entry, time.monotonic_ns())
        threading.Thread(target=work.run, name=f"timeline: {entry.name}", daemon=True).start()
        ended = work.done.wait(entry.deadline_ns / 1e9)
        if ended:
            carried = Carried(entry, work.started_ns, work.ended_ns, work.text, work.error)
        else:
            error = f"did not end within {entry.deadline_ns / 1e9:g} s"
            carried = Carried(entry, work.started_ns, time.monotonic_ns(), "", error)
        with self._changed:
            self._carried.append(carried)
            if carried.error is not None:
                self._doubts.append(f"{entry.name}: {carried.error}")
            elif carried.late_ns > LATE_NS:
                self._doubts.append(f"{entry.name}: began {carried.late_ns / 1e6:.0f} ms late")
        try:
            self._journal(carried)
        except Exception as error:  # the thread must live to carry out the rest, restorations among them
            with self._changed:
                self._doubts.append(f"{entry.name}: not journalled: {error}")
        return ended
