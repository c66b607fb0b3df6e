"""The model beside the measurements as a table, and in words where it is off and why."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from harness.measure.statistics import estimate
from harness.models.overlay import Overlay, Term
from harness.report.cells import by_place
from harness.report.figures.beside_model import lay
from harness.report.figures.material import Material, modes_of_migrations
from harness.report.table import MISSING

OFF_FRACTION = 0.2
"""The model is said to be off where it misses the measured duration by more than this part of it."""


@dataclass(frozen=True)
class ModelRow:
    """Means over the completed runs of one cell and mode, in ms; None where Eq. 2 does not hold."""

    cell: str
    mode: str
    count: int
    measured_ms: float | None
    model_ms: float | None
    terms_ms: tuple[float | None, ...]
    unexplained_ms: float | None


@dataclass(frozen=True)
class ModelSection:
    """One group. terms: (name, reason) of the columns; remarks: a sentence per cell where the model is off."""

    title: str
    terms: tuple[tuple[str, str], ...]
    rows: tuple[ModelRow, ...]
    remarks: tuple[str, ...]
    complaints: tuple[str, ...]


def model_section(material: Material) -> ModelSection | None:
    """None where no migration completed."""
    laid = lay(material.runs)
    entries = list(laid.found.values())
    if not entries and not laid.complaints:
        return None
    # Of terms with the same name the reasons differ in figures only; the first stands for all.
    terms: dict[str, str] = {}
    for entry in entries:
        for term in entry.terms:
            terms.setdefault(term.name, term.reason)
    rows, remarks = [], []
    for place, runs in by_place(material.runs, material.layout).items():
        for mode in modes_of_migrations(material.modes):
            of_mode = [
                laid.found[str(run.folder)] for run in runs if run.mode == mode and str(run.folder) in laid.found
            ]
            if not of_mode:
                continue
            cell = f"{place.frame_bytes} B, {place.nominal_load_bps / 1e6:g}M"
            row = ModelRow(
                cell,
                mode,
                len(of_mode),
                _mean_ms(of_mode, lambda entry: entry.measured_s),
                _mean_ms(of_mode, lambda entry: entry.model_s),
                tuple(_term_ms(of_mode, name) for name in terms),
                _mean_ms(of_mode, lambda entry: entry.unexplained_s),
            )
            rows.append(row)
            remark = _remark(row, of_mode, tuple(terms))
            if remark:
                remarks.append(f"{cell}, {mode}: {remark}")
    return ModelSection(material.group.title, tuple(terms.items()), tuple(rows), tuple(remarks), laid.complaints)


def _mean_ms(entries: Sequence[Overlay], read: Callable[[Overlay], float | None]) -> float | None:
    mean = estimate(read(entry) for entry in entries).mean
    return None if mean is None else mean * 1e3


def _term_ms(entries: Sequence[Overlay], name: str) -> float | None:
    return _mean_ms(entries, lambda entry: next((term.seconds for term in entry.terms if term.name == name), None))


def _remark(row: ModelRow, entries: Sequence[Overlay], names: Sequence[str]) -> str:
    if row.model_ms is None:
        return entries[0].explanation
    if not row.measured_ms:
        return ""
    off_ms = row.measured_ms - row.model_ms
    if abs(off_ms) <= OFF_FRACTION * row.measured_ms:
        return ""
    parts = [
        Term(name, value, _reason(entries, name)) for name, value in zip(names, row.terms_ms, strict=True) if value
    ]
    if row.unexplained_ms is not None:
        parts.append(Term("not explained", row.unexplained_ms, "nothing that was measured accounts for it"))
    largest = max((term for term in parts if term.seconds * off_ms > 0), key=lambda t: abs(t.seconds), default=None)
    text = f"Eq. 3 is {abs(off_ms):.0f} ms ({abs(off_ms) / row.measured_ms:.0%} of the measured) too "
    text += "short" if off_ms > 0 else "long"
    return (
        text
        if largest is None
        else f"{text}; the largest part is {largest.name}, {largest.seconds:+.0f} ms: {largest.reason}"
    )


def _reason(entries: Sequence[Overlay], name: str) -> str:
    return next((term.reason for entry in entries for term in entry.terms if term.name == name), "")


def shown_ms(value: float | None) -> str:
    """Milliseconds as text, MISSING for None."""
    return MISSING if value is None else f"{value:,.1f}"
