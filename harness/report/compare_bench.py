"""Two files of `harness bench --output` compared: every figure both have, by its own direction."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from harness.bench.figures import SCHEMA_VERSION, BenchReport, Figure
from harness.bench.table import scale
from harness.errors import UsageError
from harness.report.compare import Limit, Quantity, Row, compare
from harness.report.compare_results import Comparison
from harness.report.hostile import shown

MAX_BENCH_BYTES = 16 << 20
_DIGITS = {"/s": 0, "": 3, "ns": 1}


def read_bench(path: Path) -> BenchReport:
    """A file of `harness bench --output`, checked. UsageError with the path and the first wrong key."""
    try:
        if path.stat().st_size > MAX_BENCH_BYTES:
            raise UsageError(f"{path}: larger than any file of 'harness bench --output'")
        report = BenchReport.model_validate_json(path.read_bytes())
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror})") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise UsageError(f"{path}: not from 'harness bench --output': {where}: {first['msg']}") from error
    if report.schema_version != SCHEMA_VERSION:
        raise UsageError(f"{path}: schema version {report.schema_version}, this program reads {SCHEMA_VERSION}")
    return report


def compare_bench(
    first: BenchReport, second: BenchReport, names: Sequence[str] = (), limit: Limit | None = None
) -> Comparison:
    """Every figure of both files (or those named); medians stand for the values. UsageError when they share none."""
    common = [name for name in first.figures if name in second.figures and (not names or name in names)]
    rows: list[Row] = []
    warnings = _differences(first, second)
    for name in common:
        a, b = first.figures[name], second.figures[name]
        if a.unit != b.unit or a.better != b.better:
            warnings.append(f"not compared: {name}: {a.unit}, {a.better} is better; and {b.unit}, {b.better} is better")
        else:
            rows.append(compare("", quantity_of(name, a), a.values, b.values, limit))
    if not rows:
        raise UsageError("the two files have no figure in common; give two of the same 'harness bench'")
    if not names:
        warnings += [f"not compared: {name}: only in A" for name in first.figures if name not in second.figures]
        warnings += [f"not compared: {name}: only in B" for name in second.figures if name not in first.figures]
    return Comparison(tuple(rows), tuple(warnings))


def quantity_of(name: str, figure: Figure) -> Quantity:
    """A figure as something to compare, shown in the unit in which `harness bench` prints it."""
    divisor, unit = scale(figure)
    return Quantity(name, shown(name), figure.unit, figure.better, _DIGITS.get(unit, 2), "median", divisor, unit)


def _differences(first: BenchReport, second: BenchReport) -> list[str]:
    found = []
    a, b = first.machine, second.machine
    names = ("cpu_model", "cpus_usable", "kernel", "architecture", "python", "numba", "scheduler")
    values = ((name, getattr(a, name), getattr(b, name)) for name in names)
    found += [f"different machines: {name} {mine} and {other}" for name, mine, other in values if mine != other]
    if first.quick or second.quick:
        found.append("measured with --quick: coarse figures")
    for side, machine in (("A", a), ("B", b)):
        if machine.steal_fraction > 0.02:
            found.append(f"{side}: {machine.steal_fraction:.1%} of the CPU time was stolen by other machines meanwhile")
    return found
