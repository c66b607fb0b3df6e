"""Which runs count in a figure, and which of them belong together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from harness.record.sweep import Result, Results, SweepCell

CONTROL = "none"
AXES = frozenset({"load.rate", "load.frame", "vnf.image"})
"""Keys of a sweep's matrix that the figures have as their own axes: load, frame size, image."""


@dataclass(frozen=True, order=True)
class Group:
    """Runs of one set of figures: an image, and what else the sweep varied ("" when nothing)."""

    image: str
    variant: str

    @property
    def title(self) -> str:
        return f"{self.image}, {self.variant}" if self.variant else self.image


@dataclass(frozen=True, order=True)
class Place:
    """A cell by what a reader knows it by; the load is that of the unscaled experiment, both directions together."""

    group: Group
    frame_bytes: int
    nominal_load_bps: int

    @property
    def title(self) -> str:
        return f"{self.group.title}, {self.frame_bytes} B, {self.nominal_load_bps / 1e6:g}M"


class Layout:
    """Where every cell of some results stands. Two different cells never share a place: they are told apart by the
    settings that differ, then by profile, then by digest."""

    def __init__(self, results: Results) -> None:
        cells = {result.cell.digest: result.cell for result in results.results}
        self._variants = _variants(list(cells.values()))

    def group(self, cell: SweepCell) -> Group:
        return Group(cell.image, self._variants[cell.digest])

    def place(self, cell: SweepCell) -> Place:
        return Place(self.group(cell), cell.frame_bytes, cell.nominal_load_bps)


def counted(results: Iterable[Result], with_failed: bool) -> list[Result]:
    """Runs that may be in a figure: VALID ones, and with `with_failed` the FAILED. Never an INVALID, repeated or
    damaged one: of the mechanism those say nothing."""
    verdicts = {"VALID", "FAILED"} if with_failed else {"VALID"}
    return [r for r in results if r.summary is not None and not r.superseded and r.verdict in verdicts]


def groups(results: Results, layout: Layout) -> list[Group]:
    """Every group with a run that may be in a figure."""
    return sorted({layout.group(result.cell) for result in counted(results.results, with_failed=True)})


def of_group(results: Iterable[Result], layout: Layout, group: Group) -> list[Result]:
    return [result for result in results if layout.group(result.cell) == group]


def by_place(results: Iterable[Result], layout: Layout) -> dict[Place, list[Result]]:
    """Runs by cell, in the order of image, frame size and load."""
    found: dict[Place, list[Result]] = {}
    for result in results:
        found.setdefault(layout.place(result.cell), []).append(result)
    return dict(sorted(found.items()))


def _variants(cells: Sequence[SweepCell]) -> Mapping[str, str]:
    varied = {key for cell in cells for key in cell.settings if key not in AXES}
    varied = {key for key in varied if len({repr(cell.settings.get(key)) for cell in cells}) > 1}
    labels = {
        cell.digest: ", ".join(f"{key}={cell.settings[key]}" for key in sorted(varied) if key in cell.settings)
        for cell in cells
    }
    further_names: tuple[Callable[[SweepCell], str], ...] = (lambda cell: cell.profile, lambda cell: cell.digest)
    for further in further_names:
        places: dict[tuple[str, str, int, int], list[SweepCell]] = {}
        for cell in cells:
            key = (cell.image, labels[cell.digest], cell.frame_bytes, cell.nominal_load_bps)
            places.setdefault(key, []).append(cell)
        ambiguous = {(image, label) for (image, label, _, _), shared in places.items() if len(shared) > 1}
        for cell in cells:
            label = labels[cell.digest]
            if (cell.image, label) in ambiguous:
                labels[cell.digest] = f"{label}, {further(cell)}" if label else further(cell)
    return labels
