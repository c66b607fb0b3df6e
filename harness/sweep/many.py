"""A sweep on many testbeds at once: each takes the next run that is left, one at a time.

Pure of networks: what carries runs is given. A run whose host is lost is entered as interrupted with the host's name
and is made again by whoever is free next.
"""

from __future__ import annotations

import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Protocol

from harness.errors import HarnessError, RunFailed
from harness.record.sweep import RUNS, SweepEntry, append_entry
from harness.sweep.engine import Session, Started, SweepResult
from harness.sweep.matrix import Cell
from harness.sweep.order import Due

LOST_MAX = 3
"""Attempts at one run that may be lost with their hosts before it is thought to be the run."""
NOBODY_LEFT = "no host is left that could run the rest; resume when there is one"
MEMBER_BYTES_MAX = 8 << 30


@dataclass(frozen=True)
class Outcome:
    """What became of a run that was handed out. `archive`: tar of its experiment directory; None where the host was
    lost, `reason` then says how. `error`: the host could not run it."""

    key: str
    host: str
    archive: bytes | None = None
    reason: str = ""
    error: str = ""


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
    session.mend()
    under_way: dict[str, tuple[Due, Started]] = {}
    lost: dict[str, int] = {}
    given = 0
    try:
        while True:
            while workers.free() > 0 and given != session.limit:
                due = _next(session, under_way)
                if due is None:
                    break
                under_way[due.run.key] = (due, Started(datetime.now(UTC).isoformat(), session.clock_s()))
                workers.give(session.cell(due.run), due)
                given += 1
            if not under_way:
                if session.left() and given != session.limit:
                    raise HarnessError(NOBODY_LEFT)
                return session.result()
            outcome = workers.take()
            due, started = under_way.pop(outcome.key)
            if outcome.error:
                raise HarnessError(f"{outcome.host}: {outcome.error}")
            if outcome.archive is None:
                given -= 1
                lost[outcome.key] = lost.get(outcome.key, 0) + 1
                _enter_lost(session, due, started, outcome.host, outcome.reason)
                tell(f"{outcome.host}: {outcome.reason}; its run is made again elsewhere")
                if lost[outcome.key] == LOST_MAX:
                    raise RunFailed(f"run {outcome.key} was lost with {LOST_MAX} hosts in turn; it is left out")
                continue
            folder = unpack(outcome.archive, session.sweep / RUNS)
            session.record(due, folder, started, outcome.host)
            if recorded is not None:
                recorded(folder)
    except BaseException as error:
        for due, started in under_way.values():
            _enter_lost(session, due, started, "", str(error) or "interrupted")
        raise


def _next(session: Session, under_way: dict[str, tuple[Due, Started]]) -> Due | None:
    """What may be handed out next. Where a rule stops the repetitions of a cell, those before a run have to be known
    before it."""
    stops = session.manifest.stop is not None
    busy = {(due.run.cell, due.run.mode) for due, _ in under_way.values()} if stops else set()
    for due in session.due():
        if due.run.key not in under_way and (due.run.cell, due.run.mode) not in busy:
            return due
    return None


def _enter_lost(session: Session, due: Due, started: Started, host: str, reason: str) -> None:
    append_entry(
        session.sweep,
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


def unpack(archive: bytes, runs: Path) -> Path:
    """Unpack an experiment directory with one run; returns the run's folder. HarnessError for anything else: archives
    come from other machines."""
    try:
        with tarfile.open(fileobj=BytesIO(archive)) as tar:
            members = tar.getmembers()
            tops = {Path(member.name).parts[0] for member in members if Path(member.name).parts}
            if len(tops) != 1 or sum(member.size for member in members) > MEMBER_BYTES_MAX:
                raise HarnessError("a result that is not one experiment directory")
            (top,) = tops
            if top in ("..", "/") or (runs / top).exists():
                raise HarnessError(f"a result whose directory {top!r:.80} cannot be taken")
            tar.extractall(runs, filter="data")
    except (tarfile.TarError, OSError, EOFError) as error:
        raise HarnessError(f"a result that cannot be unpacked ({error!s:.120})") from error
    folders = sorted((runs / top).glob("01-*"))
    if len(folders) != 1:
        raise HarnessError(f"result {top}: holds {len(folders)} runs, not one")
    return folders[0]
