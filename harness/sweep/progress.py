"""What a sweep tells while it runs: a line per run, the time left, the sum at the end. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from harness.record.summary import RunSummary
from harness.record.sweep import SweepEntry
from harness.sweep.matrix import Cell

EXPECTED_OVERHEAD_S = 6.0
"""Until the first run of a sweep is measured: wall time of a run beyond its window."""
MISSING = "-"


@dataclass(frozen=True)
class Progress:
    """Position of a run among all of the sweep."""

    number: int
    total: int


def run_line(progress: Progress, title: str, entry: SweepEntry, summary: RunSummary, left_s: float) -> str:
    """One line for a finished run."""
    window = summary.window
    figures = [
        f"loss {MISSING if window is None or window.loss_s is None else f'{window.loss_s:.4f}'} s",
        f"RTT>15ms {MISSING if window is None or window.rtt_late_s is None else f'{window.rtt_late_s:.4f}'} s",
    ]
    if summary.migration.duration_ns is not None:
        figures.append(f"migration {summary.migration.duration_ns / 1e6:.0f} ms")
    attempt = f" (attempt {entry.attempt})" if entry.attempt > 1 else ""
    width = len(str(progress.total))
    where = f" on {entry.host}" if entry.host else ""
    run = f"{title} {entry.mode} r{entry.repetition}{attempt}{where}: {entry.verdict}"
    times = f"in {entry.wall_s:.1f} s (overhead {entry.wall_s - entry.window_s:.1f} s), {duration_text(left_s)} left"
    return "  ".join([f"[{progress.number:{width}}/{progress.total}] {run}", *figures, times])


def reason_lines(entry: SweepEntry) -> list[str]:
    """Why a run is not VALID, for below its line."""
    return [f"    {reason}" for reason in entry.reasons]


def windows_s(cells: Iterable[Cell]) -> dict[str, float]:
    """Length of the measured window by the cell's digest."""
    return {cell.digest: cell.profile.timing.window_ns / 1e9 for cell in cells}


def seconds_left(left: Mapping[str, int], windows_s: Mapping[str, float], overhead_s: float | None) -> float:
    """Windows of the runs that are left, and for each the mean overhead measured so far (None: before the first).

    left: runs by cell; windows_s: by cell.
    """
    each_s = EXPECTED_OVERHEAD_S if overhead_s is None else overhead_s
    return sum(count * max(0.0, windows_s[cell] + each_s) for cell, count in left.items())


def duration_text(seconds: float) -> str:
    """Such as "45 s", "12 min" or "3 h 05 min"."""
    if seconds < 90:
        return f"{round(seconds)} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"


def verdict_counts(entries: Sequence[SweepEntry]) -> dict[str, int]:
    """Runs by verdict, the last attempt of each counting; attempts that were repeated as "repeated", those without a
    result as "interrupted"."""
    last = {entry.key: entry for entry in entries if not entry.interrupted}
    counts = Counter(entry.verdict for entry in last.values())
    finished = sum(not entry.interrupted for entry in entries)
    return {
        **{verdict: counts[verdict] for verdict in ("VALID", "INVALID", "FAILED")},
        "repeated": finished - len(last),
        "interrupted": len(entries) - finished,
    }


def overhead_text(entries: Sequence[SweepEntry]) -> str:
    """Mean and largest wall time of a run beyond its window."""
    measured = [entry.wall_s - entry.window_s for entry in entries if not entry.interrupted]
    if not measured:
        return "no run measured"
    return f"{sum(measured) / len(measured):.1f} s per run beyond its window (at most {max(measured):.1f} s)"
