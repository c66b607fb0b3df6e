"""`harness model overlay`: model and measurement side by side as a table, JSON, CSV or a figure."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
from rich.text import Text

from harness.errors import UsageError
from harness.models import output
from harness.models.domain import Grid
from harness.models.figure import Curve, FigureData, Panel, check_format, draw
from harness.models.overlay import Overlay, overlay_results
from harness.models.parameters import Output

_HEADER = ("run", "mode", "offered_bps", "frame_bytes", "statelet_factor", "measured_s", "model_s", "unexplained_s")


def answer_overlay(paths: Sequence[Path], wanted: Output) -> None:
    """Every completed migration below `paths` beside the model. UsageError: there is none; as `overlay_results`."""
    if wanted.plot is not None:
        check_format(wanted.plot)
    found = [entry for path in paths for entry in overlay_results(path)]
    if not found:
        raise UsageError(f"{paths[0]}: no completed migration; the model is laid over migrations that ended")
    if wanted.as_json:
        click.echo(output.json_text({"model": "slim", "migrations": [_document(entry) for entry in found]}))
    elif wanted.as_csv:
        terms = list(dict.fromkeys(term.name for entry in found for term in entry.terms))
        header = (*_HEADER, *(f"{name.replace(' ', '_').lower()}_s" for name in terms))
        click.echo(output.csv_text(header, [(*_row(entry), *_by_name(entry, terms)) for entry in found]), nl=False)
    else:
        _print(found)
    if wanted.plot is not None:
        draw(figure(found), wanted.plot)
        click.echo(f"figure: {wanted.plot}", err=True)


def figure(found: Sequence[Overlay]) -> FigureData:
    """Durations over the offered load, a panel per mode: measured, Eq. 3, and Eq. 3 with every explained part."""
    panels = []
    for mode in dict.fromkeys(entry.mode for entry in found):
        of_mode = sorted((entry for entry in found if entry.mode == mode), key=lambda entry: entry.offered_bps)
        x = np.ma.asarray(np.array([entry.offered_bps / 1e6 for entry in of_mode]))
        explained = [None if e.unexplained_s is None else e.measured_s - e.unexplained_s for e in of_mode]
        curves = (
            Curve("measured", x, _masked([entry.measured_s for entry in of_mode]), dots=True, reference=True),
            Curve("Eq. 3", x, _masked([entry.model_s for entry in of_mode]), dots=True),
            Curve("Eq. 3 and what explains the difference", x, _masked(explained), dots=True),
        )
        axis = "offered load, both directions together [Mbit/s]"
        panels.append(Panel(mode, axis, "migration duration [s]", curves, y_limits=(0, None)))
    return FigureData("overlay", "The SliM model and measured migrations", tuple(panels))


def _masked(values: Sequence[float | None]) -> Grid:
    data = np.array([np.nan if value is None else value for value in values])
    return np.ma.MaskedArray(data, mask=np.isnan(data))


def _row(entry: Overlay) -> tuple[Any, ...]:
    return tuple(getattr(entry, name) for name in _HEADER)


def _by_name(entry: Overlay, names: Sequence[str]) -> list[float | None]:
    seconds = {term.name: term.seconds for term in entry.terms}
    return [seconds.get(name) for name in names]


def _document(entry: Overlay) -> dict[str, Any]:
    terms = [{"name": t.name, "seconds": t.seconds, "reason": t.reason} for t in entry.terms]
    return {**dict(zip(_HEADER, _row(entry), strict=True)), "terms": terms, "explanation": entry.explanation}


def _print(found: Sequence[Overlay]) -> None:
    table = output.new_table("migration duration: Eq. 3 of the SliM paper and measured")
    for title in ("run", "mode"):
        table.add_column(title)
    for title in ("load [Mbit/s]", "frame [bytes]", "sigma", "Eq. 3 [ms]", "measured [ms]", "not explained [ms]"):
        table.add_column(Text(title), justify="right")
    for entry in found:
        times = (entry.model_s, entry.measured_s, entry.unexplained_s)
        cells = (output.MISSING if value is None else f"{value * 1e3:.1f}" for value in times)
        load = f"{entry.offered_bps / 1e6:.1f}"
        table.add_row(Text(entry.run), entry.mode, load, str(entry.frame_bytes), f"{entry.statelet_factor:.4f}", *cells)
    console = output.new_console()
    console.print(table)
    for entry in found:
        console.print(f"{entry.run} {entry.mode}: {entry.explanation}", highlight=False, soft_wrap=True)
    for name, reason in {term.name: term.reason for entry in found for term in entry.terms}.items():
        console.print(f"    {name}: {reason}", highlight=False, soft_wrap=True)
