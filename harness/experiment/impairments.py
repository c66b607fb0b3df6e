"""What changes during a run: the steps of the profile as entries of a timeline, and the way back at the end."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from harness.errors import HarnessError
from harness.experiment.timeline import Carried, Entry, Timeline
from harness.profile.link_conditions import Step, planned_steps
from harness.profile.model import Profile
from harness.record.events import EventLog
from harness.testbed import topology as names
from harness.testbed.changes import LinkChanges, Outage
from harness.testbed.testbed import ProcessSpec, StartedProcess

CONTENTION = "contention"
CONTENTION_MODULE = "harness.testbed.contention_process"
PHASE = "impairment"
_STARTED_WITHIN_S = 1.0


@dataclass(frozen=True)
class ImpairmentRecord:
    """What was carried out in a run: every step with its times, and the outages of links."""

    carried: tuple[Carried, ...] = ()
    outages: tuple[Outage, ...] = ()
    doubts: tuple[str, ...] = ()


def contention_specs(profile: Profile, log: Path) -> list[ProcessSpec]:
    """The processes that will compete for the CPUs: all are started before the load, and idle until their time."""
    specs = []
    for step in planned_steps(profile):
        if step.contention is None:
            continue
        configuration = asdict(step.contention)
        for number in range(configuration.pop("processes")):
            title = f"{_titles(step)}.{number}"
            argv = [sys.executable, "-m", CONTENTION_MODULE]
            specs.append(ProcessSpec(names.FABRIC, title, argv, configuration, log / f"{CONTENTION}.log"))
    return specs


def is_contention(title: str) -> bool:
    """Whether a process of a run is one that competes on purpose: nothing of it is judged."""
    return title.startswith(f"{CONTENTION}.")


def _titles(step: Step) -> str:
    return f"{CONTENTION}.{step.path.removeprefix('impairment[').removesuffix(']')}"


class Impairments:
    """Of one run. `start` begins the timeline; `end` puts everything back, and must follow."""

    def __init__(
        self, steps: Sequence[Step], changes: LinkChanges, processes: Mapping[str, StartedProcess], events: EventLog
    ) -> None:
        self._steps, self._changes, self._processes, self._events = steps, changes, processes, events
        self._timeline = Timeline([], self._journal)
        self._record: ImpairmentRecord | None = None

    def start(self, window_start_ns: int, load_end_ns: int | None) -> None:
        """Steps count from the start of the window. At the end of the load, where that is known, everything is put
        back (both CLOCK_MONOTONIC ns)."""
        for step in self._steps:
            self._timeline.add(Entry(window_start_ns + step.at_ns, step.text, self._act(step), phase=PHASE))
        if self._steps and load_end_ns is not None:
            # `end` does the same, and may come first: it is called when the load has ended.
            last = Entry(load_end_ns, "end of the load", self._put_back, phase=PHASE, is_required=False)
            self._timeline.add(last)
        self._timeline.start()

    def end(self) -> ImpairmentRecord:
        """Stop, put back what is still changed, and tell what was. Doing it twice is no error."""
        if self._record is None:
            doubts = self._timeline.stop()
            for title, started in self._processes.items():
                if is_contention(title):
                    with contextlib.suppress(HarnessError):  # the end of the run ends it the hard way
                        started.process.stop()
            doubts += self._changes.restore()
            self._record = ImpairmentRecord(self._timeline.carried, self._changes.outages, doubts)
        return self._record

    def _journal(self, carried: Carried) -> None:
        self._events.record(
            carried.entry.phase,
            carried.describe(),
            monotonic_ns=carried.started_ns,
            duration_ns=carried.ended_ns - carried.started_ns,
        )

    def _put_back(self) -> str:
        if failures := self._changes.restore():
            raise HarnessError("; ".join(failures))
        return "links as at the start"

    def _act(self, step: Step) -> Callable[[], str]:
        def act() -> str:
            for node, up in step.links_up.items():
                self._changes.set_link(node, up)
            if step.isolated is not None:
                self._changes.set_partition(step.isolated)
            self._changes.set_conditions(step.conditions)
            if step.contention is not None:
                self._compete(step)
            return "done"

        return act

    def _compete(self, step: Step) -> None:
        chosen = [item for title, item in self._processes.items() if title.startswith(f"{_titles(step)}.")]
        for started in chosen:
            started.process.send({"cmd": "start"})
        for started in chosen:
            started.process.wait_event("started", _STARTED_WITHIN_S)
