"""Everything the report says, as data: made from results once, then rendered as a page and as JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.record.rundir import PROFILE
from harness.record.sweep import CALIBRATION, SWEEP_AS_GIVEN, Result, Results, read_entries
from harness.report.cells import CONTROL, Layout, by_place
from harness.report.claims import Claim, claims
from harness.report.figures.material import in_order, materials
from harness.report.figures.registry import Pictures, pictures
from harness.report.headline import Table, headline
from harness.report.headline import document as headline_document
from harness.report.host_table import HostTable, as_document, host_table
from harness.report.hostile import shown
from harness.report.machine import machine_facts, text_file
from harness.report.model_section import ModelSection, model_section

VERDICTS = ("VALID", "FAILED", "INVALID", "damaged", "repeated")


@dataclass(frozen=True)
class CellLine:
    """One cell that was run: how often each mode, by verdict."""

    title: str
    profile: str
    load: str
    uplink: str
    runs: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Problem:
    """A run that is in no figure, or FAILED: which, what became of it, and why."""

    kind: str
    cell: str
    mode: str
    repetition: int
    attempt: int
    folder: str
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Report:
    """What is reported of some results. counts: runs by verdict, damaged and repeated ones apart."""

    results: Results
    counts: dict[str, int]
    planned: int | None
    completed: int
    migrations: int
    machine: tuple[tuple[str, str], ...]
    cells: tuple[CellLine, ...]
    links: str
    hosts: HostTable | None
    given: tuple[tuple[str, str], ...]
    tables: tuple[Table, ...]
    pictures: Pictures
    claims: tuple[Claim, ...]
    models: tuple[ModelSection, ...]
    problems: tuple[Problem, ...]
    complaints: tuple[str, ...]


def make_report(
    results: Results, *, failed: bool | None = None, over_time: Callable[[str], bool] = lambda _: True
) -> Report:
    """The report of checked results; `failed` and `over_time` as `pictures` takes them. UsageError as the readers of
    a sweep raise it; whatever concerns one run only is a problem or a complaint in the report."""
    made = materials(results)
    drawn = pictures(results, failed=failed, cells=over_time)
    counting = [run for run in results.results if kind_of(run) in ("VALID", "FAILED") and run.mode != CONTROL]
    completed = sum(run.summary is not None and run.summary.migration.outcome == "completed" for run in counting)
    models = [section for material in made if (section := model_section(material)) is not None]
    torn = read_entries(results.path)[1] if results.kind == "sweep" else ()
    counts = Counter(kind_of(run) for run in results.results)
    return Report(
        results=results,
        counts={verdict: counts[verdict] for verdict in VERDICTS if counts[verdict] or verdict in VERDICTS[:3]},
        planned=_planned(results),
        completed=completed,
        migrations=len(counting),
        machine=machine_facts(_top(results)),
        cells=_cell_lines(results),
        links=links_text(results),
        hosts=host_table(results),
        given=tuple((name, text) for name in _given(results) if (text := text_file(_top(results) / name))),
        tables=tuple(headline(material) for material in made),
        pictures=drawn,
        claims=claims(results),
        models=tuple(models),
        problems=tuple(_problem(run, results) for run in results.results if kind_of(run) != "VALID"),
        complaints=tuple(dict.fromkeys((*torn, *drawn.complaints))),
    )


def links_text(results: Results) -> str:
    """What the runs know of their links, counted: "held (3 runs), not calibrated (1 run)"; "" for older results."""
    known = Counter(run.summary.calibration.links for run in results.results if run.summary is not None)
    return ", ".join(f"{word} ({n} run{'s' if n != 1 else ''})" for word, n in sorted(known.items(), key=str) if word)


def kind_of(run: Result) -> str:
    """What became of a run, one of VERDICTS."""
    if run.superseded:
        return "repeated"
    return "damaged" if run.summary is None else run.verdict


def _top(results: Results) -> Path:
    """Where the manifest of the results lies."""
    return results.path.resolve().parent if results.kind == "run" else results.path


def _given(results: Results) -> tuple[str, ...]:
    return (SWEEP_AS_GIVEN, CALIBRATION) if results.kind == "sweep" else (PROFILE,)


def _planned(results: Results) -> int | None:
    """Runs of the whole sweep, repeated attempts apart; None outside a sweep."""
    manifest = results.manifest
    if manifest is None:
        return None
    each = [manifest.control_repetitions if mode == CONTROL else manifest.repetitions for mode in manifest.modes]
    if CONTROL not in manifest.modes:
        each.append(manifest.control_repetitions)
    return len(manifest.cells) * sum(each)


def _cell_lines(results: Results) -> tuple[CellLine, ...]:
    layout = Layout(results)
    lines = []
    for place, runs in by_place(results.results, layout).items():
        cell = runs[0].cell
        modes = in_order({run.mode for run in runs})
        counts = [(mode, Counter(kind_of(run) for run in runs if run.mode == mode)) for mode in modes]
        texts = [(mode, ", ".join(f"{count[v]} {v}" for v in VERDICTS if count[v])) for mode, count in counts]
        load = f"{cell.load_bps / 1e6:g} Mbit/s"
        uplink = f"{cell.uplink_bps / 1e6:g} Mbit/s"
        lines.append(CellLine(place.title, cell.profile, load, uplink, tuple(texts)))
    return tuple(lines)


def _problem(run: Result, results: Results) -> Problem:
    reasons: tuple[str, ...] = ()
    if run.summary is not None:
        reasons = run.summary.validity.reasons or (run.summary.migration.reason,)
    elif run.damage:
        reasons = (run.damage,)
    cell = f"{run.cell.image}, {run.cell.frame_bytes} B, {run.cell.nominal_load_bps / 1e6:g}M"
    folder = run.folder.resolve()
    top = results.path.resolve()
    where = str(folder.relative_to(top)) if folder.is_relative_to(top) else str(folder)
    kind = f"{run.verdict}, repeated" if run.superseded else kind_of(run)
    on = f"{shown(run.host, 64)}: " if run.lost else ""
    told = tuple(on + shown(reason, 400) for reason in reasons if reason) or ("no reason is recorded",)
    return Problem(kind, cell, run.mode, run.repetition, run.attempt, where, told)


def as_json(report: Report) -> dict[str, Any]:
    """The report for machines: counts, figures with their points, claims, problems. No number is NaN."""
    results = report.results
    figures = [
        {
            "name": picture.name,
            "number": picture.number,
            "title": picture.title,
            "with_failed": with_failed,
            "runs": picture.runs,
            "notes": list(picture.notes),
        }
        for picture, with_failed in (
            *((drawing.picture, drawing.with_failed) for drawing in report.pictures.drawings),
            *((picture, None) for picture in report.pictures.over_time),
        )
    ]
    return {
        "results": str(results.path),
        "kind": results.kind,
        "name": results.name,
        "scale": results.scale,
        "incomplete": results.incomplete or None,
        "runs": report.counts,
        "links": report.links,
        "hosts": as_document(report.hosts),
        "planned_runs": report.planned,
        "migrations": report.migrations,
        "completed_migrations": report.completed,
        "headline": [entry for table in report.tables for entry in headline_document(table)],
        "figures": figures,
        "not_in_these_results": [vars(missing) for missing in report.pictures.missing],
        "claims": [vars(claim) for claim in report.claims],
        "problems": [{**vars(problem), "reasons": list(problem.reasons)} for problem in report.problems],
        "complaints": list(report.complaints),
    }
