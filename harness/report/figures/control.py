"""The testbed on its own: loss and delay of the control runs, which the mechanisms' figures are to be read beside."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from harness.record.summary import RunSummary
from harness.record.sweep import Result
from harness.report.cells import CONTROL
from harness.report.figures.material import LOAD_AXIS, Material
from harness.report.figures.over_load import mean_points, repetitions_note
from harness.report.figures.picture import Line, Panel, Picture
from harness.report.metrics import METRICS

# Lines of one mode are told apart by the quantity here, so each gets a look of its own.
_SECONDS = (("loss", "window.loss_s"), ("RTT > 15 ms", "window.rtt_late_s"))


def build(material: Material, runs: Sequence[Result], number: int | None) -> Picture | None:
    """Seconds of loss and of RTT > 15 ms (left), RTT median and 99th percentile (right); None without controls."""
    seconds = [(title, METRICS[name].read) for title, name in _SECONDS]
    delays: list[tuple[str, Callable[[RunSummary], float | None]]] = [
        ("median", lambda run: None if run.window is None else _ms(run.window.rtt_p50_ns)),
        ("99th percentile", lambda run: None if run.window is None else _ms(run.window.rtt_p99_ns)),
    ]
    candidates = (
        Panel("seconds of loss, of RTT > 15 ms", LOAD_AXIS, "seconds [s]", _lines(material, runs, seconds), y_unit="s"),
        Panel("RTT", LOAD_AXIS, "RTT [ms]", _lines(material, runs, delays), y_unit="ms"),
    )
    panels = tuple(panel for panel in candidates if panel.lines)
    if not panels:
        return None
    lines = [replace(line, role="measured") for panel in panels for line in panel.lines]
    return Picture(
        name=material.name("control", number),
        title=f"control, no migration: the testbed's own loss and delay, {material.group.title}",
        panels=panels,
        frames=material.frames,
        modes=(CONTROL, *(title for title, _ in (*seconds, *delays))),
        number=number,
        columns=2,
        notes=repetitions_note(lines),
        scale=material.scale_note(),
        runs=len([run for run in runs if run.mode == CONTROL]),
    )


def _ms(value_ns: int | None) -> float | None:
    return None if value_ns is None else value_ns / 1e6


def _lines(
    material: Material, runs: Sequence[Result], quantities: Sequence[tuple[str, Callable[[RunSummary], float | None]]]
) -> tuple[Line, ...]:
    lines = []
    for title, read in quantities:
        of_run: Callable[[Result], float | None] = lambda run, read=read: (  # type: ignore[misc]  # noqa: E731
            None if run.summary is None else read(run.summary)
        )
        for frame in material.frames:
            points = mean_points(material, runs, CONTROL, frame, of_run)
            if any(point.y is not None for point in points):
                lines.append(Line(f"{title} {frame} B", title, frame, points))
    return tuple(lines)
