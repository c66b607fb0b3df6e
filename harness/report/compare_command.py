"""`harness compare`: two results or two bench files side by side."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from pathlib import Path

import click
from rich.console import Console
from rich.text import Text

from harness.errors import LimitExceeded, UsageError
from harness.report.compare import Limit, Row, parse_limit
from harness.report.compare_results import COMPARED, Comparison, compare_results
from harness.report.compare_table import comparison_table, document, legend
from harness.report.hostile import shown

WIDTH = 200
WARNING_LENGTH_MAX = 600


@click.command()
@click.argument("first", metavar="A", type=click.Path(path_type=Path))
@click.argument("second", metavar="B", type=click.Path(path_type=Path))
@click.option("--limit", metavar="AMOUNT", help="Exit 3 when B is worse by more: 5% of A's figure, or 0.1s, 64KiB.")
@click.option("--metric", "names", multiple=True, metavar="NAME", help="Compare this figure only; may be repeated.")
@click.option(
    "--without-failed", is_flag=True, help="Leave the traffic of FAILED runs out; their share is still shown."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document to standard output.")
def compare(
    first: Path, second: Path, limit: str | None, names: tuple[str, ...], without_failed: bool, as_json: bool
) -> int:
    """Set B beside A: two runs, experiments or sweeps, or two files of 'harness bench --output'.

    Cells are paired by image, frame, load and mode. Without --limit this only reports; with it, exit 3 when a figure
    is worse by more than the limit and its whole interval is too.
    """
    bound = parse_limit(limit) if limit is not None else None
    for path in (first, second):
        if not path.exists():
            raise UsageError(f"{path}: does not exist; give a results directory or a file of 'harness bench --output'")
    if first.is_dir() != second.is_dir():
        raise UsageError(f"{first} and {second}: a results directory and a file cannot be compared")
    if first.is_dir():
        kind, found = "results", _of_results(first, second, names, bound, with_failed=not without_failed)
    else:
        kind, found = "bench", _of_bench(first, second, names, bound)
    if bound is not None and all(row.allowed is None for row in found.rows if row.verdict != "not measured"):
        raise UsageError(f"--limit {bound.text}: no figure compared here is in that unit")
    exit_code = LimitExceeded.exit_code if found.breaches else 0
    if as_json:
        click.echo(
            json.dumps(document(found, kind, str(first), str(second), bound, exit_code), indent=2, allow_nan=False)
        )
    else:
        _print(found, first, second)
    if found.breaches and bound is not None:
        raise LimitExceeded(_breach(found.breaches, bound, len(found.rows)))
    return 0


def _of_results(first: Path, second: Path, names: Sequence[str], limit: Limit | None, with_failed: bool) -> Comparison:
    from harness.record.sweep import read_results

    chosen = [COMPARED[name] for name in chosen_names(names, COMPARED)]
    return compare_results(read_results(first), read_results(second), chosen, limit, with_failed)


def _of_bench(first: Path, second: Path, names: Sequence[str], limit: Limit | None) -> Comparison:
    from harness.report.compare_bench import compare_bench, read_bench

    a, b = read_bench(first), read_bench(second)
    chosen = chosen_names(names, [*a.figures, *(name for name in b.figures if name not in a.figures)])
    return compare_bench(a, b, chosen if names else (), limit)


def chosen_names(names: Sequence[str], known: Iterable[str]) -> list[str]:
    """The figures asked for, all when none is. A name may leave out its first part ("loss_s"). UsageError: unknown."""
    known = list(known)
    chosen = []
    for name in names:
        found = [full for full in known if name in (full, full.partition(".")[2])]
        if len(found) != 1:
            near = get_close_matches(name, known, n=1, cutoff=0.4)
            hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(known)}"
            raise UsageError(f"--metric {name!r:.80}: no such figure here; {hint}")
        chosen += found
    return chosen or known


def _print(found: Comparison, first: Path, second: Path) -> None:
    console = Console()
    # Outside a terminal nothing depends on the width of one: a table is never cut.
    if not console.is_terminal:
        console = Console(width=WIDTH, color_system=None, force_terminal=False)
    for warning in found.warnings:
        console.print(Text(f"warning: {shown(warning, WARNING_LENGTH_MAX)}", style="yellow"), soft_wrap=True)
    console.print(comparison_table(found, f"A: {first}\nB: {second}"))
    console.print(Text(legend(found), style="dim"), soft_wrap=True)


def _breach(breaches: Sequence[Row], limit: Limit, count: int) -> str:
    row = breaches[0]
    quantity = row.quantity
    assert row.difference is not None
    change = f"{row.difference / quantity.divisor:+,.{quantity.digits}f} {quantity.shown_unit}".strip()
    what = ", ".join(filter(None, (row.where, quantity.title)))
    more = f", and {len(breaches) - 1} more" if len(breaches) > 1 else ""
    return f"{len(breaches)} of {count} figures worse in B by more than {limit.text}: {what} ({change}){more}"
