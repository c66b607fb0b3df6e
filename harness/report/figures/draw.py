"""Pictures drawn with matplotlib, without its global state: equal data give equal bytes.

Text comes from result files and is drawn as it stands (never parsed as mathematical notation).
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from harness.report.figures import look
from harness.report.figures.labels import label_lines, label_marks
from harness.report.figures.picture import Line, Panel, Picture, largest_x
from harness.report.hostile import shown

Floats = npt.NDArray[np.float64]

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PNG_DPI = 150
_TITLE_MAX = 110
_WIDTH_IN, _HEIGHT_IN = 5.4, 3.9
_TIME_WIDTH_IN, _TIME_HEIGHT_IN = 4.3, 2.6
_ASIDE = 0.005
"""How far neighbouring lines are drawn apart along the load axis, as a fraction of the largest load."""
_LABEL_POINTS = 4.6
"""Height of a character of a mark's label, which stands upright above its panel."""
_ROLE_STYLES = {"model": ":", "explained": (0, (5, 1, 1, 1)), "p50": "-", "p99": "--", "max": ":"}


def draw(picture: Picture) -> tuple[bytes, bytes]:
    """(PNG, SVG) of a picture."""
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with (
        warnings.catch_warnings(),
        mpl.rc_context({"svg.hashsalt": picture.name, "font.size": 9.0}),
    ):
        # Names may hold letters the font lacks; a box in their place is enough.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        columns = min(picture.columns, len(picture.panels))
        rows = -(-len(picture.panels) // columns)
        width, height = (_TIME_WIDTH_IN, _TIME_HEIGHT_IN) if picture.over_time else (_WIDTH_IN, _HEIGHT_IN)
        figure = Figure(figsize=(width * columns + 0.8, height * rows + 0.5), layout="constrained", facecolor="white")
        FigureCanvasAgg(figure)
        number = f"Fig. {picture.number}: " if picture.number is not None else ""
        lines = [
            shown(number + picture.title, _TITLE_MAX),
            *([shown(picture.scale, _TITLE_MAX)] if picture.scale else []),
        ]
        figure.suptitle("\n".join(lines), fontsize=10, parse_math=False)
        all_axes = figure.subplots(rows, columns, squeeze=False).flat
        for axes, panel in zip(all_axes, picture.panels, strict=False):
            _draw_panel(axes, panel, picture)
        for axes in list(all_axes)[len(picture.panels) :]:
            axes.set_axis_off()
        png = _saved(figure, "png")
        # The layout stands: working it out again takes longer than the rest of the second file.
        figure.set_layout_engine("none")
        return png, _saved(figure, "svg")


def _longest_mark(panels: Sequence[Panel]) -> int:
    return max((len(mark.label) for panel in panels for mark in panel.marks), default=0)


def _saved(figure: Figure, kind: str) -> bytes:
    buffer = io.BytesIO()
    metadata = {"png": {"Software": None}, "svg": {"Date": None, "Creator": None}}[kind]
    figure.savefig(buffer, format=kind, dpi=PNG_DPI, metadata=metadata)
    return buffer.getvalue()


def _draw_panel(axes: Axes, panel: Panel, picture: Picture) -> None:
    if panel.y_scale == "symlog":
        axes.set_yscale("symlog", linthresh=1.0)
    else:
        axes.set_yscale(panel.y_scale)
    asides = _asides(panel, picture)
    for number, (line, aside) in enumerate(zip(panel.lines, asides, strict=True)):
        _draw_line(axes, line, picture, aside, number)
    for rule in panel.rules:
        axes.axhline(rule.y, color="black", linewidth=0.8, linestyle=(0, (1, 2)), zorder=1)
    axes.set_xlim(*(panel.x_range or (0.0, 1.04 * largest_x(picture.panels) or 1.0)))
    _limit_y(axes, panel)
    for rule in panel.rules:
        axes.annotate(
            rule.label,
            (0.01, rule.y),
            xycoords=("axes fraction", "data"),
            xytext=(0, 2),
            textcoords="offset points",
            fontsize=7.5,
            parse_math=False,
        )
    if panel.title:
        axes.set_title(
            shown(panel.title),
            fontsize=9,
            parse_math=False,
            pad=6 + _LABEL_POINTS * _longest_mark(picture.panels if picture.over_time else (panel,)),
        )
    axes.set_xlabel(panel.x_label, parse_math=False)
    axes.set_ylabel(panel.y_label, parse_math=False)
    axes.grid(visible=True, which="major", alpha=0.25, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    if panel.y_scale != "linear":
        from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

        if panel.y_scale == "log":
            axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
    label_marks(axes, panel)
    if picture.over_time:
        if not panel.lines:
            axes.text(0.5, 0.5, "not measured", transform=axes.transAxes, ha="center", color="grey", fontsize=8)
            return
        axes.legend(
            fontsize=7.5 if len(panel.lines) <= 4 else 6,
            loc="upper right",
            framealpha=0.9,
            borderpad=0.3,
            handlelength=1.8,
        )
    else:
        label_lines(axes, panel, picture, asides)


def _asides(panel: Panel, picture: Picture) -> list[float]:
    """How far each line is set aside of its loads: lines with equal values would hide each other."""
    step = 0.0 if picture.over_time else _ASIDE * largest_x(picture.panels)
    return [step * (index - (len(panel.lines) - 1) / 2) for index in range(len(panel.lines))]


def _draw_line(axes: Axes, line: Line, picture: Picture, aside: float, number: int) -> None:
    x = np.array([p.x + aside for p in line.points], dtype=float)
    y = np.array([np.nan if p.y is None else p.y for p in line.points], dtype=float)
    colour = look.colour(line.mode, picture.modes)
    if line.role == "curve":
        dashes, shade = look.curve(number)
        axes.plot(x, y, color=shade, linestyle=dashes, linewidth=1.1, label=shown(line.label))
        return
    if picture.over_time:
        _draw_over_time(axes, line, x, y, colour)
        return
    marker = look.marker(line.frame_bytes, picture.frames)
    if line.role in ("model", "explained"):
        style = _ROLE_STYLES[line.role]
        axes.plot(
            x, y, color=colour, linestyle=style, linewidth=1.1, marker=marker, markersize=3, mfc="white", zorder=2
        )
        return
    control = line.role == "control"
    low = np.array([np.nan if p.low is None or p.y is None else p.y - p.low for p in line.points], dtype=float)
    high = np.array([np.nan if p.high is None or p.y is None else p.high - p.y for p in line.points], dtype=float)
    axes.errorbar(
        x,
        y,
        # A bound of an interval that rounds past its own mean is on it.
        yerr=np.maximum(np.nan_to_num(np.vstack((low, high))), 0.0),
        color=colour,
        linestyle=look.line_style(line.mode, picture.modes),
        linewidth=0.9 if control else 1.6,
        marker=marker,
        markersize=2.5 if control else 5.0,
        markerfacecolor="white" if line.mode in look.HOLLOW else colour,
        capsize=0.0 if control else 2.5,
        elinewidth=0.7 if control else 1.0,
        zorder=1.5 if control else 3,
    )
    failed = np.array([bool(p.failed) for p in line.points])
    if failed.any():
        axes.plot(x[failed], y[failed], linestyle="", marker="x", markersize=9, color="black", zorder=4)


def _draw_over_time(axes: Axes, line: Line, x: Floats, y: Floats, colour: str) -> None:
    if line.role in ("p50", "p99", "max"):
        width = {"p50": 1.5, "p99": 1.2, "max": 0.9}[line.role]
        axes.plot(x, y, color=colour, linestyle=_ROLE_STYLES[line.role], linewidth=width, label=line.label)
        return
    late = line.role == "late"
    # Filled steps: each interval counts what was due to be sent in it.
    axes.fill_between(
        x,
        0,
        np.nan_to_num(y),
        step="post",
        facecolor="white" if late else colour,
        hatch="////" if late else None,
        edgecolor=colour,
        linewidth=0.8,
        label=line.label,
    )


def _limit_y(axes: Axes, panel: Panel) -> None:
    """The given range, open ends from the data; a level that is drawn is inside it."""
    bottom, top = panel.y_range
    highest = max([p.y for line in panel.lines for p in line.points if p.y is not None], default=0.0)
    bounds = [p.high for line in panel.lines for p in line.points if p.high is not None]
    if top is None:
        # Intervals wider than twice the largest mean are cut: they would flatten every line.
        top = max([highest, *(min(bound, 2 * highest) for bound in bounds)])
        top = max([top, *(rule.y for rule in panel.rules)])
        top = top * (1.06 if panel.y_scale == "linear" else 1.5) if top > 0 else 1.0
    if panel.y_scale == "log":
        lowest = min([p.y for line in panel.lines for p in line.points if p.y], default=top / 10)
        bottom = min(bottom or lowest * 0.8, top / 2)
    if panel.y_scale == "linear" and bottom == 0.0 and not panel.marks:
        bottom = -0.02 * top  # markers at zero are seen whole
    axes.set_ylim(bottom, top)
