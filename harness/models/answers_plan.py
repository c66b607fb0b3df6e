"""`harness model plan`: the decision as a table, JSON, CSV or a figure."""

from __future__ import annotations

from typing import Any

import click
import numpy as np
from rich.text import Text

from harness.models import output
from harness.models.decision import Candidate, Decision, Limits, decide
from harness.models.evaluate import chain
from harness.models.figure import Curve, FigureData, Panel, check_format, draw
from harness.models.multi_vm import Rounding
from harness.models.parameters import Inputs, Output
from harness.models.queueing import channel_count

_FIELDS = ("name", "parallel_vms", "time_s", "downtime_s", "blocking", "waiting_s")
_TITLES = ("strategy", "m", "migration [s]", "downtime [s]", "blocking", "waiting [s]", "limits")


def answer_plan(inputs: Inputs, rounding: Rounding, wanted: Output) -> Decision:
    """Decide, and print every candidate with what it costs. UsageError as `decide`."""
    if wanted.plot is not None:
        check_format(wanted.plot)
    limits = Limits(*(_optional(inputs, name) for name in ("max-downtime", "max-blocking", "max-waiting")))
    channels = int(channel_count(inputs.get("bandwidth"), inputs.get("rate")))
    decision = decide(chain(inputs), limits, float(inputs.get("arrival")), channels, rounding)
    if wanted.as_json:
        click.echo(output.json_text(_document(inputs, decision)))
    elif wanted.as_csv:
        rows = [(*_row(c), "; ".join(c.broken), int(c is decision.chosen)) for c in decision.candidates]
        click.echo(output.csv_text((*_FIELDS, "broken", "chosen"), rows), nl=False)
    else:
        _print(decision)
    if wanted.plot is not None:
        draw(figure(decision, limits), wanted.plot)
        click.echo(f"figure: {wanted.plot}", err=True)
    return decision


def figure(decision: Decision, limits: Limits) -> FigureData:
    """Migration time, downtime and blocking over m, with the limits."""
    mixed = [c for c in decision.candidates if c.parallel_vms is not None]
    m = np.array([c.parallel_vms for c in mixed], dtype=float)
    panels = []
    rows: tuple[tuple[str, str, float | None], ...] = (
        ("time_s", "migration time [s]", None),
        ("downtime_s", "downtime [s]", limits.downtime_s),
        ("blocking", "blocking probability", limits.blocking),
    )
    for field, label, limit in rows:
        values = [getattr(c, field) for c in mixed]
        y = np.ma.masked_invalid(np.array([np.nan if v is None else v for v in values]))
        curves = [Curve("m-mixed", np.ma.asarray(m), y, dots=True)]
        if limit is not None:
            curves.append(Curve("limit", np.ma.asarray(m), np.ma.asarray(np.full(m.shape, limit)), reference=True))
        panels.append(Panel("", "VNFs in parallel, m", label, tuple(curves), y_limits=(0, None)))
    return FigureData("plan", "Strategies by the number of VNFs migrated in parallel", tuple(panels))


def _optional(inputs: Inputs, name: str) -> float | None:
    value = inputs.get(name)
    return None if value is None else float(value)


def _row(candidate: Candidate) -> tuple[Any, ...]:
    return tuple(getattr(candidate, field) for field in _FIELDS)


def _document(inputs: Inputs, decision: Decision) -> dict[str, Any]:
    def entry(candidate: Candidate) -> dict[str, Any]:
        return {**dict(zip(_FIELDS, _row(candidate), strict=True)), "broken": list(candidate.broken)}

    return {
        "model": "plan",
        "parameters": {inputs.parameter(n).key: v for n, v in inputs.values.items() if v is not None},
        "channels": decision.channels,
        "candidates": [entry(candidate) for candidate in decision.candidates],
        "chosen": None if decision.chosen is None else entry(decision.chosen),
        "required_m_real": decision.required_m,
        "explanation": decision.explanation,
    }


def _print(decision: Decision) -> None:
    table = output.new_table(f"strategies, requests at {decision.channels} channels")
    for title in _TITLES:
        table.add_column(Text(title), justify="left" if title in ("strategy", "limits") else "right")
    for candidate in decision.candidates:
        cells = (
            output.MISSING if c is None else f"{c:.4g}" if isinstance(c, float) else str(c) for c in _row(candidate)
        )
        verdict = "chosen" if candidate is decision.chosen else "; ".join(candidate.broken) or "kept"
        table.add_row(*(Text(cell) for cell in cells), Text(verdict))
    console = output.new_console()
    console.print(table)
    if decision.required_m is not None:
        console.print(
            f"m for the largest downtime, Eq. 19 (un-rounded rounds): {decision.required_m:.4g}", highlight=False
        )
    if decision.chosen is not None:
        console.print(f"chosen: {decision.explanation}", highlight=False, soft_wrap=True)
