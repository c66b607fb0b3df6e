"""Carries out a sweep: the runs that are left in their order, an entry on the disk after each, torn ones listed."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from harness.errors import HarnessError, UsageError
from harness.record.rundir import SUMMARY
from harness.record.summary import RunSummary, read_summary
from harness.record.sweep import RUNS, SweepEntry, SweepManifest, append_entry, read_entries
from harness.sweep.matrix import Cell
from harness.sweep.metric import metric_value
from harness.sweep.model import StopRule
from harness.sweep.order import Due, SweepRun, due_runs, order_of_runs
from harness.sweep.progress import Progress, reason_lines, run_line, seconds_left
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
        cells = {cell.digest: cell for cell in self.cells}
        runs = runs_of(self.manifest)
        self._damage(repair_entries(self.sweep))
        self._damage(list_torn(self.sweep, list(cells), "the program was ended in the middle of the run"))
        windows_s = {digest: cell.profile.timing.window_ns / 1e9 for digest, cell in cells.items()}
        made = 0
        while due := self._due(runs):
            if made == self.limit:
                break
            entry, summary = self._one(cells[due[0].run.cell], due[0])
            append_entry(self.sweep, entry)
            left = self._due(runs)
            progress = Progress(len(runs) - len(left), len(runs))
            left_s = seconds_left(left, windows_s, self._entries())
            self.tell(run_line(progress, cells[entry.cell].title, entry, summary, left_s))
            for line in reason_lines(entry):
                self.tell(line)
            made += 1
        return SweepResult(self.sweep, self._entries(), len(self._due(runs)))

    def left(self) -> int:
        """How many runs are to be made; changes nothing."""
        return len(self._due(runs_of(self.manifest)))

    def _one(self, cell: Cell, due: Due) -> tuple[SweepEntry, RunSummary]:
        started_utc, began_s = datetime.now(UTC).isoformat(), self.clock_s()
        try:
            folder = self.run(cell, due.run, self.sweep / RUNS)
            summary = read_summary(folder / SUMMARY, RunSummary)
            if summary.validity.verdict == "VALID" and self.manifest.keep == "figures":
                remove_bulk(folder)
        except KeyboardInterrupt as interruption:
            self._damage(list_torn(self.sweep, [cell.digest], str(interruption) or "interrupted"))
            raise
        except HarnessError as error:
            self._damage(list_torn(self.sweep, [cell.digest], str(error)))
            raise
        entry = SweepEntry(
            key=due.run.key,
            cell=due.run.cell,
            mode=due.run.mode,
            repetition=due.run.repetition,
            attempt=due.attempt,
            folder=folder.relative_to(self.sweep).as_posix(),
            verdict=summary.validity.verdict,
            reasons=summary.validity.reasons,
            started_utc=started_utc,
            wall_s=self.clock_s() - began_s,
            window_s=cell.profile.timing.window_ns / 1e9,
        )
        return entry, summary

    def _entries(self) -> tuple[SweepEntry, ...]:
        return read_entries(self.sweep)[0]

    def _due(self, runs: Sequence[SweepRun]) -> tuple[Due, ...]:
        entries = self._entries()
        return due_runs(runs, entries, self.manifest.retries, lambda run: self._stopped(run, entries))

    def _stopped(self, run: SweepRun, entries: Sequence[SweepEntry]) -> bool:
        """By the repetitions before this one only: a sweep that is resumed decides as it did before."""
        if self.manifest.stop is None:
            return False
        rule = StopRule.model_validate(self.manifest.stop)
        counting = {
            entry.repetition: entry
            for entry in entries
            if (entry.cell, entry.mode) == (run.cell, run.mode)
            and entry.repetition < run.repetition
            and not entry.interrupted
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
