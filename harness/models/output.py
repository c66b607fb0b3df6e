"""Tables, JSON and CSV of what the models give. Masked cells are `-`, null and empty; NaN never appears."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.models.domain import Grid
from harness.models.evaluate import Result
from harness.models.figure import Curve, FigureData, Panel
from harness.models.parameters import Inputs
from harness.models.printed import Printed

if TYPE_CHECKING:
    from harness.models.simulation import Agreement

MISSING = "-"
ROWS_SHOWN_MAX = 200
_WIDTH = 500
_SCALES = {"bit/s": (1e6, "Mbit/s"), "bytes": (2**20, "MiB")}


def plain(value: Any) -> Any:
    """A value for JSON: masked and non-finite numbers become None."""
    if isinstance(value, np.ma.MaskedArray):
        return plain(value.tolist())
    if value is np.ma.masked:
        return None
    if isinstance(value, (np.ndarray, np.generic)):
        return plain(value.tolist())
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(entry) for entry in value]
    return value


def json_text(document: Mapping[str, Any]) -> str:
    return json.dumps(plain(document), indent=2, allow_nan=False)


def csv_text(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """RFC 4180, with a header line; None is an empty cell."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(["" if cell is None else cell for cell in row] for row in rows)
    return buffer.getvalue()


def document(inputs: Inputs, results: Sequence[Result]) -> dict[str, Any]:
    """Parameters, and results with titles and units; a sweep's values are lists over its cells."""
    return {
        "model": inputs.model,
        "parameters": {inputs.parameter(name).key: value for name, value in inputs.values.items() if value is not None},
        "swept": [inputs.parameter(name).key for name in inputs.swept],
        "results": {
            r.key: {"title": r.title, "unit": r.unit, "source": r.source, "values": _spread(r.values, inputs)}
            for r in results
        },
    }


def columns(inputs: Inputs, results: Sequence[Result]) -> tuple[list[str], Iterator[tuple[Any, ...]]]:
    """Header and rows of a CSV file: one row per cell, the swept parameters first."""
    header = [inputs.parameter(name).key for name in inputs.swept] + [r.key for r in results]
    swept: list[Any] = [np.atleast_1d(inputs.get(name)).tolist() for name in inputs.swept]
    values = [np.ma.atleast_1d(_spread(r.values, inputs)).tolist() for r in results]
    return header, zip(*swept, *values, strict=True)


def figure_document(figure: FigureData) -> dict[str, Any]:
    """A figure's data: panels with their curves."""
    return {
        "figure": figure.name,
        "title": figure.title,
        "panels": [
            {
                "title": panel.title,
                "x": panel.x_label,
                "y": panel.y_label,
                "curves": [{"label": c.label, "x": c.x, "y": c.y} for c in panel.curves],
            }
            for panel in figure.panels
        ],
    }


def printed_document(numbers: Iterable[Printed]) -> list[dict[str, Any]]:
    """Printed numbers with what was computed."""
    return [
        {
            "where": number.where,
            "quantity": number.quantity,
            "unit": number.unit,
            "printed": number.printed,
            "computed": number.computed,
            "reproduced": number.reproduced,
            "variants": [{"parameters": v.parameters, "computed": v.computed} for v in number.variants],
        }
        for number in numbers
    ]


def agreement_document(agreements: Iterable[Agreement]) -> list[dict[str, Any]]:
    return [
        {
            "quantity": a.quantity,
            "unit": a.unit,
            "closed_form": a.closed_form,
            "simulated": a.simulated.mean,
            "half_width": a.simulated.half_width,
            "confidence": a.confidence,
            "replications": a.simulated.count,
            "agrees": a.agrees,
        }
        for a in agreements
    ]


def sweep_figure(inputs: Inputs, results: Sequence[Result]) -> FigureData:
    """Every result of a one-dimensional sweep over its parameter, a panel per unit."""
    name = inputs.swept[0]
    parameter = inputs.parameter(name)
    x = inputs.get(name)
    panels = []
    for unit in dict.fromkeys(r.unit for r in results):
        shown = [r for r in results if r.unit == unit]
        curves = tuple(Curve(r.title, np.ma.asarray(x), _spread(r.values, inputs)) for r in shown)
        panels.append(Panel("", f"{name} [{_UNITS[parameter.kind]}]", _axis_label(shown, unit), curves))
    return FigureData(f"{inputs.model}-sweep", f"{inputs.model}: sweep of {name}", tuple(panels), stacked=True)


def _axis_label(results: Sequence[Result], unit: str) -> str:
    return f"{results[0].title if len(results) == 1 else ''} [{unit or '1'}]".strip()


_UNITS = {"rate": "bit/s", "size": "bytes", "time": "s", "number": "1", "count": "1"}


def print_results(console: Console, inputs: Inputs, results: Sequence[Result]) -> None:
    """One value: a table of quantities. A sweep: one row per cell, as many as are read at a terminal."""
    if inputs.scalar:
        table = new_table(f"model {inputs.model}")
        for name in ("quantity", "equation"):
            table.add_column(name)
        table.add_column("value", justify="right")
        table.add_column("unit")
        for result in results:
            value, unit = shown(float(result.values) if not result.values.mask.any() else None, result.unit)
            table.add_row(Text(result.title), result.source, value, unit)
        console.print(table)
        return
    header, rows = columns(inputs, results)
    table = new_table(f"model {inputs.model}, by {', '.join(inputs.swept)}")
    for name in header:
        table.add_column(name, justify="right")
    total = np.atleast_1d(inputs.get(inputs.swept[0])).size
    for row, _ in zip(rows, range(ROWS_SHOWN_MAX), strict=False):
        table.add_row(*(MISSING if cell is None else f"{cell:.6g}" for cell in row))
    console.print(table)
    if total > ROWS_SHOWN_MAX:
        console.print(f"{total - ROWS_SHOWN_MAX:,} more rows: --csv or --json writes all")


def print_printed(console: Console, numbers: Sequence[Printed], paper: str = "") -> None:
    """What the paper prints and what was computed, the numbers that are not reproduced marked."""
    table = new_table(f"what the paper {paper} prints" if paper else "what the paper prints")
    for name in ("where", "quantity", "printed X, computed Y"):
        table.add_column(name)
    for number in numbers:
        table.add_row(number.where, Text(number.quantity), Text(number.sentence()))
    console.print(table)


def print_agreements(console: Console, agreements: Sequence[Agreement]) -> None:
    """Closed form and simulation side by side."""
    table = new_table(f"discrete-event simulation, {agreements[0].confidence:.0%} intervals")
    table.add_column("quantity")
    for name in ("closed form", "simulated", "agrees"):
        table.add_column(name, justify="right")
    for a in agreements:
        closed = MISSING if a.closed_form is None else f"{a.closed_form:.6g}"
        mean, half = (MISSING if v is None else f"{v:.4g}" for v in (a.simulated.mean, a.simulated.half_width))
        verdict = {True: "yes", False: "NO", None: MISSING}[a.agrees]
        table.add_row(Text(f"{a.quantity} [{a.unit or '1'}]"), closed, f"{mean} ± {half}", verdict)
    console.print(table)


def shown(value: float | None, unit: str) -> tuple[str, str]:
    """Text of a value and the unit it is shown in."""
    scale, name = _SCALES.get(unit, (1.0, unit))
    if value is None or not np.isfinite(value):
        return MISSING, name
    return f"{value / scale:.6g}", name


def new_table(title: str) -> Table:
    return Table(title=Text(title), title_justify="left", pad_edge=False)


def new_console() -> Console:
    """Outside a terminal a table is never cut."""
    console = Console()
    return console if console.is_terminal else Console(width=_WIDTH, color_system=None, force_terminal=False)


def _spread(values: Grid, inputs: Inputs) -> Grid:
    """Results that do not depend on what is swept, over all cells."""
    if inputs.scalar:
        return values
    shape = np.shape(inputs.get(inputs.swept[0]))
    data, mask = np.broadcast_to(values.data, shape), np.broadcast_to(np.ma.getmaskarray(values), shape)
    return np.ma.MaskedArray(data, mask=mask)
