"""Every figure there is: its number in the paper by image, what it needs, and what makes it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from harness.record.sweep import Result, Results
from harness.report.cells import CONTROL, by_place
from harness.report.figures import beside_model, control, over_time, run_curves, success
from harness.report.figures.material import Material, file_name, materials
from harness.report.figures.over_load import LoadFigure, filler_size, queue_size
from harness.report.figures.picture import Picture

Build = Callable[[Material, Sequence[Result], int | None], Picture | None]


@dataclass(frozen=True)
class FigureKind:
    """A figure drawn for every image. paper: its number there, by image. twice: once more without
    the FAILED runs, where there are some. of_control: of the control runs only."""

    title: str
    needs: str
    build: Build
    paper: Mapping[str, int] = field(default_factory=dict)
    twice: bool = True
    of_control: bool = False


FIGURES: tuple[FigureKind, ...] = (
    FigureKind(
        "seconds of loss", "migrations with packets", LoadFigure("loss", "window.loss_s").build, {"nat": 11, "pg": 12}
    ),
    FigureKind(
        "seconds of RTT > 15 ms",
        "migrations with packets",
        LoadFigure("late", "window.rtt_late_s").build,
        {"nat": 13},
    ),
    FigureKind(
        "largest mean RTT of any 500 ms",
        "migrations with replies",
        LoadFigure("mean-rtt", "window.largest_mean_rtt_ms", "log").build,
        {"nat": 14},
    ),
    FigureKind(
        "migration duration",
        "completed migrations",
        LoadFigure("duration", "migration.duration_s").build,
        {"nat": 15, "pg": 16},
    ),
    FigureKind(
        "largest pkt_q",
        "migrations that buffered packets",
        LoadFigure("pkt-q", "migration.pkt_q_max_packets", "symlog", queue_size).build,
        {"nat": 17},
    ),
    FigureKind(
        "state traffic",
        "migrations that sent state",
        LoadFigure("state-traffic", "migration.state_traffic_mb", rules=filler_size).build,
        {"nat": 18},
    ),
    FigureKind("success of migrations", "migrations", success.build, twice=False),
    FigureKind("control", "control runs (mode none)", control.build, of_control=True),
    FigureKind("migration duration beside the model", "completed migrations", beside_model.build),
)


@dataclass(frozen=True)
class Drawing:
    """A picture and which runs are in it: None where there are no failed ones, else whether they are."""

    kind: str
    picture: Picture
    with_failed: bool | None


@dataclass(frozen=True)
class Missing:
    """A figure these results do not hold, and what it needs."""

    number: int | None
    title: str
    reason: str


@dataclass(frozen=True)
class Pictures:
    """All figures of some results, those they lack, and files that could not be read."""

    drawings: tuple[Drawing, ...]
    over_time: tuple[Picture, ...]
    missing: tuple[Missing, ...]
    complaints: tuple[str, ...]


def pictures(
    results: Results, *, failed: bool | None = None, cells: Callable[[str], bool] = lambda _: True
) -> Pictures:
    """Every figure of `results`. failed: only with, only without FAILED runs; None: both. cells: whether the cell of
    this title gets its figure over time."""
    made = materials(results)
    drawings, missing = [], []
    for kind in FIGURES:
        for material in made:
            found = _twins(kind, material, failed)
            drawings += found
            if not found and (kind.twice or failed is not False):
                number = kind.paper.get(material.group.image)
                missing.append(Missing(number, f"{kind.title}, {material.group.title}", f"needs {kind.needs}"))
        present = {material.group.image for material in made}
        missing += [
            Missing(number, f"{kind.title}, {image}", f"needs runs of the image {image}")
            for image, number in kind.paper.items()
            if image not in present
        ]
    over, complaints = _over_time(made, failed, cells)
    return Pictures(_unique(drawings), over, tuple(missing), complaints)


def _twins(kind: FigureKind, material: Material, failed: bool | None) -> list[Drawing]:
    number = kind.paper.get(material.group.image)
    if kind.of_control:
        only = tuple(run for run in material.runs if run.mode == CONTROL)
        material = replace(material, runs=only)
    if not (kind.twice and material.has_failed):
        # What is about failures is left out when only figures without them are wanted.
        if material.has_failed and failed is False:
            return []
        picture = kind.build(material, material.runs, number)
        return [] if picture is None else [Drawing(kind.title, picture, None)]
    found = []
    for with_failed, runs, suffix, note in (
        (True, material.runs, "with-failed", "with failed runs"),
        (False, material.valid, "without-failed", "without failed runs"),
    ):
        picture = kind.build(material, runs, number) if failed in (None, with_failed) else None
        if picture is not None:
            named = replace(picture, name=f"{picture.name}-{suffix}", title=f"{picture.title} ({note})")
            found.append(Drawing(kind.title, named, with_failed))
    return found


def _over_time(
    made: Sequence[Material], failed: bool | None, cells: Callable[[str], bool]
) -> tuple[tuple[Picture, ...], tuple[str, ...]]:
    found: list[Picture] = []
    complaints: list[str] = []
    for material in made:
        for place, runs in by_place(material.runs if failed is not False else material.valid, material.layout).items():
            if not cells(place.title):
                continue
            title = f"loss and RTT around the migration, {place.title}"
            kinds = [(over_time.build, title, "over-time")]
            if material.results.kind != "sweep":  # of every cell of a sweep they would be more than anyone reads
                kinds.append((run_curves.build, f"rates, queues, links and processes, {place.title}", "curves"))
            for build, headline, name in kinds:
                picture, said = build(material, runs, headline, f"{name}-{file_name(place.title)}")
                complaints += said
                if picture is not None:
                    found.append(picture)
    return tuple(drawing.picture for drawing in _unique([Drawing("", p, None) for p in found])), tuple(complaints)


def _unique(drawings: Sequence[Drawing]) -> tuple[Drawing, ...]:
    """File names are made from names in files, so two may come out equal: later ones get a number."""
    taken: set[str] = set()
    found = []
    for drawing in drawings:
        name, number = drawing.picture.name, 2
        while name in taken:
            name, number = f"{drawing.picture.name}-{number}", number + 1
        taken.add(name)
        found.append(replace(drawing, picture=replace(drawing.picture, name=name)))
    return tuple(found)
