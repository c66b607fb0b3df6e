"""The headline table: every metric of every cell, modes side by side, and whether two modes differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from harness.measure.statistics import Estimate, Interval, cliffs_delta, estimate, mann_whitney, smallest_p
from harness.record.sweep import Result
from harness.report.bootstrap import skew_interval
from harness.report.cells import CONTROL, by_place
from harness.report.figures.material import Material
from harness.report.metrics import METRICS, Metric, metric
from harness.report.table import MISSING, MODE_TITLES, format_estimate

COMPARED = ("statelet", "duplication")
"""The second is compared with the first."""


@dataclass(frozen=True)
class Entry:
    """A figure as text; `valid_only` once more without FAILED runs, "" where there are none; `bootstrap` is the second
    interval of a skewed figure, "" where there is none. `found` and `interval` are its numbers."""

    text: str
    valid_only: str = ""
    bootstrap: str = ""
    found: Estimate | None = None
    interval: Interval | None = None


@dataclass(frozen=True)
class Row:
    """One metric of one cell. difference: the rank test between the modes of COMPARED as text."""

    title: str
    entries: tuple[Entry, ...]
    difference: str
    metric: str = ""


@dataclass(frozen=True)
class Body:
    """One cell of the sweep and its rows."""

    title: str
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Table:
    """One group; a column per mode of `modes`. compared: whether its results hold both modes of COMPARED."""

    title: str
    columns: tuple[str, ...]
    compared: bool
    bodies: tuple[Body, ...]
    modes: tuple[str, ...] = ()


def headline(material: Material) -> Table:
    """The table of one group of runs, cells in the order of frame size and load."""
    modes = [mode for mode in material.modes if any(run.mode == mode for run in material.runs)]
    compared = all(mode in modes for mode in COMPARED)
    bodies = []
    for place, runs in by_place(material.runs, material.layout).items():
        title = f"{place.frame_bytes} B, {place.nominal_load_bps / 1e6:g}M"
        rows = [Row("runs", tuple(_count(runs, mode) for mode in modes), "")]
        rows += [_row(figure, runs, modes, compared) for figure in METRICS.values()]
        bodies.append(Body(title, tuple(rows)))
    columns = tuple(MODE_TITLES.get(mode, mode) for mode in modes)
    return Table(material.group.title, columns, compared, tuple(bodies), tuple(modes))


def _count(runs: Sequence[Result], mode: str) -> Entry:
    of_mode = [run for run in runs if run.mode == mode]
    failed = sum(run.verdict == "FAILED" for run in of_mode)
    return Entry(f"{len(of_mode)} ({failed} FAILED)" if failed else str(len(of_mode)))


def _row(figure: Metric, runs: Sequence[Result], modes: Sequence[str], compared: bool) -> Row:
    entries = tuple(_entry(figure, [run for run in runs if run.mode == mode], mode) for mode in modes)
    found = difference(figure, runs) if compared else ""
    return Row(f"{figure.title} [{figure.unit}]", entries, found, figure.name)


def _entry(figure: Metric, runs: Sequence[Result], mode: str) -> Entry:
    if mode == CONTROL and not figure.of_control:
        return Entry(MISSING)
    values = [metric(run, figure.name) for run in runs]
    found, interval = estimate(values), skew_interval(values) if figure.is_skewed else None
    text = format_estimate(found, figure.digits, len(runs))
    valid = [run for run in runs if run.verdict == "VALID"]
    # Without failed runs nothing is left to say twice; without valid ones there is nothing to say.
    valid_only = _mean(figure, valid) if valid and len(valid) < len(runs) else ""
    bootstrap = f"[{interval.low:,.{figure.digits}f}, {interval.high:,.{figure.digits}f}]" if interval else ""
    return Entry(text, valid_only, bootstrap, found, interval)


def _mean(figure: Metric, runs: Sequence[Result]) -> str:
    found = estimate(metric(run, figure.name) for run in runs)
    return format_estimate(found, figure.digits, len(runs))


def document(table: Table) -> list[dict[str, Any]]:
    """The numbers of a table for machines: one object per cell, metric and mode that was measured."""
    return [
        {
            "group": table.title,
            "cell": body.title,
            "metric": row.metric,
            "mode": mode,
            "n": entry.found.count,
            "mean": entry.found.mean,
            "student_t_half_width": entry.found.half_width,
            "bca_low": entry.interval.low if entry.interval else None,
            "bca_high": entry.interval.high if entry.interval else None,
        }
        for body in table.bodies
        for row in body.rows
        for mode, entry in zip(table.modes, row.entries, strict=True)
        if entry.found is not None and entry.found.count
    ]


def difference(figure: Metric, runs: Sequence[Result]) -> str:
    """Two-sided Mann-Whitney p and Cliff's delta of the second mode of COMPARED against the first, FAILED included.

    delta is 1 when every value of the second mode is larger, -1 when every one is smaller. Fewer than two values of
    either say nothing.
    """
    first, second = (
        [v for run in runs if run.mode == mode and (v := metric(run, figure.name)) is not None] for mode in COMPARED
    )
    test, delta = mann_whitney(first, second), cliffs_delta(first, second)
    if test is None or delta is None or min(len(first), len(second)) < 2:
        return MISSING
    least = smallest_p(len(first), len(second))
    text = f"p = {test.p:.2g}, δ = {delta:+.2f}"
    return f"{text} (least p here: {least:.2g})" if least > 0.05 else text
