"""Migration duration beside the SliM model: measured, Eq. 3, and Eq. 3 with everything that explains the difference."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from harness.errors import UsageError
from harness.models.overlay import Overlay, overlay, read_links
from harness.record.events import read_events
from harness.record.rundir import EVENTS
from harness.record.sweep import Result
from harness.report.figures.material import LOAD_AXIS, Material, modes_of_migrations
from harness.report.figures.over_load import mean_points, repetitions_note
from harness.report.figures.picture import Line, Panel, Picture, Role
from harness.units import MAX_VALUE


@dataclass(frozen=True)
class Laid:
    """The model laid over runs: by folder of the run, and a complaint for each where it could not be."""

    found: dict[str, Overlay]
    complaints: tuple[str, ...]


def lay(runs: Sequence[Result]) -> Laid:
    """Every completed migration beside the model, from its run and experiment directories."""
    found, complaints = {}, []
    for run in runs:
        if run.summary is None or run.summary.migration.outcome != "completed":
            continue
        try:
            path = run.folder / EVENTS
            events = [e for e in read_events(path) if abs(e.monotonic_ns) <= MAX_VALUE] if path.is_file() else []
            found[str(run.folder)] = overlay(run.summary, read_links(run.folder.parent), events)
        except UsageError as error:
            complaints.append(str(error))
        except ArithmeticError as error:
            complaints.append(f"{run.folder}: the model cannot be laid over this run ({error})")
    return Laid(found, tuple(complaints))


def build(material: Material, runs: Sequence[Result], number: int | None) -> Picture | None:
    """A panel per mode; None where no migration completed. The Eq. 3 line ends where Eq. 2 does not hold any more."""
    laid = lay(runs).found
    panels = tuple(
        panel for mode in modes_of_migrations(material.modes) if (panel := _panel(material, runs, mode, laid)).lines
    )
    if not panels:
        return None
    lines = [line for panel in panels for line in panel.lines if line.role == "measured"]
    return Picture(
        name=material.name("duration-and-model", number),
        title=f"migration duration beside Eq. 3 of the model, {material.group.title}",
        panels=panels,
        frames=material.frames,
        modes=material.modes,
        number=number,
        columns=2,
        notes=(
            "dotted: Eq. 3, as far as Eq. 2 holds; dash-dotted: Eq. 3 with every explained part of the difference",
            *repetitions_note(lines),
        ),
        scale=material.scale_note(),
        runs=len(laid),
    )


def _panel(material: Material, runs: Sequence[Result], mode: str, laid: dict[str, Overlay]) -> Panel:
    reads: tuple[tuple[str, Role, Callable[[Overlay], float | None]], ...] = (
        ("measured", "measured", lambda entry: entry.measured_s),
        ("Eq. 3", "model", lambda entry: entry.model_s),
        ("explained", "explained", explained_s),
    )
    lines = []
    for frame in material.frames:
        for title, role, read in reads:
            points = mean_points(material, runs, mode, frame, _of_run(laid, read))
            if any(point.y is not None for point in points):
                lines.append(Line(f"{title} {frame} B", mode, frame, points, role))
    return Panel(mode, LOAD_AXIS, "migration duration [s]", tuple(lines), y_unit="s")


def _of_run(laid: dict[str, Overlay], read: Callable[[Overlay], float | None]) -> Callable[[Result], float | None]:
    def of_run(run: Result) -> float | None:
        entry = laid.get(str(run.folder))
        return None if entry is None else read(entry)

    return of_run


def explained_s(entry: Overlay) -> float | None:
    """Eq. 3 and every explained part of the difference; None where Eq. 2 does not hold."""
    return None if entry.unexplained_s is None else entry.measured_s - entry.unexplained_s
