"""A figure as data: panels of lines with their confidence intervals, everything a drawing and a CSV file need."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from harness.measure.statistics import Interval

Scale = Literal["linear", "log", "symlog"]
Role = Literal["measured", "control", "model", "explained", "late", "p50", "p99", "max", "curve"]

HEADER = (
    *("panel", "line", "mode", "frame_bytes", "x", "x_unit", "y", "y_low", "y_high", "y_unit", "n", "n_failed"),
    *("bca_low", "bca_high"),
)


@dataclass(frozen=True)
class Point:
    """y at x, the mean of `count` runs; low and high bound its 95 % confidence interval where there is one.

    failed: how many of the runs FAILED. bca: the second interval of a skewed figure (harness.report.bootstrap).
    """

    x: float
    y: float | None
    low: float | None = None
    high: float | None = None
    count: int = 1
    failed: int = 0
    bca: Interval | None = None


@dataclass(frozen=True)
class Line:
    """Points in the order of x. A y of None leaves a gap: nothing is drawn across what was not measured."""

    label: str
    mode: str
    frame_bytes: int
    points: tuple[Point, ...]
    role: Role = "measured"


@dataclass(frozen=True)
class Rule:
    """A level to be read beside the lines (a limit, the size of a queue)."""

    y: float
    label: str


@dataclass(frozen=True)
class Mark:
    """A moment on the x axis of a panel over time."""

    x: float
    label: str


@dataclass(frozen=True)
class Panel:
    """One pair of axes. x_range None: from 0 past the largest x. y_top: at least so far; y_max: no further."""

    title: str
    x_label: str
    y_label: str
    lines: tuple[Line, ...]
    x_unit: str = "Mbit/s"
    y_unit: str = ""
    y_scale: Scale = "linear"
    x_range: tuple[float, float] | None = None
    y_range: tuple[float | None, float | None] = (0.0, None)
    rules: tuple[Rule, ...] = ()
    marks: tuple[Mark, ...] = ()


@dataclass(frozen=True)
class Picture:
    """One figure. `panels` in rows of `columns`; over_time: x is time, the lines share one legend.

    name: of its files, without suffix. number: in the paper, None where it has none. runs: how many are in it. notes
    are printed below it; `scale` says what a scaled experiment's reader must know, and is drawn into it.
    """

    name: str
    title: str
    panels: tuple[Panel, ...]
    frames: tuple[int, ...]
    modes: tuple[str, ...]
    number: int | None = None
    columns: int = 1
    over_time: bool = False
    notes: tuple[str, ...] = ()
    scale: str = ""
    runs: int = 0

    def rows(self) -> Iterable[tuple[object, ...]]:
        """One row per point, in the order of HEADER."""
        for panel in self.panels:
            for line in panel.lines:
                for p in line.points:
                    yield (
                        panel.title or panel.y_label,
                        line.label,
                        line.mode,
                        line.frame_bytes,
                        p.x,
                        panel.x_unit,
                        p.y,
                        p.low,
                        p.high,
                        panel.y_unit,
                        p.count,
                        p.failed,
                        p.bca.low if p.bca else None,
                        p.bca.high if p.bca else None,
                    )

    def csv(self) -> str:
        """RFC 4180 with a header; not measured is an empty cell. Text that a spreadsheet would run is quoted."""
        buffer = io.StringIO()
        writer = csv.writer(buffer, lineterminator="\n")
        writer.writerow(HEADER)
        writer.writerows([_cell(value) for value in row] for row in self.rows())
        return buffer.getvalue()


def largest_x(panels: Sequence[Panel]) -> float:
    """The largest x of all points; 0 without points."""
    return max((p.x for panel in panels for line in panel.lines for p in line.points), default=0.0)


def _cell(value: object) -> object:
    """Names come from files: one that begins like a formula must not become one in a spreadsheet."""
    if value is None:
        return ""
    if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")):
        return f"'{value}"
    return value
