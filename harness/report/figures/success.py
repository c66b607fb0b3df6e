"""How many migrations succeed, over the load. Failed runs are what it is about: it exists only with them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from scipy import stats

from harness.record.sweep import Result
from harness.report.figures.material import LOAD_AXIS, Material, modes_of_migrations
from harness.report.figures.picture import Line, Panel, Picture, Point

Judge = Callable[[Result], bool | None]


def completed(run: Result) -> bool | None:
    """Whether the migration of a run completed."""
    return None if run.summary is None else run.summary.migration.outcome == "completed"


def sound(run: Result) -> bool | None:
    """Whether a completed migration kept every promise; None for one that did not complete."""
    return run.verdict == "VALID" if completed(run) else None


def build(material: Material, runs: Sequence[Result], number: int | None) -> Picture | None:
    """Share of migrations that completed (left), and of those the share that kept every promise (right)."""
    panels = tuple(
        Panel(title, LOAD_AXIS, "share of runs", _lines(material, runs, judge), y_unit="1", y_range=(-0.03, 1.05))
        for title, judge in (("completed", completed), ("of the completed: VALID, every promise kept", sound))
    )
    if not any(panel.lines for panel in panels):
        return None
    notes = ("bars: 95 % Wilson score intervals; a single run shows none; INVALID runs are left out",)
    return Picture(
        name=material.name("success", number),
        title=f"success of migrations, {material.group.title}",
        panels=tuple(panel for panel in panels if panel.lines),
        frames=material.frames,
        modes=material.modes,
        number=number,
        columns=2,
        notes=notes,
        scale=material.scale_note(),
        runs=len([run for run in runs if run.mode in modes_of_migrations(material.modes)]),
    )


def _lines(material: Material, runs: Sequence[Result], judge: Judge) -> tuple[Line, ...]:
    lines = []
    for mode in modes_of_migrations(material.modes):
        for frame in material.frames:
            chosen = [run for run in runs if run.mode == mode and run.cell.frame_bytes == frame]
            loads = sorted({material.load_mbps(run) for run in chosen})
            points = [share(load, [judge(run) for run in chosen if material.load_mbps(run) == load]) for load in loads]
            if any(point.y is not None for point in points):
                lines.append(Line(f"{mode} {frame} B", mode, frame, tuple(points)))
    return tuple(lines)


def share(x: float, judgements: Sequence[bool | None]) -> Point:
    """Share of True among what could be judged, with its 95 % Wilson score interval."""
    known = [judgement for judgement in judgements if judgement is not None]
    if not known:
        return Point(x, None, count=0)
    good = sum(known)
    if len(known) == 1:
        return Point(x, float(good), count=1)
    interval = stats.binomtest(good, len(known)).proportion_ci(0.95, method="wilson")
    return Point(x, good / len(known), float(interval.low), float(interval.high), len(known))
