"""Follows an experiment that is running, by its directory alone: the points of the run under way as they are written.

Reads with a position of its own and takes whole lines only, so that it never sees half a point.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from harness.errors import UsageError
from harness.record.point_file import PointRead, parse_point
from harness.record.rundir import POINTS, SUMMARY

CHUNK_BYTES = 4 << 20
POINTS_KEPT = 20_000
"""Per curve; older ones are forgotten."""
NS_PER_MS, NS_PER_S = 1e6, 1e9
_RUN_FOLDER = re.compile(r"\d\d+-.+")
Curve = list[tuple[float, float]]
"""(seconds since the first point of the run, value) in order."""


@dataclass(frozen=True)
class Chart:
    """One picture of the terminal: its curves and the unit of its values. rule: a level to read them against."""

    title: str
    unit: str
    curves: dict[str, Curve]
    rule: float | None = None


@dataclass
class Followed:
    """The run under way: what was read of it so far."""

    folder: Path
    phase: str = ""
    refused: int = 0
    _offset_bytes: int = 0
    _start_ns: int | None = None
    _curves: dict[str, dict[str, Curve]] = field(default_factory=lambda: defaultdict(lambda: defaultdict(list)))
    _counts: dict[str, tuple[int, float]] = field(default_factory=dict)

    def read(self) -> int:
        """Take what was written since; returns the number of points. UsageError where the file cannot be read."""
        path = self.folder / POINTS
        try:
            with path.open("rb") as file:
                file.seek(self._offset_bytes)
                data = file.read(CHUNK_BYTES)
        except FileNotFoundError:
            return 0
        except OSError as error:
            raise UsageError(f"{path}: cannot be read ({error.strerror})") from error
        end = data.rfind(b"\n") + 1
        self._offset_bytes += end
        taken = 0
        for line in data[:end].decode(errors="replace").splitlines():
            point = parse_point(line)
            if point is None:
                self.refused += 1
            else:
                self._take(point)
                taken += 1
        return taken

    def charts(self) -> tuple[Chart, ...]:
        """Everything to be drawn, in order."""
        curves = self._curves
        return (
            Chart("load, both directions", "Mbit/s", dict(curves["rate"])),
            Chart("round-trip time", "ms", dict(curves["rtt"]), rule=15.0),
            Chart("queues", "packets", {name: curve for name, curve in curves["queue"].items() if _moved(curve)}),
            Chart("uplinks", "Mbit/s", {name: curve for name, curve in curves["link"].items() if _moved(curve)}),
        )

    def last(self, chart: str, curve: str) -> float | None:
        """The newest value of a curve."""
        values = self._curves[chart].get(curve)
        return values[-1][1] if values else None

    def _take(self, point: PointRead) -> None:
        if point.measurement == "event":
            self.phase = point.tags.get("phase", "")
        reader = _READERS.get(point.measurement)
        if reader is None:
            return
        if self._start_ns is None:
            self._start_ns = point.time_ns
        at_s = (point.time_ns - self._start_ns) / NS_PER_S
        for chart, curve, value, is_counter in reader(point):
            shown = self._growth(f"{chart} {curve}", point.time_ns, value) if is_counter else value
            if shown is None:
                continue
            values = self._curves[chart][curve]
            values.append((at_s, shown))
            del values[:-POINTS_KEPT]

    def _growth(self, key: str, time_ns: int, value: float) -> float | None:
        """Per second, of what counts since the start."""
        before = self._counts.get(key)
        self._counts[key] = (time_ns, value)
        if before is None or time_ns <= before[0] or value < before[1]:
            return None
        return (value - before[1]) / (time_ns - before[0]) * NS_PER_S


Reading = tuple[str, str, float, bool]
"""Chart, curve, value in the unit of the chart, and whether it counts."""


def _live(point: PointRead) -> Iterable[Reading]:
    yield from _fields(point, "rate", {"sent_bps": "sent", "received_bps": "received"}, 1e-6)
    yield from _fields(point, "rtt", {"rtt_mean_ns": "mean", "rtt_max_ns": "largest"}, 1 / NS_PER_MS)
    yield from _fields(point, "loss", {"lost_estimate_packets": "lost"}, 1.0)


def _queue(point: PointRead) -> Iterable[Reading]:
    name = f"{point.tags.get('node', '')} {point.tags.get('kind', '')}"
    yield from _fields(point, "queue", {"depth_packets": name}, 1.0)


def _link(point: PointRead) -> Iterable[Reading]:
    node = point.tags.get("node", "")
    if node in ("source", "destination") and point.tags.get("link") == "up0":
        names = {"rx_bytes": f"{node} received", "tx_bytes": f"{node} sent"}
        for chart, curve, value, _ in _fields(point, "link", names, 8e-6):
            yield chart, curve, value, True


def _fields(point: PointRead, chart: str, names: dict[str, str], factor: float) -> Iterable[Reading]:
    for name, curve in names.items():
        value = point.fields.get(name)
        if isinstance(value, int | float):
            yield chart, curve, value * factor, False


_READERS: dict[str, Callable[[PointRead], Iterable[Reading]]] = {"live": _live, "queue": _queue, "link": _link}


def _moved(curve: Curve) -> bool:
    return any(value for _, value in curve)


def newest_experiment(results: Path) -> Path:
    """The experiment begun last below a folder. UsageError where there is none."""
    try:
        found = sorted(path for path in results.iterdir() if path.is_dir() and not path.name.startswith("."))
    except OSError as error:
        raise UsageError(f"{results}: {error.strerror}; give the directory of an experiment") from error
    if not found:
        raise UsageError(f"{results}: no experiment here; start one with 'harness run'")
    return found[-1]


def run_under_way(experiment: Path) -> Path | None:
    """The folder of the run that was begun last; None before the first."""
    if (experiment / POINTS).exists():
        return experiment
    folders = [path for path in experiment.iterdir() if path.is_dir() and _RUN_FOLDER.fullmatch(path.name)]
    return max(folders, key=lambda path: path.name, default=None)


def has_ended(experiment: Path) -> bool:
    """Whether nothing more will be written."""
    return (experiment / SUMMARY).is_file()
