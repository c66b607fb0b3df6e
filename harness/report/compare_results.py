"""Two results directories compared: cells paired by image, frame, load and mode, every metric of every pair."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from harness.errors import UsageError
from harness.record.summary import RunSummary
from harness.record.sweep import Results, SweepCell
from harness.report.compare import Limit, Quantity, Row, compare
from harness.report.host_table import host_table, summary_line
from harness.report.hostile import checked, shown
from harness.report.machine import machine_facts
from harness.report.metrics import METRICS, Metric

AXES_LENGTH_MAX, DAMAGE_LENGTH_MAX = 120, 400

FAILED = Metric(
    name="validity.failed",
    title="share of runs that FAILED",
    unit="",
    read=lambda run: float(run.validity.verdict == "FAILED"),
    better="lower",
    of_control=True,
    digits=2,
    meaning="of the runs that are VALID or FAILED",
)
COMPARED: Mapping[str, Metric] = {**METRICS, FAILED.name: FAILED}
"""Every metric that is compared, by name: those of the figures, and how often the migration failed."""


@dataclass(frozen=True)
class Comparison:
    """All rows, and everything a reader must know before believing them."""

    rows: tuple[Row, ...]
    warnings: tuple[str, ...]

    @property
    def breaches(self) -> tuple[Row, ...]:
        return tuple(row for row in self.rows if row.breach)


@dataclass(frozen=True)
class Pair:
    """The same cell in A and B, and the name it is shown by."""

    where: str
    a: SweepCell
    b: SweepCell


def compare_results(
    first: Results,
    second: Results,
    metrics: Sequence[Metric] = tuple(COMPARED.values()),
    limit: Limit | None = None,
    with_failed: bool = True,
) -> Comparison:
    """Every metric of every pair of cells and mode. UsageError when the two share none.

    INVALID, damaged and superseded runs say nothing of a mechanism: they are in no figure, and counted in a warning.
    with_failed: whether the traffic of FAILED runs counts (the share of failed runs always does).
    """
    first, second = checked(first), checked(second)
    pairs, unpaired = pair_cells(first, second)
    rows: list[Row] = []
    compared: set[str] = set()
    for pair in pairs:
        a_runs, b_runs = _by_mode(first, pair.a), _by_mode(second, pair.b)
        unpaired += [
            f"{pair.where}, mode {shown(mode)}: only in {'A' if mode in a_runs else 'B'}"
            for mode in a_runs.keys() ^ b_runs.keys()
        ]
        for mode in (mode for mode in a_runs if mode in b_runs):
            compared.add(mode)
            for metric in metrics:
                if mode == "none" and not metric.of_control:
                    continue
                a = _values(a_runs[mode], metric, with_failed)
                b = _values(b_runs[mode], metric, with_failed)
                if a or b:
                    rows.append(compare(f"{pair.where} {shown(mode)}", quantity_of(metric), a, b, limit))
    if not compared:
        raise UsageError(
            f"nothing in common: {_described('A', first)}; {_described('B', second)}; "
            "give two results with a cell (image, frame, load) and a mode in common"
        )
    warnings = [*_differences(first, second, pairs), *_left_out("A", first), *_left_out("B", second)]
    warnings += [f"not compared: {text}" for text in sorted(unpaired)]
    return Comparison(tuple(rows), tuple(warnings))


def quantity_of(metric: Metric) -> Quantity:
    """A metric as something to compare."""
    return Quantity(
        metric.name,
        metric.title,
        metric.unit,
        metric.better,
        metric.digits,
        shown_unit=metric.unit,
        is_skewed=metric.is_skewed,
    )


def pair_cells(first: Results, second: Results) -> tuple[list[Pair], list[str]]:
    """(pairs, what is only in one): cells of the same image, frame and nominal load.

    Where either side has several of those (another axis of its matrix), the same effective profile or else the same
    uplink and values on the axes make a pair.
    """
    a_cells, b_cells = _by_key(first), _by_key(second)
    pairs: list[Pair] = []
    unpaired: list[str] = []
    for key in sorted(a_cells.keys() | b_cells.keys()):
        a_left, b_left = list(a_cells.get(key, ())), list(b_cells.get(key, ()))
        several = len(a_left) > 1 or len(b_left) > 1
        for a in list(a_left):
            b = next((b for b in b_left if b.digest == a.digest), None)
            b = b or next((b for b in b_left if not several or _axes(a) == _axes(b)), None)
            if b is not None:
                pairs.append(Pair(_named(a, several), a, b))
                a_left.remove(a)
                b_left.remove(b)
        unpaired += [f"{_named(cell, several)}: only in A" for cell in a_left]
        unpaired += [f"{_named(cell, several)}: only in B" for cell in b_left]
    return pairs, unpaired


def _by_key(results: Results) -> dict[tuple[str, int, int], list[SweepCell]]:
    cells = {result.cell.digest: result.cell for result in results.results}.values()

    def key(cell: SweepCell) -> tuple[str, int, int]:
        return cell.image, cell.frame_bytes, cell.nominal_load_bps

    return {k: list(group) for k, group in groupby(sorted(cells, key=key), key=key)}


def _axes(cell: SweepCell) -> tuple[int, str]:
    return cell.nominal_uplink_bps, json.dumps(cell.settings, sort_keys=True, default=str)


def _named(cell: SweepCell, several: bool) -> str:
    text = f"{shown(cell.image)} {cell.frame_bytes} B {cell.nominal_load_bps / 1e6:g}M"
    if not several:
        return text
    axes = ", ".join(f"{name}={value}" for name, value in sorted(cell.settings.items())) or cell.digest
    return f"{text} ({shown(axes, AXES_LENGTH_MAX)})"


def _by_mode(results: Results, cell: SweepCell) -> dict[str, list[RunSummary]]:
    """Runs that count, by mode; a mode of which no run counts is there with none."""
    found: dict[str, list[RunSummary]] = {}
    for result in results.results:
        if result.cell.digest == cell.digest:
            runs = found.setdefault(result.mode, [])
            if result.summary is not None and not result.superseded and result.verdict != "INVALID":
                runs.append(result.summary)
    return found


def _values(runs: Iterable[RunSummary], metric: Metric, with_failed: bool) -> list[float]:
    counted = [run for run in runs if with_failed or metric is FAILED or run.validity.verdict == "VALID"]
    return [value for value in map(metric.read, counted) if value is not None]


def _described(name: str, results: Results) -> str:
    cells = {result.cell.digest: result.cell for result in results.results}
    modes = {digest: sorted({r.mode for r in results.results if r.cell.digest == digest}) for digest in cells}
    texts = [f"{_named(cell, False)} {shown('/'.join(modes[digest]))} ({digest})" for digest, cell in cells.items()]
    more = f" and {len(texts) - 3} more" if len(texts) > 3 else ""
    return f"{name} is {shown(results.name)} with {', '.join(texts[:3])}{more} (in brackets the profile)"


def _differences(first: Results, second: Results, pairs: Sequence[Pair]) -> list[str]:
    """What differs between the two beside what is compared."""
    found = []
    if first.scale != second.scale:
        found.append(
            f"different scales, {first.scale:g} and {second.scale:g}: queues and traffic differ by that factor alone"
        )
    uplinks = [pair for pair in pairs if pair.a.uplink_bps != pair.b.uplink_bps and first.scale == second.scale]
    if uplinks:
        pair = uplinks[0]
        found.append(
            f"different uplinks: {pair.a.uplink_bps / 1e6:g} and {pair.b.uplink_bps / 1e6:g} Mbit/s ({pair.where})"
        )
    profiles = [pair for pair in pairs if pair.a.digest != pair.b.digest]
    if profiles:
        pair = profiles[0]
        found.append(
            f"different effective profiles in {len(profiles)} of {len(pairs)} cells, e.g. {pair.where}: "
            f"{shown(pair.a.profile)} {pair.a.digest} and {shown(pair.b.profile)} {pair.b.digest}"
        )
    hosts = [(name, host_table(results)) for name, results in (("A", first), ("B", second))]
    found += [f"{name}: {summary_line(table)}" for name, table in hosts if table is not None]
    a_machine, b_machine = machine_of(first), machine_of(second)
    if a_machine is None or b_machine is None:
        found.append("the machine of one is not recorded: it may be another")
    elif a_machine != b_machine:
        found.append(f"different machines: {a_machine} and {b_machine}")
    return found


def machine_of(results: Results) -> str | None:
    """CPU, number of CPUs and kernel of the manifest; None when it does not tell all of them."""
    folder = results.path.resolve().parent if results.kind == "run" else results.path
    facts = dict(machine_facts(folder))
    known = [facts.get(name) for name in ("CPU", "CPUs online", "kernel")]
    return "{} ({} CPUs), Linux {}".format(*known) if None not in known else None


def _left_out(name: str, results: Results) -> list[str]:
    """Runs of one side that are in no figure."""
    found = []
    counted = [result for result in results.results if not result.superseded]
    verdicts = Counter(result.verdict for result in counted if result.summary is not None)
    damaged = [result for result in counted if result.summary is None]
    if verdicts["INVALID"]:
        found.append(f"{name}: {verdicts['INVALID']} of {len(counted)} runs INVALID, left out")
    found += [f"{name}: damaged run left out: {shown(result.damage, DAMAGE_LENGTH_MAX)}" for result in damaged]
    superseded = len(results.results) - len(counted)
    if superseded:
        found.append(f"{name}: {superseded} attempts were repeated, left out")
    return found
