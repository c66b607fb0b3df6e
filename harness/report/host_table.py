"""The host a run was made on as a factor: every metric of every host, and whether the hosts differ in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any

from harness.measure.blocked_ranks import blocked_rank_test
from harness.record.sweep import Result, Results
from harness.report.cells import counted
from harness.report.compare import SIGNIFICANT_P
from harness.report.hostile import shown
from harness.report.machine import machine_facts
from harness.report.metrics import METRICS, Metric
from harness.report.table import MISSING

HERE = "(where the sweep was started)"
RUNS_MIN = 5
"""Of every host, in cells and modes that another host has runs of too; with fewer nothing is claimed."""


@dataclass(frozen=True)
class HostLine:
    """One host: what it is, its runs that count, and attempts lost with it or refused by it."""

    host: str
    machine: str
    runs: int
    lost: int


@dataclass(frozen=True)
class HostRow:
    """One metric. deviations: of each host, the mean of its runs' deviations from the mean of their own cell and mode,
    as text; p: of the test, None where too little is known; verdict in words."""

    metric: str
    title: str
    deviations: tuple[str, ...]
    p: float | None
    verdict: str


@dataclass(frozen=True)
class HostTable:
    """Hosts in the order of their names. significant_p: what p has to be below, for all rows together 5 %."""

    hosts: tuple[HostLine, ...]
    rows: tuple[HostRow, ...]
    significant_p: float


def host_table(results: Results) -> HostTable | None:
    """None where all runs were made where the sweep was started."""
    if not any(result.host for result in results.results):
        return None
    names = sorted({result.host for result in results.results})
    counting = counted(results.results, with_failed=True)
    metrics = tuple(METRICS.values())
    bound = SIGNIFICANT_P / len(metrics)
    rows = tuple(_row(figure, counting, names, bound) for figure in metrics)
    return HostTable(tuple(_line(name, results, counting) for name in names), rows, bound)


def summary_line(table: HostTable) -> str:
    """The table in one line."""
    differ = [row.title for row in table.rows if row.verdict == "differ"]
    known = [row for row in table.rows if row.p is not None]
    hosts = f"{len(table.hosts)} hosts ({', '.join(line.host for line in table.hosts)})"
    if not known:
        return f"made on {hosts}; too few runs to say whether they differ"
    return f"made on {hosts}; " + (f"they differ in {', '.join(differ)}" if differ else "no difference shown")


def as_document(table: HostTable | None) -> dict[str, Any] | None:
    """For machines."""
    return None if table is None else asdict(table)


def _line(name: str, results: Results, counting: Sequence[Result]) -> HostLine:
    of_host = [run for run in counting if run.host == name]
    facts = dict(machine_facts(of_host[0].folder.parent)) if of_host else {}
    known = [facts.get(key, "?") for key in ("CPU", "CPUs online", "kernel")]
    machine = "{} ({} CPUs), Linux {}".format(*known) if facts else MISSING
    lost = sum(run.host == name and run.lost for run in results.results)
    return HostLine(_shown(name), machine, len(of_host), lost)


def _row(figure: Metric, counting: Sequence[Result], names: Sequence[str], bound: float) -> HostRow:
    blocks: dict[tuple[str, str], list[tuple[str, float]]] = {}
    for run in counting:
        value = None if run.summary is None else figure.read(run.summary)
        if value is not None:
            blocks.setdefault((run.cell.digest, run.mode), []).append((run.host, value))
    shared = [block for block in blocks.values() if len({host for host, _ in block}) > 1]
    deviations: dict[str, list[float]] = {name: [] for name in names}
    for block in shared:
        middle = fmean(value for _, value in block)
        for host, value in block:
            deviations[host].append(value - middle)
    texts = tuple(
        f"{fmean(found):+.{figure.digits}f} (n={len(found)})" if found else MISSING for found in deviations.values()
    )
    title = f"{figure.title} [{figure.unit}]"
    enough = [name for name in names if len(deviations[name]) >= RUNS_MIN]
    flat = [
        (value, enough.index(host), number)
        for number, block in enumerate(shared)
        for host, value in block
        if host in enough
    ]
    if len(enough) < 2 or not flat:
        return HostRow(figure.name, title, texts, None, f"too few runs: {RUNS_MIN} of two hosts are needed")
    found = blocked_rank_test(*zip(*flat, strict=True))
    if found is None:
        return HostRow(figure.name, title, texts, None, "every run the same")
    verdict = "differ" if found.p < bound else "no difference shown"
    return HostRow(figure.name, title, texts, found.p, verdict)


def _shown(host: str) -> str:
    return shown(host, 64) if host else HERE
