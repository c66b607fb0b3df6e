"""A figure as data, and the same drawn: curves in panels, to PNG, SVG or PDF."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from harness.errors import UsageError
from harness.models.domain import Grid, Values

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Scale = Literal["linear", "log"]

FORMATS = (".png", ".svg", ".pdf")
# Okabe and Ito's palette without its yellow (too light on white) and black: told apart by all.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
LINE_STYLES = ("-", "--", "-.", ":")
_CURVES_BELOW_LEGEND_MAX = 6
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")


@dataclass(frozen=True)
class Curve:
    """Points of one line; masked ones are left out."""

    label: str
    x: Grid
    y: Grid
    dots: bool = False
    """Single points: x has no values in between."""
    reference: bool = False
    """What the other curves are to be compared with."""


@dataclass(frozen=True)
class Panel:
    """One pair of axes, labelled with their units."""

    title: str
    x_label: str
    y_label: str
    curves: tuple[Curve, ...]
    x_scale: Scale = "linear"
    y_scale: Scale = "linear"
    y_limits: tuple[float | None, float | None] = (None, None)


@dataclass(frozen=True)
class FigureData:
    """A paper's figure, or a sweep: panels side by side, or one above the other."""

    name: str
    title: str
    panels: tuple[Panel, ...]
    stacked: bool = False

    def rows(self) -> Iterator[tuple[str, str, float, float | None]]:
        """(panel, curve, x, y) of every point; y is None where the model is not defined."""
        for panel in self.panels:
            for curve in panel.curves:
                for x, y in zip(curve.x.tolist(), curve.y.tolist(), strict=True):
                    yield panel.title or panel.y_label, curve.label, x, y


def curve(label: str, x: Values, y: Grid, *, dots: bool = False, reference: bool = False) -> Curve:
    """A curve of y over x, both of one dimension."""
    return Curve(label, np.ma.asarray(np.asarray(x, dtype=float)), y, dots, reference)


def check_format(path: Path) -> None:
    """UsageError when the file's name does not end in a known format."""
    if path.suffix.lower() not in FORMATS:
        raise UsageError(f"{path}: a figure is written to a file ending in {', '.join(FORMATS)}")


def draw(figure: FigureData, path: Path) -> None:
    """Write the figure. Equal data give an equal file. UsageError: unknown format, or the file cannot be written."""
    check_format(path)
    import matplotlib as mpl
    from matplotlib.figure import Figure

    across, down = (1, len(figure.panels)) if figure.stacked else (len(figure.panels), 1)
    with mpl.rc_context({"svg.hashsalt": figure.name, "font.size": 9.0}):
        canvas = Figure(
            figsize=(5.6 * across + 0.4, (3.0 if figure.stacked else 4.2) * down + 0.4), layout="constrained"
        )
        canvas.suptitle(figure.title, fontsize=10)
        for axes, panel in zip(canvas.subplots(down, across, squeeze=False).flat, figure.panels, strict=True):
            _draw_panel(axes, panel)
        metadata = {".png": {"Software": None}, ".svg": {"Date": None}, ".pdf": {"CreationDate": None}}
        try:
            canvas.savefig(path, dpi=150, metadata=metadata[path.suffix.lower()])
        except OSError as error:
            raise UsageError(f"{path}: cannot be written ({error.strerror})") from error


def _draw_panel(axes: Axes, panel: Panel) -> None:
    from matplotlib.ticker import MaxNLocator

    for index, line in enumerate(panel.curves):
        axes.plot(
            line.x.filled(np.nan),
            line.y.filled(np.nan),
            label=line.label,
            color="black" if line.reference else COLOURS[index % len(COLOURS)],
            linestyle="-" if line.reference else LINE_STYLES[index % len(LINE_STYLES)],
            marker=MARKERS[index % len(MARKERS)] if line.dots else "",
            markersize=4,
            linewidth=2.0 if line.reference else 1.4,
        )
    if all(line.dots and bool(np.all(line.x.filled(0.5) % 1 == 0)) for line in panel.curves):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xscale(panel.x_scale)
    axes.set_yscale(panel.y_scale)
    axes.set_ylim(*panel.y_limits)
    axes.margins(x=0)
    axes.set_title(panel.title, fontsize=9)
    axes.set_xlabel(panel.x_label)
    axes.set_ylabel(panel.y_label)
    axes.grid(visible=True, which="major", alpha=0.3)
    if len(panel.curves) > _CURVES_BELOW_LEGEND_MAX:
        axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    elif len(panel.curves) > 1:
        axes.legend(fontsize=8, framealpha=0.85)
