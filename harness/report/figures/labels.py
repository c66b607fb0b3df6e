"""Names of lines and of moments, written beside the axes and moved apart where they would cover each other."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from harness.report.cells import CONTROL
from harness.report.figures import look
from harness.report.figures.picture import Line, Panel, Picture, largest_x
from harness.report.hostile import shown

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LABEL_MAX = 40
_LABEL_GAP = 0.062
"""Least distance of two labels, as a fraction of the height of the axes."""
_MARK_WIDTH = 0.036
"""Least distance of two upright labels above the axes, as a fraction of their width."""
_EARLY = 0.04
"""A line that ends this part of the axis before the largest load ends early."""


def label_lines(axes: Axes, panel: Panel, picture: Picture, asides: Sequence[float]) -> None:
    """Each line's name beside its end, moved apart where ends lie close together, with a stroke to the end.

    Names stand right of the axes; a line that ends early has its name where it ends: a long stroke from there would
    look like the line going on.
    """
    ends = []
    for line, aside in zip(panel.lines, asides, strict=True):
        known = [p for p in line.points if p.y is not None]
        if known:
            ends.append((line, known[-1].x + aside, float(known[-1].y or 0.0)))
    last_x = largest_x(picture.panels)
    low, high = axes.get_xlim()
    early = [end for end in ends if end[1] < last_x - _EARLY * (high - low)]
    for group in ([end for end in ends if end not in early], early):
        _place_names(axes, picture, group, inside=group is early)


def _place_names(axes: Axes, picture: Picture, ends: Sequence[tuple[Line, float, float]], *, inside: bool) -> None:
    transform = axes.transScale + axes.transLimits
    places = [transform.transform((x, y)) for _, x, y in ends]
    heights = spread([min(max(float(place[1]), 0.0), 1.0) for place in places], _LABEL_GAP)
    for (line, x, y), place, height in zip(ends, places, heights, strict=True):
        colour = "#666666" if line.mode == CONTROL else look.colour(line.mode, picture.modes)
        axes.annotate(
            shown(line.label, _LABEL_MAX),
            (x, y),
            xytext=(float(place[0]) + 0.03 if inside else 1.07, height),
            textcoords="axes fraction",
            fontsize=8,
            color=colour,
            va="center",
            parse_math=False,
            annotation_clip=False,
            arrowprops={
                "arrowstyle": "-",
                "color": colour,
                "linewidth": 0.5,
                "shrinkA": 1,
                "shrinkB": 4,
                "relpos": (0.0, 0.5),
            },
        )


def label_marks(axes: Axes, panel: Panel) -> None:
    """Moments as upright lines with their names above the axes; names of one moment are joined."""
    low, high = axes.get_xlim()
    inside = sorted((mark for mark in panel.marks if low <= mark.x <= high), key=lambda mark: mark.x)
    joined = [(x, ", ".join(mark.label for mark in marks)) for x, marks in groupby(inside, key=lambda mark: mark.x)]
    places: Sequence[float] = spread([(x - low) / (high - low) for x, _ in joined], _MARK_WIDTH)
    for (x, label), place in zip(joined, places, strict=True):
        axes.axvline(x, color="#444444", linewidth=0.6, zorder=1)
        axes.annotate(
            label,
            (x, 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(place, 1.06),
            textcoords="axes fraction",
            fontsize=7,
            rotation=90,
            ha="center",
            va="bottom",
            color="#333333",
            parse_math=False,
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": "#444444", "linewidth": 0.5, "shrinkA": 0, "shrinkB": 0},
        )


def spread(places: Sequence[float], gap: float) -> list[float]:
    """Places in [0, 1], in the order given, moved as little as needed so that neighbours are `gap` apart.

    Their order is kept. Where they do not all fit they are spaced evenly, closer than `gap`.
    """
    count = len(places)
    order = sorted(range(count), key=lambda i: places[i])
    gap = min(gap, 1.0 / (count - 1)) if count > 1 else gap
    # Blocks of labels that touch, each centred on where its members want to be.
    blocks: list[list[int]] = []
    starts: list[float] = []
    for i in order:
        blocks.append([i])
        starts.append(_start(places, [i], gap))
        while len(blocks) > 1 and starts[-2] + gap * len(blocks[-2]) > starts[-1]:
            last = blocks.pop()
            starts.pop()
            blocks[-1] = blocks[-1] + last
            starts[-1] = _start(places, blocks[-1], gap)
    moved = [0.0] * count
    for block, start in zip(blocks, starts, strict=True):
        for rank, i in enumerate(block):
            moved[i] = start + rank * gap
    return moved


def _start(places: Sequence[float], block: Sequence[int], gap: float) -> float:
    """Where the first label of a block goes, inside [0, 1]."""
    middle = sum(places[i] for i in block) / len(block)
    length = gap * (len(block) - 1)
    return min(max(middle - length / 2, 0.0), 1.0 - length)
