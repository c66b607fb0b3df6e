"""A sweep on many testbeds at once: each takes the next run that is left, one at a time.

Pure of networks: what carries runs is given. A run whose host is lost, or cannot carry it out, is entered as
interrupted with the host's name and made again by whoever is free next.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from harness.errors import HarnessError, RunFailed
from harness.record.rundir import SUMMARY
from harness.record.summary import RunSummary, read_summary
from harness.record.sweep import RUNS, SweepEntry
from harness.sweep.archive import unpack
from harness.sweep.engine import Session, Started, SweepResult
from harness.sweep.matrix import Cell
from harness.sweep.order import Due

LOST_MAX = 3
"""Attempts at one run that may be lost with their hosts before it is thought to be the run."""
NOBODY_LEFT = "no host is left that could run the rest; resume when there is one"


@dataclass(frozen=True)
class Outcome:
    """What became of a run that was handed out. `archive`: its experiment directory (harness.sweep.archive); None where
    the host was lost or cannot carry it out: `reason`. Such a host is given nothing more."""

    key: str
    host: str
    archive: bytes | None = None
    reason: str = ""


class Workers(Protocol):
    """Testbeds that carry runs, each one at a time."""

    def free(self) -> int:
        """How many could take a run now."""

    def give(self, cell: Cell, due: Due) -> None:
        """Hand out a run; does not wait."""

    def take(self) -> Outcome:
        """Wait for the next run that ends. HarnessError where nobody is left who could."""


def carry_out(
    session: Session,
    workers: Workers,
    tell: Callable[[str], None],
    recorded: Callable[[Path], None] | None = None,
) -> SweepResult:
    """Make the runs that are left on all workers; `recorded` hears of every run's folder. An interruption or the end of
    all workers goes through, after what was under way has been entered as interrupted."""
    session.begin()
    under_way: dict[str, tuple[Due, Started]] = {}
    lost: dict[str, int] = {}
    given = 0
    try:
        while True:
            while given != session.limit and workers.free() > 0 and (due := session.agenda.take()) is not None:
                under_way[due.run.key] = (due, Started(datetime.now(UTC).isoformat(), session.clock_s()))
                workers.give(session.cell(due.run), due)
                given += 1
            if not under_way:
                if session.agenda.left() and given != session.limit:
                    raise HarnessError(NOBODY_LEFT)
                return session.result()
            outcome = workers.take()
            due, started = under_way.pop(outcome.key)
            reason = outcome.reason
            if outcome.archive is not None:
                try:
                    folder, summary = _taken(session, due, outcome.archive)
                except HarnessError as error:
                    reason = f"sent a result that cannot be used ({error})"
                else:
                    session.record(due, folder, summary, started, outcome.host)
                    if recorded is not None:
                        recorded(folder)
                    continue
            given -= 1
            lost[outcome.key] = lost.get(outcome.key, 0) + 1
            _enter_lost(session, due, started, outcome.host, reason)
            tell(f"{outcome.host}: {reason}; its run is made again elsewhere")
            if lost[outcome.key] == LOST_MAX:
                raise RunFailed(f"run {outcome.key} was lost {LOST_MAX} times in turn, the last time: {reason}")
    except BaseException as error:
        for due, started in under_way.values():
            _enter_lost(session, due, started, "", str(error) or "interrupted")
        raise


def _taken(session: Session, due: Due, archive: bytes) -> tuple[Path, RunSummary]:
    """The run's folder within the sweep, and what it says. HarnessError for what is no result of that very run."""
    folder = unpack(archive, session.sweep / RUNS)
    summary = read_summary(folder / SUMMARY, RunSummary)
    if (summary.mode, summary.repetition) != (due.run.mode, due.run.repetition):
        raise HarnessError(f"{folder.name} is of another run")
    return folder, summary


def _enter_lost(session: Session, due: Due, started: Started, host: str, reason: str) -> None:
    session.enter(
        SweepEntry(
            key=due.run.key,
            cell=due.run.cell,
            mode=due.run.mode,
            repetition=due.run.repetition,
            attempt=due.attempt,
            folder=f"{RUNS}/lost-{due.run.key}-{due.attempt}",
            verdict="INVALID",
            reasons=(reason,),
            started_utc=started.utc,
            wall_s=session.clock_s() - started.clock_s,
            window_s=0.0,
            interrupted=True,
            host=host,
        ),
    )
