"""Print a run or an experiment from its directory alone."""

from __future__ import annotations

import json as json_module
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.errors import UsageError
from harness.record.calibration import CALIBRATION, calibration_line, read_calibration
from harness.record.incomplete import Unfinished, is_experiment, run_folders, unfinished_runs, why_incomplete
from harness.record.rundir import SUMMARY
from harness.record.summary import (
    ExperimentSummary,
    LedgerSummary,
    RunSummary,
    is_run_summary,
    read_summary,
)
from harness.report.hostile import shown
from harness.report.impairments import impairment_lines
from harness.report.other_hosts import host_lines
from harness.report.table import comparison_table

LINES_MAX = 8
"""Of breaches and doubts about the links; the others are in the file."""
VERDICT_STYLES = {"VALID": "green", "INVALID": "yellow", "FAILED": "red"}
INVARIANT_STYLES = {"holds": "green", "unknown": "yellow", "broken": "red"}


def show(path: Path, json: bool = False, console: Console | None = None) -> None:
    """Print what `path` (an experiment's or a run's directory) holds. UsageError: no results there, or damaged ones.

    An experiment that did not end is called incomplete and shown with the runs it finished. json: one object with the
    summaries; "incomplete" says why, null for a whole one.
    """
    console = console or Console()
    experiment, runs = load_results(path)
    single = len(runs) == 1 and runs[0][0] == path
    why = "" if single else why_incomplete(path)
    unfinished = [] if single else unfinished_runs(path)
    if json:
        data = {
            "path": str(path),
            "experiment": experiment.model_dump(mode="json") if experiment else None,
            "incomplete": why or None,
            "unfinished": [{"folder": str(run.folder), "phase": run.phase} for run in unfinished],
            "runs": [{"folder": str(folder), **run.model_dump(mode="json")} for folder, run in runs],
        }
        console.file.write(json_module.dumps(data, indent=2, allow_nan=False) + "\n")
        return
    # Outside a terminal nothing depends on the width of one: a table is never cut.
    if not console.is_terminal:
        console = Console(file=console.file, width=200, color_system=None, force_terminal=False)
    summaries = [run for _, run in runs]
    if why:
        console.print(Text(f"incomplete: experiment {why}", style="yellow"), soft_wrap=True)
    if single:
        _print_run(console, *runs[0])
    else:
        if summaries:
            console.print(comparison_table(summaries, f"{summaries[0].profile}: migration modes at the same load"))
        for folder, run in runs:
            _print_verdict(console, folder.name, run)
        _print_unfinished(console, unfinished)
    for line in impairment_lines(summaries):
        console.print(Text(line), soft_wrap=True)
    for line in host_lines(summaries):
        console.print(Text(line), soft_wrap=True)
    if said := links_line(path.resolve().parent if single else path, summaries):
        console.print(Text(said), soft_wrap=True)
    console.print(Text(f"results: {path}"), soft_wrap=True)


def links_line(experiment: Path, runs: Sequence[RunSummary]) -> str:
    """What is known of the links, from calibration.json or else from the runs; "" for older results."""
    known = read_calibration(experiment)
    if known is not None:
        judged = [
            f"{len(lines)} {kind}" for kind, lines in (("breaches", known.problems), ("doubts", known.doubts)) if lines
        ]
        line = calibration_line(known.verdict, known.age_s, known.origin, known.reason)
        told = "".join(f"\n    {shown(text, 400)}" for text in (*known.problems, *known.doubts)[:LINES_MAX])
        return f"{line} ({', '.join(judged)}, see {CALIBRATION}){told}" if judged else line
    said = [run.calibration for run in runs if run.calibration.links is not None]
    return calibration_line(said[0].links or "", said[0].links_age_s) if said else ""


def load_results(path: Path) -> tuple[ExperimentSummary | None, list[tuple[Path, RunSummary]]]:
    """The experiment's summary (None: a single run, or cut off before its end) and its runs with their folders.

    No runs: an experiment that was cut off before its first had ended. UsageError for anything else without runs, and
    where a file is damaged.
    """
    summary = path / SUMMARY
    if not path.is_dir():
        raise UsageError(f"{path}: not a directory; give the directory of a run or of an experiment")
    if summary.is_file() and is_run_summary(summary):
        return None, [(path, read_summary(summary, RunSummary))]
    experiment = read_summary(summary, ExperimentSummary) if summary.is_file() else None
    runs = [(f, read_summary(f / SUMMARY, RunSummary)) for f in run_folders(path) if (f / SUMMARY).is_file()]
    if not runs and experiment is None and not is_experiment(path):
        raise UsageError(f"{path}: no results here; {SUMMARY} of a run is missing")
    return experiment, runs


def _print_verdict(console: Console, name: str, run: RunSummary) -> None:
    verdict = run.validity.verdict
    console.print(Text.assemble(f"{name}: ", (verdict, VERDICT_STYLES[verdict])))
    for reason in run.validity.reasons:
        console.print(Text(f"    {reason}"), soft_wrap=True)


def _print_unfinished(console: Console, unfinished: list[Unfinished]) -> None:
    for run in unfinished:
        console.print(Text.assemble(f"{run.folder.name}: ", ("incomplete", "yellow"), f", {run.text}"), soft_wrap=True)


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
