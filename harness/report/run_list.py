"""Choosing, sorting and printing the rows of a list of runs. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from harness.record.run_row import RunRow
from harness.report.table import MISSING
from harness.units import format_rate

_GIT_DIGITS = 8
_HEADINGS = ("started (UTC)", "profile", "mode", "verdict", "load", "frame", "loss s", "RTT>15ms s", "duration s")
_TEXT_COLUMNS = 4


@dataclass(frozen=True)
class Wanted:
    """What a run has to have; an empty field asks for nothing. Times are UTC texts, both ends included."""

    profiles: tuple[str, ...] = ()
    modes: tuple[str, ...] = ()
    verdicts: tuple[str, ...] = ()
    git: str = ""
    sweep: str = ""
    since: str | None = None
    until: str | None = None

    def has(self, row: RunRow) -> bool:
        """Whether `row` is wanted. One that could not be read has nothing but perhaps a sweep."""
        return (
            (not self.profiles or row.profile in self.profiles)
            and (not self.modes or row.mode in self.modes)
            and (not self.verdicts or row.verdict in self.verdicts)
            and row.git_revision.startswith(self.git)
            and self.sweep in row.sweep
            and (self.since is None or row.started_utc >= self.since)
            and (self.until is None or "" < row.started_utc <= self.until)
        )


def choose(rows: Iterable[RunRow], wanted: Wanted, key: str, reverse: bool, limit: int | None) -> list[RunRow]:
    """The wanted rows by the field `key`, then by path; rows without a value come last in either direction."""
    chosen = sorted((row for row in rows if wanted.has(row)), key=lambda row: row.path)
    with_value = [row for row in chosen if getattr(row, key) not in (None, "")]
    without = [row for row in chosen if getattr(row, key) in (None, "")]
    with_value.sort(key=lambda row: getattr(row, key), reverse=reverse)
    return (with_value + without)[:limit]


def lines(rows: Sequence[RunRow]) -> list[str]:
    """One line a run under a heading; below them one for each directory that could not be read."""
    readable = [row for row in rows if not row.problem]
    table = [(*_HEADINGS, "git", "run"), *(_cells(row) for row in readable)]
    widths = [max(len(cells[column]) for cells in table) for column in range(len(_HEADINGS) + 1)]
    printed = []
    if readable:
        for cells in table:
            texts = [text.ljust(width) for text, width in zip(cells[:_TEXT_COLUMNS], widths, strict=False)]
            numbers = zip(cells[_TEXT_COLUMNS:-2], widths[_TEXT_COLUMNS:], strict=False)
            texts += [text.rjust(width) for text, width in numbers]
            printed.append("  ".join([*texts, cells[-2].ljust(widths[-1]), cells[-1]]))
    printed += [f"unreadable: {row.path}: {row.problem}" for row in rows if row.problem]
    return printed or ["no runs"]


def _cells(row: RunRow) -> tuple[str, ...]:
    load = MISSING if row.offered_bps is None else format_rate(row.offered_bps, 3)
    changed = "+" if row.git_changed else ""
    return (
        row.started_utc.replace("T", " ").removesuffix("Z"),
        row.profile,
        row.mode,
        row.verdict,
        load,
        MISSING if row.frame_bytes is None else str(row.frame_bytes),
        _number(row.loss_s, 4),
        _number(row.rtt_late_s, 4),
        _number(row.duration_s, 3),
        row.git_revision[:_GIT_DIGITS] + changed or MISSING,
        row.path,
    )


def _number(value: float | None, digits: int) -> str:
    return MISSING if value is None else f"{value:.{digits}f}"
