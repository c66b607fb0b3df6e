"""Print a run or an experiment from its directory alone."""

from __future__ import annotations

import json as json_module
import re
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.errors import UsageError
from harness.record.rundir import MANIFEST, SUMMARY
from harness.record.summary import (
    ExperimentSummary,
    LedgerSummary,
    RunSummary,
    is_run_summary,
    read_summary,
)
from harness.report.impairments import impairment_lines
from harness.report.table import comparison_table

_RUN_FOLDER = re.compile(r"\d\d+-.+")
VERDICT_STYLES = {"VALID": "green", "INVALID": "yellow", "FAILED": "red"}
INVARIANT_STYLES = {"holds": "green", "unknown": "yellow", "broken": "red"}


def show(path: Path, json: bool = False, console: Console | None = None) -> None:
    """Print what `path` (an experiment's or a run's directory) holds. UsageError: no results there, or damaged ones.

    An experiment that did not end is shown with the runs it finished. json: one object with the summaries.
    """
    console = console or Console()
    experiment, runs = load_results(path)
    if json:
        data = {
            "path": str(path),
            "experiment": experiment.model_dump(mode="json") if experiment else None,
            "runs": [{"folder": str(folder), **run.model_dump(mode="json")} for folder, run in runs],
        }
        console.file.write(json_module.dumps(data, indent=2, allow_nan=False) + "\n")
        return
    # Outside a terminal nothing depends on the width of one: a table is never cut.
    if not console.is_terminal:
        console = Console(file=console.file, width=200, color_system=None, force_terminal=False)
    summaries = [run for _, run in runs]
    if experiment is not None and not experiment.completed:
        console.print(Text(f"experiment not completed: {experiment.reason or 'no reason recorded'}", style="red"))
    elif experiment is None and not (path / SUMMARY).is_file():
        console.print(Text("experiment without a summary: it is running or was cut off", style="yellow"))
    if len(summaries) > 1 or experiment is not None:
        console.print(comparison_table(summaries, f"{summaries[0].profile}: migration modes at the same load"))
        for folder, run in runs:
            _print_verdict(console, folder.name, run)
    else:
        _print_run(console, *runs[0])
    for line in impairment_lines(summaries):
        console.print(Text(line), soft_wrap=True)
    console.print(Text(f"results: {path}"), soft_wrap=True)


def load_results(path: Path) -> tuple[ExperimentSummary | None, list[tuple[Path, RunSummary]]]:
    """The experiment's summary (None: a single run, or cut off before its end) and its runs with their folders.

    UsageError when there is nothing to show or a file is damaged.
    """
    summary = path / SUMMARY
    if not path.is_dir():
        raise UsageError(f"{path}: not a directory; give the directory of a run or of an experiment")
    if summary.is_file() and is_run_summary(summary):
        return None, [(path, read_summary(summary, RunSummary))]
    experiment = read_summary(summary, ExperimentSummary) if summary.is_file() else None
    folders = sorted(entry for entry in path.iterdir() if entry.is_dir() and _RUN_FOLDER.fullmatch(entry.name))
    runs = [(f, read_summary(f / SUMMARY, RunSummary)) for f in folders if (f / SUMMARY).is_file()]
    if not runs:
        what = "no run was finished" if experiment or (path / MANIFEST).is_file() else "no results"
        raise UsageError(f"{path}: {what} here; {SUMMARY} of a run is missing")
    return experiment, runs


def _print_verdict(console: Console, name: str, run: RunSummary) -> None:
    verdict = run.validity.verdict
    console.print(Text.assemble(f"{name}: ", (verdict, VERDICT_STYLES[verdict])))
    for reason in run.validity.reasons:
        console.print(Text(f"    {reason}"), soft_wrap=True)


def _print_run(console: Console, folder: Path, run: RunSummary) -> None:
    console.print(comparison_table([run], f"{run.profile}, mode {run.mode}, repetition {run.repetition}"))
    if run.ledger is not None:
        console.print(ledger_table(run.ledger))
    if run.invariants:
        table = _table("invariants")
        for column in ("promise", "verdict", "evidence"):
            table.add_column(column)
        for invariant in run.invariants:
            verdict = Text(invariant.verdict, style=INVARIANT_STYLES[invariant.verdict])
            table.add_row(Text(invariant.name), verdict, Text(invariant.detail))
        console.print(table)
    if run.migration.phases:
        console.print(_phase_table(run))
    _print_verdict(console, folder.name, run)


def ledger_table(ledger: LedgerSummary) -> Table:
    """Every row of the ledger, refusals by reason, and the sum."""
    table = _table("ledger: where every intended packet ended")
    table.add_column("row")
    for column in ("echo", "server-originated", "total"):
        table.add_column(column, justify="right")

    def add(name: str, echo: int, server: int) -> None:
        table.add_row(Text(name), *(f"{value:,}" for value in (echo, server, echo + server)))

    for row in ledger.rows:
        add(row.name.replace("_", " "), row.echo_packets, row.server_packets)
        for reason in row.reasons:
            add(f"  {reason.name}", reason.echo_packets, reason.server_packets)
    table.add_section()
    add("intended", ledger.echo_intended_packets, ledger.server_intended_packets)
    return table


def _table(title: str) -> Table:
    return Table(title=Text(title), title_justify="left", pad_edge=False)


def _phase_table(run: RunSummary) -> Table:
    table = _table("phases of the migration")
    table.add_column("phase")
    table.add_column(Text("duration [ms]"), justify="right")
    for name, duration_ns in run.migration.phases.items():
        table.add_row(Text(name), f"{duration_ns / 1e6:.3f}")
    return table
