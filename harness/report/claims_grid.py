"""Results as the paper's evaluation has them: image, frame size, load on a 1 Gbit/s link, mode."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from harness.measure.statistics import Estimate, estimate
from harness.record.summary import RunSummary
from harness.record.sweep import Result, Results, SweepCell

FRAMES = (512, 1400)
IMAGES = ("nat", "pg")
PUBLISHED_UPLINK_BPS = 1_000_000_000
PUBLISHED_FILLER_BYTES = (20_000_000, 20 << 20)
"""20 MB in the text, 20 MiB in the published system: anything from a tenth below to a tenth above is the same size."""
PUBLISHED_BASE_RTT_NS = 10_000_000
SAME = 0.1
"""Relative difference up to which a set quantity (filler, base RTT) counts as the published one."""
SAME_LOAD = 0.01
"""Relative difference up to which a load counts as the one named (rates are rounded to packets); no interpolation."""

Read = Callable[[RunSummary], float | None]


@dataclass(frozen=True)
class Point:
    """Runs of one cell and mode. `load_m` is the load in Mbit/s, both directions, that the published 1 Gbit/s uplink
    would carry at the same utilisation; `scale` is uplink / 1 Gbit/s, by which bytes and queues shrink."""

    image: str
    frame_bytes: int
    load_m: int
    mode: str
    scale: float
    valid: tuple[RunSummary, ...] = ()
    failed: tuple[RunSummary, ...] = ()

    @property
    def runs(self) -> tuple[RunSummary, ...]:
        """Every run that says something of the mechanism."""
        return self.valid + self.failed

    @property
    def title(self) -> str:
        return f"{self.image} {self.frame_bytes} B {self.mode} {self.load_m}M"

    def estimate(self, read: Read, with_failed: bool = False) -> Estimate:
        """Mean and Student t interval over the VALID runs, and the FAILED where asked."""
        return estimate(read(run) for run in (self.runs if with_failed else self.valid))

    def values(self, read: Read) -> list[float]:
        """What the VALID runs measured."""
        return [value for value in map(read, self.valid) if value is not None]


@dataclass(frozen=True)
class Grid:
    """All points in the order of image, mode, frame size and load; `notes` say what of the results is not in it."""

    points: tuple[Point, ...]
    notes: tuple[str, ...] = ()

    def select(
        self, image: str, mode: str, frame_bytes: int | None = None, at_most: float | None = None, above: float = 0
    ) -> list[Point]:
        """Points with above < load <= at_most, within the rounding of loads."""
        return [
            point
            for point in self.points
            if (point.image, point.mode) == (image, mode)
            and frame_bytes in (None, point.frame_bytes)
            and (at_most is None or point.load_m <= at_most * (1 + SAME_LOAD))
            and point.load_m > above * (1 + SAME_LOAD)
        ]

    def at(self, image: str, mode: str, frame_bytes: int, load_m: float) -> Point | None:
        """The point at that load; None when it was not measured."""
        for point in self.select(image, mode, frame_bytes):
            if abs(point.load_m - load_m) <= SAME_LOAD * load_m:
                return point
        return None

    def beside(self, point: Point, mode: str) -> Point | None:
        """The same cell in another mode."""
        return self.at(point.image, mode, point.frame_bytes, point.load_m)

    def frames(self, image: str) -> list[int]:
        """Frame sizes measured with that image in any mode but the control."""
        return sorted({point.frame_bytes for point in self.points if point.image == image and point.mode != "none"})


def grid_of(results: Results) -> Grid:
    """The points of the published evaluation that are in `results`.

    INVALID, damaged and superseded runs are left out. A cell counts only if it is one of the published kind: image,
    frame size, base RTT of 10 ms, filler of 20 MB times the scale; and if no other cell stands at the same place.
    """
    cells = {result.cell.digest: result.cell for result in results.results if result.cell.uplink_bps > 0}
    places: dict[tuple[str, int, int], list[SweepCell]] = {}
    notes: list[str] = []
    for cell in cells.values():
        runs = [run for run in map(_counted, _of_cell(results, cell)) if run is not None]
        reason = _unlike_the_paper(cell, runs)
        if reason:
            notes.append(f"{cell.image} {cell.frame_bytes} B {_load_m(cell)}M left out: {reason}")
        else:
            places.setdefault((cell.image, cell.frame_bytes, _load_m(cell)), []).append(cell)
    points: list[Point] = []
    for (image, frame_bytes, load_m), found in places.items():
        if len(found) > 1:
            notes.append(f"{image} {frame_bytes} B {load_m}M left out: {len(found)} different profiles at this load")
            continue
        by_mode: dict[str, list[RunSummary]] = {}
        for result in _of_cell(results, found[0]):
            if (run := _counted(result)) is not None:
                by_mode.setdefault(result.mode, []).append(run)
        for mode, runs in by_mode.items():
            valid = tuple(run for run in runs if run.validity.verdict == "VALID")
            failed = tuple(run for run in runs if run.validity.verdict == "FAILED")
            points.append(Point(image, frame_bytes, load_m, mode, _scale(found[0]), valid, failed))
    points.sort(key=lambda p: (p.image, p.mode, p.frame_bytes, p.load_m))
    return Grid(tuple(points), tuple(notes))


def _of_cell(results: Results, cell: SweepCell) -> Sequence[Result]:
    return [result for result in results.results if result.cell.digest == cell.digest]


def _counted(result: Result) -> RunSummary | None:
    return None if result.superseded or result.verdict == "INVALID" else result.summary


def _load_m(cell: SweepCell) -> int:
    return round(cell.load_bps / cell.uplink_bps * PUBLISHED_UPLINK_BPS / 1e6)


def _scale(cell: SweepCell) -> float:
    return cell.uplink_bps / PUBLISHED_UPLINK_BPS


def _unlike_the_paper(cell: SweepCell, runs: Iterable[RunSummary]) -> str:
    """Why a cell says nothing of the published evaluation; empty when it does."""
    if cell.image not in IMAGES or cell.frame_bytes not in FRAMES:
        return "image or frame size not of the paper's evaluation"
    least, most = (size * _scale(cell) for size in PUBLISHED_FILLER_BYTES)
    for run in runs:
        filler, base_ns = run.migration.filler_bytes, run.calibration.base_rtt_expected_ns
        completed = run.migration.outcome == "completed"
        if completed and filler is not None and not least * (1 - SAME) <= filler <= most * (1 + SAME):
            return f"filler of {filler / 1e6:.3g} MB, that of the paper is {most / 1e6:.3g} MB on this link"
        if base_ns is not None and abs(base_ns - PUBLISHED_BASE_RTT_NS) > SAME * PUBLISHED_BASE_RTT_NS:
            return f"base RTT of {base_ns / 1e6:.3g} ms, that of the paper is 10 ms"
    return ""
