"""Loss and RTT over time around the migration, of one typical run of a cell and mode, with the migration's phases."""

from __future__ import annotations

from collections.abc import Sequence

from harness.errors import UsageError
from harness.record.events import Event, read_events
from harness.record.rundir import EVENTS, SERIES
from harness.record.sweep import Result
from harness.report.cells import CONTROL
from harness.report.figures.material import Material
from harness.report.figures.picture import Line, Mark, Panel, Picture, Point, Role, Rule
from harness.report.figures.series_file import Series, read_series
from harness.units import MAX_VALUE

MAX_INTERVALS_SHOWN = 20_000
LATE_MS = 15.0
QUIET_S = 0.5
MARKED_PHASES = {
    "destination.receive_snapshot": "snapshot",
    "destination.install": "install",
    "destination.buffering": "redirect",
    "controller.switchover": "switchover",
    "source.closed": "last statelet",
    "destination.live": "live",
    "controller.aborted": "aborted",
}
"""Moments of the event log by the name they are drawn with."""
DISTURBANCES = ("impairment", "fault.")
"""How the phase of an event begins by which the profile disturbs the run on purpose."""
DISTURBANCES_SHOWN = 20
LABEL_CHARACTERS = 20


def typical(runs: Sequence[Result]) -> Result | None:
    """The run whose seconds of loss are the (lower) median, of the VALID ones where there is one; then the one with
    the median of RTT > 15 ms. None without a run that measured."""
    valid = [run for run in runs if run.verdict == "VALID"] or list(runs)
    keyed = []
    for run in valid:
        window = None if run.summary is None else run.summary.window
        if window is not None and window.loss_s is not None:
            keyed.append(((window.loss_s, window.rtt_late_s or 0.0, run.repetition), run))
    keyed.sort(key=lambda entry: entry[0])
    return keyed[(len(keyed) - 1) // 2][1] if keyed else None


def build(material: Material, runs: Sequence[Result], title: str, name: str) -> tuple[Picture | None, tuple[str, ...]]:
    """(figure of one cell: a column per mode; complaints about files). None where no run has a series."""
    chosen, complaints = [], []
    for mode in material.modes:
        run = typical([run for run in runs if run.mode == mode])
        if run is None:
            continue
        try:
            path = run.folder / EVENTS
            events = [e for e in read_events(path) if abs(e.monotonic_ns) <= MAX_VALUE] if path.is_file() else []
            zero_ns = trigger_ns(material, run, events)
            if zero_ns is not None:
                series = read_series(run.folder / SERIES)
                _check_reach(run, series, zero_ns)
                chosen.append((run, series, events, zero_ns))
        except UsageError as error:
            complaints.append(str(error))
    if not chosen:
        return None, tuple(complaints)
    reach = [_reach(run, series, zero_ns) for run, series, _, zero_ns in chosen]
    x_range = (min(low for low, _ in reach), max(high for _, high in reach))
    columns = [
        (run, marks_of(events, zero_ns), _rows(series, zero_ns, x_range), series)
        for run, series, events, zero_ns in chosen
    ]
    panels = [_loss_panel(run, marks, rows, x_range, series) for run, marks, rows, series in columns]
    top_ms = max([p.y for *_, rows, _ in columns for p in rows["rtt_max_ns"] if p.y is not None], default=LATE_MS)
    panels += [_rtt_panel(run, rows, x_range, max(top_ms, LATE_MS) * 1.3) for run, _, rows, _ in columns]
    notes = [f"{run.mode}: repetition {run.repetition}, {run.verdict}" for run, *_ in chosen]
    picture = Picture(
        name=name,
        title=title,
        panels=tuple(panels),
        frames=material.frames,
        modes=material.modes,
        columns=len(columns),
        over_time=True,
        notes=(
            "the run with the median seconds of loss, of the VALID runs where there is one",
            "; ".join(notes),
        ),
        scale=material.scale_note(),
        runs=len(chosen),
    )
    return picture, tuple(complaints)


def trigger_ns(material: Material, run: Result, events: Sequence[Event]) -> int | None:
    """When the migration was triggered; of a control run, when it would have been."""
    assert run.summary is not None
    if run.mode != CONTROL and run.summary.migration.trigger_ns is not None:
        return run.summary.migration.trigger_ns
    migrate_at_ns = material.conditions(run.folder.parent).migrate_at_ns
    window = [event.monotonic_ns for event in events if event.phase == "window"]
    return window[0] + migrate_at_ns if window and migrate_at_ns is not None else None


def _reach(run: Result, series: Series, zero_ns: int) -> tuple[float, float]:
    """Seconds to show: the migration with a margin, and on to the last interval it disturbed."""
    assert run.summary is not None
    duration_s = (run.summary.migration.duration_ns or 0) / 1e9
    start_s = series.seconds(zero_ns)
    disturbed = (series.arrays["lost_packets"] > 0) | (series.arrays["late_packets"] > 0)
    last_s = duration_s
    for at_s in start_s[disturbed & (start_s >= 0)].tolist() if run.mode != CONTROL else ():
        # A disturbance that begins long after the last one ended has nothing to do with the migration.
        if at_s > last_s + QUIET_S:
            break
        last_s = max(last_s, at_s)
    return max(-0.5, float(start_s[0])), min(last_s + 0.7, float(start_s[-1]))


def _check_reach(run: Result, series: Series, zero_ns: int) -> None:
    low_s, high_s = _reach(run, series, zero_ns)
    if high_s <= low_s:
        raise UsageError(f"{run.folder / SERIES}: does not reach the migration; its figure over time is left out")
    if (high_s - low_s) / series.interval_s > MAX_INTERVALS_SHOWN:
        raise UsageError(f"{run.folder / SERIES}: more than {MAX_INTERVALS_SHOWN:,} intervals around the migration")


def marks_of(events: Sequence[Event], zero_ns: int) -> tuple[Mark, ...]:
    """The phases of the migration, and what the profile did to links, machine and processes meanwhile."""
    first: dict[str, int] = {}
    for event in events:
        first.setdefault(event.phase, event.monotonic_ns)
    found = [Mark((first[phase] - zero_ns) / 1e9, name) for phase, name in MARKED_PHASES.items() if phase in first]
    migration = (Mark(0.0, "trigger"), *found) if found else ()
    disturbed = [event for event in events if event.phase.startswith(DISTURBANCES)][:DISTURBANCES_SHOWN]
    return (*migration, *(Mark((event.monotonic_ns - zero_ns) / 1e9, _said(event)) for event in disturbed))


def _said(event: Event) -> str:
    """What an event says was done, without how punctual it was."""
    text, _, _ = event.text.partition(" (begun ")
    text = text.removesuffix(": done").replace("source and destination ", "").replace("end of ", "end: ", 1)
    if event.phase.startswith("fault."):
        text, _, _ = text.partition(" at ")
    return text if len(text) <= LABEL_CHARACTERS else f"{text[: LABEL_CHARACTERS - 1]}…"


def _rows(series: Series, zero_ns: int, x_range: tuple[float, float]) -> dict[str, tuple[Point, ...]]:
    """Points inside x_range by quantity: shares in % of the packets intended, RTTs in ms."""
    arrays = series.arrays
    x = series.seconds(zero_ns)
    inside = (x >= x_range[0] - series.interval_s) & (x <= x_range[1] + series.interval_s)
    rows: dict[str, tuple[Point, ...]] = {}
    for name, total, factor in (
        ("lost_packets", "intended_packets", 100.0),
        ("late_packets", "intended_packets", 100.0),
    ):
        values = [_ratio(v, t, factor) for v, t in zip(arrays[name][inside], arrays[total][inside], strict=True)]
        rows[name] = tuple(Point(float(t), value) for t, value in zip(x[inside], values, strict=True))
    for name in ("rtt_p50_ns", "rtt_p99_ns", "rtt_max_ns"):
        pairs = zip(x[inside], arrays[name][inside], arrays["received_packets"][inside], strict=True)
        middle = series.interval_s / 2
        rows[name] = tuple(Point(float(t) + middle, v / 1e6 if n > 0 and v > 0 else None) for t, v, n in pairs)
    return rows


def _ratio(value: int, total: int, factor: float) -> float | None:
    return float(value) / float(total) * factor if total > 0 else None


def heading(run: Result) -> str:
    title = "control (no migration)" if run.mode == CONTROL else run.mode
    return title if run.verdict == "VALID" else f"{title}, {run.verdict}"


def _loss_panel(
    run: Result,
    marks: tuple[Mark, ...],
    rows: dict[str, tuple[Point, ...]],
    x_range: tuple[float, float],
    series: Series,
) -> Panel:
    frame = run.cell.frame_bytes
    # Stacked: what is late stands on what is lost.
    late = tuple(
        Point(a.x, None if a.y is None or b.y is None else a.y + b.y)
        for a, b in zip(rows["late_packets"], rows["lost_packets"], strict=True)
    )
    lines = (
        Line("late (RTT > 15 ms)", run.mode, frame, late, "late"),
        Line("lost", run.mode, frame, rows["lost_packets"]),
    )
    y_label = f"of packets due in {series.interval_s * 1e3:g} ms [%]"
    x_label = "time since the trigger [s]"
    return Panel(heading(run), x_label, y_label, lines, "s", "%", x_range=x_range, y_range=(0.0, 105.0), marks=marks)


def _rtt_panel(run: Result, rows: dict[str, tuple[Point, ...]], x_range: tuple[float, float], top_ms: float) -> Panel:
    frame = run.cell.frame_bytes
    looks: tuple[tuple[str, str, Role], ...] = (
        ("largest", "rtt_max_ns", "max"),
        ("99th percentile", "rtt_p99_ns", "p99"),
        ("median", "rtt_p50_ns", "p50"),
    )
    lines = tuple(Line(title, run.mode, frame, rows[name], role) for title, name, role in looks)
    return Panel(
        "",
        "time since the trigger [s]",
        "RTT [ms]",
        lines,
        "s",
        "ms",
        "log",
        x_range=x_range,
        y_range=(5.0, top_ms),
        rules=(Rule(LATE_MS, "15 ms"),),
    )
