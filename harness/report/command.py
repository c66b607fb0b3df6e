"""`harness report`: figures and one HTML page from a results directory."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.errors import UsageError

if TYPE_CHECKING:
    from harness.record.sweep import Results
    from harness.report.document import Report

_ALL, _NONE = "all", "none"


@click.command()
@click.argument("results", metavar="RESULTS", type=click.Path(path_type=Path))
@click.option(
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    help="Directory to write, new or an earlier report's. [default: RESULTS/report]",
)
@click.option(
    "--with-failed/--without-failed",
    "failed",
    default=None,
    help="Draw only the figures with, or only those without FAILED runs. [default: both]",
)
@click.option(
    "--over-time",
    "cells",
    multiple=True,
    metavar="CELL",
    help="Cells to draw loss and RTT over time for: 'all' (default), 'none', or their names ('nat, 512 B, 300M').",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document to standard output.")
def report(results: Path, output: Path | None, failed: bool | None, cells: tuple[str, ...], as_json: bool) -> int:
    """Report a sweep, an experiment or a run: figures of the paper, tables, claims, model, on one HTML page.

    Writes report.html, and each figure as PNG, SVG and CSV. Damaged runs are listed and the rest is reported; INVALID
    runs are in no figure.
    """
    from harness.record.sweep import read_results
    from harness.report.document import as_json as document_of
    from harness.report.document import make_report
    from harness.report.hostile import checked
    from harness.report.page import PAGE, render
    from harness.report.writing import refuse_foreign, write_report

    try:
        found = checked(read_results(results))
    except ValueError as error:  # a path in a file that no system takes, with a NUL byte say
        raise UsageError(f"{results}: not the results of this program ({error!s:.80})") from error
    wanted = _chosen(found, cells)
    target = output or results / "report"
    # Before the figures are drawn, which takes seconds.
    refuse_foreign(target)
    made = make_report(found, failed=failed, over_time=wanted)
    document = document_of(made)
    write_report(target, render(made), document)
    if as_json:
        click.echo(json.dumps({**document, "report": str(target / PAGE)}, indent=2, allow_nan=False))
    else:
        _print(made, target / PAGE)
    return 0


def _chosen(results: Results, cells: tuple[str, ...]) -> Callable[[str], bool]:
    """Whether a cell of this title is wanted. UsageError for a name that is no cell of the results."""
    from harness.report.cells import Layout

    if not cells or cells == (_ALL,):
        return lambda _: True
    if cells == (_NONE,):
        return lambda _: False
    layout = Layout(results)
    titles = sorted({layout.place(result.cell).title for result in results.results})
    for name in cells:
        if name not in titles:
            raise UsageError(
                f"--over-time {name!r:.80}: no such cell in {results.path}; there are: {'; '.join(titles)}"
            )
    return lambda title: title in cells


def _print(made: Report, page: Path) -> None:
    from harness.report.host_table import summary_line

    if made.results.incomplete:
        click.echo(f"incomplete: {made.results.kind} {made.results.incomplete}")
    counts = ", ".join(f"{count} {verdict}" for verdict, count in made.counts.items() if count)
    click.echo(f"runs: {counts or 'none'}")
    if made.hosts is not None:
        click.echo(summary_line(made.hosts))
    click.echo(f"figures: {len(made.pictures.drawings)} over the load, {len(made.pictures.over_time)} over time")
    for missing in made.pictures.missing:
        number = f"Fig. {missing.number}, " if missing.number is not None else ""
        click.echo(f"not in these results: {number}{missing.title} ({missing.reason})")
    for problem in made.problems:
        if problem.kind == "damaged":
            click.echo(f"damaged: {problem.folder}: {problem.reasons[0]}")
    for complaint in made.complaints:
        click.echo(f"not read: {complaint}")
    click.echo(f"report: {page}")
