"""The report as one HTML page that needs nothing but itself: figures inside, no script, no network."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from harness.report.definitions import DEFINITIONS, DIFFERENCES
from harness.report.document import Report
from harness.report.figures.draw import draw
from harness.report.figures.picture import Picture, Point
from harness.report.figures.registry import Drawing, Pictures
from harness.report.headline import COMPARED
from harness.report.model_section import shown_ms
from harness.report.table import MISSING

PAGE = "report.html"
FIGURES_FOLDER = "figures"
_TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class Shown:
    """A picture as the page shows it. `panels`: whether its table needs a column for them."""

    picture: Picture
    svg_base64: str
    heading: str
    folder: str = FIGURES_FOLDER

    @property
    def alt(self) -> str:
        """What the image shows, for who does not see it; the figures are in the table below it."""
        labels = ", ".join(dict.fromkeys(line.label for panel in self.picture.panels for line in panel.lines))
        return f"{self.picture.title}. Lines: {labels}."


@dataclass(frozen=True)
class FigureGroup:
    """A figure, with and without failed runs side by side where both were made."""

    anchor: str
    heading: str
    shown: tuple[Shown, ...]


def render(report: Report) -> dict[str, bytes]:
    """All files of the report by relative name: the page, and each figure as PNG, SVG and CSV."""
    files: dict[str, bytes] = {}
    drawn: dict[str, str] = {}
    for picture in (*(drawing.picture for drawing in report.pictures.drawings), *report.pictures.over_time):
        png, svg = draw(picture)
        drawn[picture.name] = base64.b64encode(svg).decode()
        for suffix, content in (("png", png), ("svg", svg), ("csv", picture.csv().encode(errors="backslashreplace"))):
            files[f"{FIGURES_FOLDER}/{picture.name}.{suffix}"] = content
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"ms": shown_ms, "point": shown_point, "number": shown_number}
    page = environment.get_template("report.html").render(
        report=report,
        results=report.results,
        groups=figure_groups(report.pictures, drawn),
        over_time=[Shown(picture, drawn[picture.name], "") for picture in report.pictures.over_time],
        compared=COMPARED,
        definitions=DEFINITIONS,
        differences=DIFFERENCES,
    )
    files[PAGE] = page.encode("utf-8", errors="backslashreplace")
    return files


def figure_groups(made: Pictures, drawn: Mapping[str, str]) -> list[FigureGroup]:
    """The paper's figures in the order of their numbers, then the others as they are registered."""
    found: dict[tuple[str, str], list[Drawing]] = {}
    for drawing in made.drawings:
        base = drawing.picture.title.removesuffix(" (with failed runs)").removesuffix(" (without failed runs)")
        found.setdefault((drawing.kind, base), []).append(drawing)
    groups = []
    for (_, base), drawings in sorted(found.items(), key=lambda entry: entry[1][0].picture.number or 1000):
        number = drawings[0].picture.number
        heading = f"Fig. {number}: {base}" if number is not None else base
        shown = tuple(Shown(d.picture, drawn[d.picture.name], _heading(d)) for d in drawings)
        groups.append(FigureGroup(drawings[0].picture.name, heading, shown))
    return groups


def _heading(drawing: Drawing) -> str:
    kind = {True: "with failed runs", False: "without failed runs", None: "no run of it FAILED"}[drawing.with_failed]
    runs = drawing.picture.runs
    return f"{kind}, {runs} run{'s' if runs != 1 else ''}"


def shown_point(point: Point) -> str:
    """Mean and intervals of a point as text."""
    if point.y is None:
        return MISSING
    text = shown_number(point.y)
    if point.low is None or point.high is None:
        return text
    bca = f"; BCa [{shown_number(point.bca.low)}, {shown_number(point.bca.high)}]" if point.bca else ""
    return f"{text} [{shown_number(point.low)}, {shown_number(point.high)}]{bca}"


def shown_number(value: float) -> str:
    """Four significant digits, thousands apart."""
    return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.4g}"
