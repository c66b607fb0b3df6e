"""A comparison for people (a table) and for machines (one JSON object)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from rich.table import Table
from rich.text import Text

from harness.report.bootstrap import EXPLANATION
from harness.report.compare import SIGNIFICANT_P, Limit, Row
from harness.report.compare_results import Comparison

MISSING = "-"
STYLES = {"better": "green", "worse": "red", "too few repetitions": "dim", "not measured": "yellow"}
HEADINGS = ("", "A", "B", "difference", "relative", "shift, 95 % interval", "p", "effect", "verdict")


def comparison_table(comparison: Comparison, title: str) -> Table:
    """One row per figure, grouped by cell and mode."""
    table = Table(title=Text(title), title_justify="left", pad_edge=False)
    for heading in HEADINGS:
        table.add_column(
            heading, justify="left" if heading in ("", "verdict") else "right", no_wrap=heading != "verdict"
        )
    where = None
    for row in comparison.rows:
        if row.where != where and row.where:
            table.add_section()
            table.add_row(Text(row.where, style="bold"))
        where = row.where
        name, *figures = cells(row)
        verdict = Text(figures.pop(), style="bold red" if row.breach else STYLES.get(row.verdict, ""))
        table.add_row(Text(name), *(Text(figure) for figure in figures), verdict)
        for title, a, b in interval_lines(row):
            table.add_row(Text(title, style="dim"), Text(a, style="dim"), Text(b, style="dim"))
    return table


def interval_lines(row: Row) -> Iterator[tuple[str, str, str]]:
    """Below a skewed figure: (name of the interval, A's, B's), where both or either has one."""
    quantity = row.quantity
    halves = [row.a_student_t, row.b_student_t]
    if row.a_bca is None and row.b_bca is None:
        return
    indent = "    " if row.where else "  "
    widths = [MISSING if half is None else f"± {half / quantity.divisor:,.{quantity.digits}f}" for half in halves]
    yield f"{indent}Student t, 95 %", widths[0], widths[1]
    ends = [
        MISSING if found is None else f"[{_plainly(row, found.low)}, {_plainly(row, found.high)}]"
        for found in (row.a_bca, row.b_bca)
    ]
    yield f"{indent}BCa, 95 %", ends[0], ends[1]


def cells(row: Row) -> tuple[str, ...]:
    """The texts of one row, in the order of HEADINGS."""
    quantity = row.quantity
    unit = f" [{quantity.shown_unit}]" if quantity.shown_unit else ""
    interval = MISSING
    if row.shift is not None and row.shift.confidence > 0:
        interval = f"{_signed(row, row.shift.estimate)} [{_signed(row, row.shift.low)}, {_signed(row, row.shift.high)}]"
        if row.note:
            interval += f" ({row.shift.confidence:.0%})"
    verdict = f"{row.verdict}, BEYOND THE LIMIT ({row.note or 'whole interval'})" if row.breach else row.verdict
    return (
        f"{'  ' if row.where else ''}{quantity.title}{unit}",
        _centre(row, row.a_centre, len(row.a)),
        _centre(row, row.b_centre, len(row.b)),
        MISSING if row.difference is None else _signed(row, row.difference),
        MISSING if row.relative is None else f"{row.relative:+.1%}",
        interval,
        MISSING if row.p is None or row.note else f"{row.p:.3g}",
        MISSING if row.delta is None else f"{row.delta:+.2f}",
        verdict,
    )


def _centre(row: Row, value: float | None, count: int) -> str:
    if value is None:
        return MISSING
    return f"{value / row.quantity.divisor:,.{row.quantity.digits}f} ({count})"


def _plainly(row: Row, value: float) -> str:
    return f"{value / row.quantity.divisor:,.{row.quantity.digits}f}"


def _signed(row: Row, value: float) -> str:
    return f"{value / row.quantity.divisor:+,.{row.quantity.digits}f}"


def legend(comparison: Comparison) -> str:
    """How to read the table, with how many differences chance alone would show."""
    tested = sum(row.verdict in ("better", "worse", "no difference shown") for row in comparison.rows)
    centre = "medians" if any(row.quantity.centre == "median" for row in comparison.rows) else "means"
    text = (
        f"A, B: {centre} (number of values); difference: B less A; shift: Hodges-Lehmann; p: Mann-Whitney, two-sided; "
        "effect: Cliff's delta, +1 when every value of B is above every value of A"
    )
    if any(row.a_bca or row.b_bca for row in comparison.rows):
        text += f"; BCa: {EXPLANATION}"
    if tested:
        text += f"; {tested} figures tested: about {tested * SIGNIFICANT_P:.1f} would differ by chance alone"
    return text


def document(
    comparison: Comparison, kind: str, first: str, second: str, limit: Limit | None, exit_code: int
) -> dict[str, Any]:
    """Everything as plain values; figures in the unit that is named beside them."""
    return {
        "kind": kind,
        "a": first,
        "b": second,
        "limit": limit.text if limit else None,
        "exit_code": exit_code,
        "verdicts": dict(Counter(row.verdict for row in comparison.rows)),
        "warnings": list(comparison.warnings),
        "rows": [_plain(row) for row in comparison.rows],
    }


def _plain(row: Row) -> dict[str, Any]:
    fields = asdict(row)
    quantity = fields.pop("quantity")
    named = {key: quantity[key] for key in ("name", "title", "unit", "better", "centre")}
    return {"where": fields.pop("where"), **named, **fields}
