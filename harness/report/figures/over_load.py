"""Figures of merit over the offered load: the paper's Fig. 11 to 18, a line per mode and frame size."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from harness.measure.statistics import estimate
from harness.record.sweep import Result
from harness.report.bootstrap import skew_interval
from harness.report.cells import CONTROL
from harness.report.figures.material import LOAD_AXIS, Material
from harness.report.figures.picture import Line, Panel, Picture, Point, Role, Rule, Scale
from harness.report.metrics import METRICS, Metric

LOG_FROM_RATIO = 4.0
"""A logarithmic axis is drawn where the largest value is so many times the smallest."""
Rules = Callable[[Material], tuple[Rule, ...]]


def no_rules(_: Material) -> tuple[Rule, ...]:
    return ()


@dataclass(frozen=True)
class LoadFigure:
    """How a metric is drawn over the load. Lines of the control are drawn where the metric exists for it."""

    kind: str
    metric: str
    y_scale: Scale = "linear"
    rules: Rules = no_rules

    def build(self, material: Material, runs: Sequence[Result], number: int | None) -> Picture | None:
        """The figure of `runs`; None where no migration of them measured the metric."""
        metric = METRICS[self.metric]
        lines = metric_lines(metric, material, runs)
        if not any(line.role == "measured" for line in lines):
            return None
        scale = self.y_scale
        values = [point.y for line in lines for point in line.points if point.y is not None]
        # A logarithmic axis needs room for its ticks, and has none for zero.
        if scale == "log" and (min(values) <= 0 or max(values) < LOG_FROM_RATIO * min(values)):
            scale = "linear"
        panel = Panel(
            "",
            LOAD_AXIS,
            f"{metric.title} [{metric.unit}]",
            lines,
            y_unit=metric.unit,
            y_scale=scale,
            y_range=(None if scale == "log" else 0.0, None),
            rules=self.rules(material),
        )
        return Picture(
            name=material.name(self.kind, number),
            title=f"{metric.title}, {material.group.title}",
            panels=(panel,),
            frames=material.frames,
            modes=material.modes,
            number=number,
            notes=repetitions_note(lines),
            scale=material.scale_note(),
            runs=len(runs),
        )


def metric_lines(metric: Metric, material: Material, runs: Sequence[Result]) -> tuple[Line, ...]:
    """A line per mode and frame size with a value; the control's are marked as such."""
    lines = []
    for mode in material.modes:
        if mode == CONTROL and not metric.of_control:
            continue
        role: Role = "control" if mode == CONTROL else "measured"
        for frame in material.frames:
            read = lambda run: None if run.summary is None else metric.read(run.summary)  # noqa: E731
            points = mean_points(material, runs, mode, frame, read, metric.is_skewed)
            if any(point.y is not None for point in points):
                title = "control" if mode == CONTROL else mode
                lines.append(Line(f"{title} {frame} B", mode, frame, points, role))
    return tuple(lines)


def mean_points(
    material: Material,
    runs: Sequence[Result],
    mode: str,
    frame: int,
    read: Callable[[Result], float | None],
    is_skewed: bool = False,
) -> tuple[Point, ...]:
    """Mean and 95 % Student t interval at every load of the frame size, for a skewed figure that of the bootstrap
    too; y None where nothing was measured."""
    of_frame = [run for run in material.runs if run.cell.frame_bytes == frame]
    points = []
    for load in sorted({material.load_mbps(run) for run in of_frame}):
        chosen = [
            run
            for run in runs
            if run.mode == mode and run.cell.frame_bytes == frame and material.load_mbps(run) == load
        ]
        measured = [(run, value) for run in chosen if (value := read(run)) is not None]
        found = estimate(value for _, value in measured)
        failed = sum(run.verdict == "FAILED" for run, _ in measured)
        low = high = None
        if found.mean is not None and found.half_width is not None:
            low, high = found.mean - found.half_width, found.mean + found.half_width
        bca = skew_interval(value for _, value in measured) if is_skewed else None
        points.append(Point(load, found.mean, low, high, found.count, failed, bca))
    return tuple(points)


def repetitions_note(lines: Sequence[Line]) -> tuple[str, ...]:
    """How many runs are behind a point."""
    counts = {point.count for line in lines if line.role != "control" for point in line.points if point.y is not None}
    if not counts:
        return ()
    low, high = min(counts), max(counts)
    spread = f"{low}" if low == high else f"{low} to {high}"
    bars = "bars: 95 % confidence intervals (Student t)" if high > 1 else "a single run per point shows no interval"
    notes = [f"n = {spread} per point; {bars}; lines are set a little aside of their loads to be seen apart"]
    if any(point.failed for line in lines for point in line.points):
        notes.append(
            "a cross marks points with FAILED runs: one that breaks off early may lose less than one that completes"
        )
    return tuple(notes)


def queue_size(material: Material) -> tuple[Rule, ...]:
    """What pkt_q holds per port, where all runs agree."""
    sizes = {material.conditions(run.folder.parent).pkt_q_packets for run in material.runs}
    if len(sizes) != 1 or None in sizes:
        return ()
    size = sizes.pop() or 0
    return (Rule(float(size), f"a port's pkt_q holds {size:,} packets"),)


def filler_size(material: Material) -> tuple[Rule, ...]:
    """The filler of the snapshot, the least that crosses in any mode, where all runs agree."""
    sizes = {material.conditions(run.folder.parent).filler_bytes for run in material.runs}
    if len(sizes) != 1 or None in sizes:
        return ()
    size = (sizes.pop() or 0) / 1e6
    return (Rule(size, f"filler of the snapshot, {size:.4g} MB"),) if size else ()
