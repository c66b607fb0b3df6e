"""Carries out a sweep: the runs that are left in their order, an entry on the disk after each, torn ones listed."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

from harness.errors import HarnessError, UsageError
from harness.record.rundir import SUMMARY
from harness.record.summary import RunSummary, read_summary
from harness.record.sweep import RUNS, SweepEntry, SweepManifest, append_entry, read_entries
from harness.sweep.agenda import Agenda, Attempts
from harness.sweep.matrix import Cell
from harness.sweep.metric import metric_value
from harness.sweep.model import StopRule
from harness.sweep.order import Due, SweepRun, order_of_runs
from harness.sweep.progress import Progress, reason_lines, run_line, seconds_left, windows_s
from harness.sweep.stop import enough
from harness.sweep.store import list_torn, remove_bulk, repair_entries

RunFunction = Callable[[Cell, SweepRun, Path], Path]
"""Carries out one run as an experiment directory of its own below the given folder; returns the folder of the run,
which holds its summary.json. HarnessError where nothing can be run (the testbed cannot be built): the sweep ends."""


@dataclass(frozen=True)
class SweepResult:
    """What a session of a sweep came to."""

    path: Path
    entries: tuple[SweepEntry, ...]
    """Of all sessions."""
    left: int
    """Runs that are still to be made: `limit` ended the session."""

    @property
    def failed(self) -> bool:
        """Whether a run that counts FAILED."""
        return any(entry.verdict == "FAILED" for entry in self.entries)


@dataclass(frozen=True)
class Started:
    """When an attempt began: UTC, and by the session's clock."""

    utc: str
    clock_s: float


def runs_of(manifest: SweepManifest) -> tuple[SweepRun, ...]:
    """All runs of a sweep in their order."""
    return order_of_runs(
        [cell.digest for cell in manifest.cells],
        manifest.modes,
        manifest.repetitions,
        manifest.control_repetitions,
        manifest.seed,
    )


@dataclass
class Session:
    """One session on a sweep's directory: from the first run that is left to the last, an error or an interruption.

    clock_s: monotonic; tell: hears of every run.
    """

    sweep: Path
    manifest: SweepManifest
    cells: Sequence[Cell]
    run: RunFunction
    tell: Callable[[str], None]
    limit: int | None = None
    clock_s: Callable[[], float] = time.monotonic
    _values: dict[str, float | None] = field(default_factory=dict)
    damaged: list[str] = field(default_factory=list)
    """What is not as it should be in the sweep's directory, a line each."""

    def carry_out(self) -> SweepResult:
        """Make the runs that are left. An interruption goes through, after what it tore has been listed."""
        self.begin()
        made = 0
        while made != self.limit and (due := self.agenda.take()):
            self._one(due)
            made += 1
        return self.result()

    def begin(self) -> None:
        """Enter what an earlier session tore; first of all."""
        self._damage(repair_entries(self.sweep))
        digests = [cell.digest for cell in self.cells]
        self._damage(list_torn(self.sweep, digests, "the program was ended in the middle of the run"))
        self.__dict__.pop("agenda", None)

    @cached_property
    def agenda(self) -> Agenda:
        """What is left, from the entries on the disk."""
        enough = None if self.manifest.stop is None else self._enough
        return Agenda(self._runs, self._entries(), self.manifest.retries, enough)

    def result(self) -> SweepResult:
        """What the session has come to so far."""
        return SweepResult(self.sweep, self._entries(), self.agenda.left())

    def cell(self, run: SweepRun) -> Cell:
        """The cell of a run."""
        return self._cells[run.cell]

    def seconds_left(self) -> float:
        """About how long the runs that are left take one after the other."""
        return seconds_left(self.agenda.left_by_cell(), self._windows_s, self.agenda.overhead_s)

    @cached_property
    def _cells(self) -> dict[str, Cell]:
        return {cell.digest: cell for cell in self.cells}

    @cached_property
    def _windows_s(self) -> dict[str, float]:
        return windows_s(self.cells)

    @cached_property
    def _runs(self) -> tuple[SweepRun, ...]:
        return runs_of(self.manifest)

    def _one(self, due: Due) -> None:
        cell, started = self.cell(due.run), Started(datetime.now(UTC).isoformat(), self.clock_s())
        try:
            folder = self.run(cell, due.run, self.sweep / RUNS)
            self.record(due, folder, read_summary(folder / SUMMARY, RunSummary), started)
        except KeyboardInterrupt as interruption:
            self._damage(list_torn(self.sweep, [cell.digest], str(interruption) or "interrupted"))
            raise
        except HarnessError as error:
            self._damage(list_torn(self.sweep, [cell.digest], str(error)))
            raise

    def record(self, due: Due, folder: Path, summary: RunSummary, started: Started, host: str = "") -> None:
        """Enter a run whose folder is complete, and tell of it."""
        if summary.validity.verdict == "VALID" and self.manifest.keep == "figures":
            remove_bulk(folder)
        cell = self.cell(due.run)
        entry = SweepEntry(
            key=due.run.key,
            cell=due.run.cell,
            mode=due.run.mode,
            repetition=due.run.repetition,
            attempt=due.attempt,
            folder=folder.relative_to(self.sweep).as_posix(),
            verdict=summary.validity.verdict,
            reasons=summary.validity.reasons,
            started_utc=started.utc,
            wall_s=self.clock_s() - started.clock_s,
            window_s=cell.profile.timing.window_ns / 1e9,
            host=host,
        )
        self.enter(entry)
        total, left = len(self._runs), self.agenda.left()
        self.tell(run_line(Progress(total - left, total), cell.title, entry, summary, self.seconds_left()))
        for line in reason_lines(entry):
            self.tell(line)

    def enter(self, entry: SweepEntry) -> None:
        """Append an entry to those on the disk."""
        append_entry(self.sweep, entry)
        self.agenda.enter(entry)

    def _entries(self) -> tuple[SweepEntry, ...]:
        return read_entries(self.sweep)[0]

    def _enough(self, run: SweepRun, attempts: Attempts) -> bool:
        """By the repetitions before this one only: a sweep that is resumed decides as it did before."""
        rule = StopRule.model_validate(self.manifest.stop)
        counting = {
            entry.repetition: entry
            for made in attempts.values()
            for entry in made
            if entry.repetition < run.repetition and not entry.interrupted
        }
        values = [self._value(entry, rule.metric) for entry in counting.values() if entry.verdict != "INVALID"]
        return enough(rule, values)

    def _value(self, entry: SweepEntry, metric: str) -> float | None:
        if entry.folder not in self._values:
            try:
                summary = read_summary(self.sweep / entry.folder / SUMMARY, RunSummary)
                self._values[entry.folder] = metric_value(summary, metric)
            except UsageError as error:
                self._values[entry.folder] = None
                self._damage([f"{error}; the run counts as one without {metric}"])
        return self._values[entry.folder]

    def _damage(self, lines: Sequence[str]) -> None:
        for line in lines:
            if line not in self.damaged:
                self.damaged.append(line)
                self.tell(line)
