"""What went on inside single runs, from their points: rates, queues, links and processes over time, a column per mode.

The same curves as the dashboard *Experiment* shows, for those without a server.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from harness.errors import UsageError
from harness.record.events import Event, read_events
from harness.record.point_file import PointRead, read_points
from harness.record.rundir import EVENTS, POINTS
from harness.record.sweep import Result
from harness.report.figures.material import Material
from harness.report.figures.over_time import heading, marks_of, trigger_ns, typical
from harness.report.figures.picture import Line, Panel, Picture, Point

MAX_POINTS_SHOWN = 200_000
MAX_CURVES = 12
UPLINK = "up0"
X_LABEL = "time since the trigger [s]"


@dataclass(frozen=True)
class Curves:
    """One panel: which points become which curve, and how."""

    measurement: str
    y_label: str
    y_unit: str
    label: Callable[[PointRead], str | None]
    """Name of the curve a point belongs to; None: of none."""
    field: str
    factor: float
    is_counter: bool = False
    """Whether the field counts since the start, so that its growth is shown."""


def _of_instances(direction: str) -> Callable[[PointRead], str | None]:
    def label(point: PointRead) -> str | None:
        node = point.tags.get("node", "")
        ours = node in ("source", "destination") and point.tags.get("link") == UPLINK
        return f"{node} {direction}" if ours else None

    return label


PANELS: tuple[tuple[Curves, ...], ...] = (
    (
        Curves("traffic", "rate [Mbit/s]", "Mbit/s", lambda _: "offered", "offered_bps", 1e-6),
        Curves("traffic", "rate [Mbit/s]", "Mbit/s", lambda _: "received", "received_bps", 1e-6),
    ),
    (
        Curves(
            "queue",
            "depth [packets]",
            "packets",
            lambda point: " ".join(point.tags.get(name, "") for name in ("node", "kind")),
            "depth_packets",
            1.0,
        ),
    ),
    (
        Curves("link", "uplinks [Mbit/s]", "Mbit/s", _of_instances("received"), "rx_bytes", 8e-6, is_counter=True),
        Curves("link", "uplinks [Mbit/s]", "Mbit/s", _of_instances("sent"), "tx_bytes", 8e-6, is_counter=True),
    ),
    (Curves("host", "CPU time [% of a CPU]", "%", lambda p: p.tags.get("process"), "cpu_fraction", 100.0),),
)
"""The panels from top to bottom."""


def build(material: Material, runs: Sequence[Result], title: str, name: str) -> tuple[Picture | None, tuple[str, ...]]:
    """(figure of one cell: a column per mode; complaints about files). None where no run has points over time."""
    columns, complaints, shown = [], [], []
    for mode in material.modes:
        run = typical([run for run in runs if run.mode == mode])
        if run is None:
            continue
        try:
            column = _column(material, run)
        except UsageError as error:
            complaints.append(str(error))
            continue
        if column is not None:
            columns.append(column)
            shown.append(f"{run.mode}: repetition {run.repetition}, {run.verdict}")
    if not columns:
        return None, tuple(complaints)
    picture = Picture(
        name=name,
        title=title,
        panels=tuple(panel for row in zip(*columns, strict=True) for panel in row),
        frames=material.frames,
        modes=material.modes,
        columns=len(columns),
        over_time=True,
        notes=("the run with the median seconds of loss, of the VALID runs where there is one", "; ".join(shown)),
        scale=material.scale_note(),
        runs=len(columns),
    )
    return picture, tuple(complaints)


def _column(material: Material, run: Result) -> list[Panel] | None:
    """All panels of one run; None where it has nothing over time. UsageError for a file that is no run's."""
    path = run.folder / EVENTS
    events = read_events(path) if path.is_file() else []
    points, refused = read_points(run.folder / POINTS)
    zero_ns = trigger_ns(material, run, events)
    if zero_ns is None or not events or not points:
        return None
    if len(points) > MAX_POINTS_SHOWN:
        raise UsageError(f"{run.folder / POINTS}: more than {MAX_POINTS_SHOWN:,} points; its curves are left out")
    if refused > 1:  # a torn last line is what a run that was cut off leaves
        raise UsageError(f"{run.folder / POINTS}: {refused} lines are no points; its curves are left out")
    wall_zero_ns = zero_ns + _shift_ns(events)
    times_s = [(point.time_ns - wall_zero_ns) / 1e9 for point in points if point.measurement == "traffic"]
    if not times_s:
        return None
    x_range = (min(times_s), max(times_s) + 0.1)
    marks = marks_of(events, zero_ns)
    panels = []
    for number, kinds in enumerate(PANELS):
        lines = [line for curves in kinds for line in _lines(curves, run, points, wall_zero_ns)][:MAX_CURVES]
        top = number == 0
        panels.append(
            Panel(
                heading(run) if top else "",
                X_LABEL,
                kinds[0].y_label,
                tuple(lines),
                "s",
                kinds[0].y_unit,
                x_range=x_range,
                marks=marks if top else (),
            )
        )
    return panels


def _shift_ns(events: Sequence[Event]) -> int:
    """Wall time minus monotonic time, by the first event."""
    return events[0].wall_ns - events[0].monotonic_ns


def _lines(curves: Curves, run: Result, points: Iterable[PointRead], zero_ns: int) -> list[Line]:
    found: dict[str, list[tuple[int, float]]] = defaultdict(list)
    for point in points:
        value = point.fields.get(curves.field)
        if point.measurement != curves.measurement or value is None or isinstance(value, str):
            continue
        label = curves.label(point)
        if label is not None:
            found[label].append((point.time_ns, float(value)))
    frame = run.cell.frame_bytes
    return [
        Line(label, run.mode, frame, tuple(_points(sorted(values), curves, zero_ns)), "curve")
        for label, values in found.items()
    ]


def _points(values: Sequence[tuple[int, float]], curves: Curves, zero_ns: int) -> Iterable[Point]:
    if not curves.is_counter:
        return [Point((at_ns - zero_ns) / 1e9, value * curves.factor) for at_ns, value in values]
    grown = []
    for (before_ns, before), (at_ns, after) in pairwise(values):
        if at_ns > before_ns and after >= before:
            rate = (after - before) / (at_ns - before_ns) * 1e9
            grown.append(Point((at_ns - zero_ns) / 1e9, rate * curves.factor))
    return grown
