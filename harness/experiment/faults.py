"""The faults of one run: their stage made from what the run has, and nothing at all in a run without faults."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from harness.experiment.timeline import Entry, Timeline
from harness.faults.history import Happened
from harness.faults.nemesis import Nemesis
from harness.faults.schedule import STREAMS, Fault
from harness.faults.stage import Stage
from harness.faults.streams import Relays
from harness.migration.outcome import Between
from harness.migration.phases import PhaseEvent
from harness.record.events import EventLog
from harness.record.rundir import Folder
from harness.testbed import topology as names
from harness.testbed.testbed import StartedProcess, Testbed

OVER_MARGIN_S = 2.0


def needs_small_disk(schedule: Sequence[Fault]) -> bool:
    """Whether the run's folder is to be a file system of its own, which can be filled."""
    return any(fault.target == "disk" for fault in schedule)


class RunFaults:
    """Made with the run, `start`ed with its load, `close`d when that has ended; each does nothing without faults."""

    def __init__(
        self, schedule: tuple[Fault, ...], testbed: Testbed, processes: Mapping[str, StartedProcess], folder: Folder
    ) -> None:
        self._schedule, self._testbed, self._processes, self._folder = schedule, testbed, processes, folder
        self._nemesis: Nemesis | None = None
        self._timeline: Timeline | None = None
        self._happened: tuple[Happened, ...] = ()

    def start(self, window_start_ns: int, events: EventLog) -> None:
        """The load begins; times of the schedule count from window_start_ns."""
        if not self._schedule:
            return

        def journal(phase: str, text: str, moment_ns: int) -> None:
            events.record(phase, text, monotonic_ns=moment_ns)

        timeline = Timeline((), lambda _carried: None)  # the history journals, with what each fault came to
        relays = None
        if any(fault.target in STREAMS for fault in self._schedule):
            relays = Relays(names.MANAGEMENT_ADDRESSES[names.CONTROLLER], self._testbed.controller_socket)
        disk = self._folder.path if needs_small_disk(self._schedule) else None
        stage = Stage(self._processes, self._testbed.fabric, relays, disk)
        self._nemesis = Nemesis(
            self._schedule, stage, journal, lambda at_ns, name, act: timeline.add(Entry(at_ns, name, act, "fault"))
        )
        self._timeline = timeline
        timeline.start()
        self._nemesis.start(window_start_ns)

    @property
    def between(self) -> Between | None:
        """What is put between the instances of the next attempt."""
        relays = None if self._nemesis is None else self._nemesis.stage.relays
        return None if relays is None else relays.between

    @property
    def killed(self) -> Mapping[str, str]:
        """Titles of processes whose end was asked for, and by which fault."""
        return {} if self._nemesis is None else self._nemesis.killed

    def attempt(self, number: int) -> None:
        """A migration is about to begin."""
        if self._nemesis is not None:
            self._nemesis.attempt(number)

    def phase(self, event: PhaseEvent) -> None:
        """A phase has changed; faults of that phase happen before this returns."""
        if self._nemesis is not None:
            self._nemesis.phase(event)

    def rebooted(self, title: str) -> None:
        """A process that was killed runs again."""
        if self._nemesis is not None:
            self._nemesis.rebooted(title)

    def wait_until_over(self, deadline_s: float) -> bool:
        """Whether nothing disturbs any more, after waiting for that: as long as the faults themselves may last, or
        deadline_s where that is longer."""
        return self._nemesis is None or self._nemesis.wait_until_over(max(deadline_s, self._longest_s))

    def doubts(self) -> list[str]:
        """Faults that were asked for and could not be carried out or undone."""
        return [] if self._nemesis is None else self._nemesis.doubts()

    @property
    def _longest_s(self) -> float:
        return max((fault.for_ns for fault in self._schedule), default=0) / 1e9 + OVER_MARGIN_S

    def close(self, wait: bool = True) -> tuple[Happened, ...]:
        """Wait until the faults under way are over (unless told not to), undo what is not, and tell what happened.
        Doing it twice is no error."""
        if self._nemesis is not None and self._timeline is not None:
            if wait:
                self._nemesis.wait_until_over(self._longest_s)
            self._nemesis.close()
            self._timeline.stop()
            self._timeline = None
            self._happened = self._nemesis.history.entries
        return self._happened
