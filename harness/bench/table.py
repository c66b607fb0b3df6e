"""The figures as a table for people, in units that fit their size."""

from __future__ import annotations

from rich.table import Table
from rich.text import Text

from harness.bench.figures import BenchReport, Bound, Figure, Unit

_STEPS: dict[Unit, tuple[tuple[float, str], ...]] = {
    "1/s": ((1.0, "/s"),),
    "bytes/s": ((1e6, "MB/s"), (1e3, "kB/s"), (1.0, "B/s")),
    "ns": ((1e9, "s"), (1e6, "ms"), (1e3, "us"), (1.0, "ns")),
    "s": ((1.0, "s"), (1e-3, "ms")),
    "bytes": ((1e6, "MB"), (1e3, "kB"), (1.0, "B")),
    "ratio": ((1.0, ""),),
}


def scale(figure: Figure) -> tuple[float, str]:
    """Divisor and unit in which the median has at least one digit before the point."""
    steps = _STEPS[figure.unit]
    return next((step for step in steps if abs(figure.median) >= step[0]), steps[-1])


def shown(value: float, divisor: float, unit: str) -> str:
    """A value in its scaled unit: whole for rates, three digits after the point for ratios."""
    digits = {"/s": 0, "": 3, "ns": 1}.get(unit, 2)
    return f"{value / divisor:,.{digits}f} {unit}".rstrip()


def bench_rows(report: BenchReport) -> list[tuple[str, str, str, str, str, str]]:
    """(figure, median, minimum, maximum, count, promise) of every figure."""
    promises = {bound.figure: bound for bound in report.bounds}
    rows = []
    for name, figure in report.figures.items():
        divisor, unit = scale(figure)
        median, least, most = (shown(v, divisor, unit) for v in (figure.median, figure.minimum, figure.maximum))
        rows.append((name, median, least, most, str(figure.count), _promise(promises.get(name), divisor, unit)))
    return rows


def _promise(bound: Bound | None, divisor: float, unit: str) -> str:
    if bound is None:
        return ""
    return f"{bound.relation} {shown(bound.limit, divisor, unit)}: {'met' if bound.met else 'NOT MET'}"


def bench_table(report: BenchReport) -> Table:
    """The rows as a table for rich, the machine in its caption."""
    machine = report.machine
    title = f"harness bench{' --quick' if report.quick else ''}, {report.started_utc}, {report.duration_s:.0f} s"
    caption = (
        f"{machine.cpu_model or machine.architecture}, {machine.cpus_usable} of {machine.cpus} CPUs, "
        f"Linux {machine.kernel}, scheduler {machine.scheduler}; meanwhile {machine.steal_fraction:.1%} stolen, "
        f"{machine.idle_fraction:.0%} idle"
    )
    table = Table(title=Text(title), caption=Text(caption), title_justify="left", caption_justify="left")
    for heading in ("figure", "median", "minimum", "maximum", "count", "promise"):
        table.add_column(heading, justify="left" if heading in ("figure", "promise") else "right", no_wrap=True)
    for row in bench_rows(report):
        table.add_row(*(Text(cell) for cell in row))
    return table
