"""A calibration for people: one table, and below it what is wrong."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.calibrate.calibration import Calibration
from harness.calibrate.figures import Figures
from harness.calibrate.limits import Fault, latency_faults, rate_faults, transfer_faults, transfer_note
from harness.units import format_rate

HEADINGS = ("link", "direction or path", "asked", "measured (p50)", "p99", "max", "n", "verdict")
_RIGHT = frozenset(HEADINGS[2:7])
_STYLES = {"breach": "bold red", "doubt": "yellow"}
_FILE_WIDTH = 140
"""Columns where the output is no terminal: nothing is folded."""


def rows(figures: Figures) -> Iterator[tuple[str, ...]]:
    """One row per figure, in the order of HEADINGS; the verdict is "ok", "breach" or "doubt"."""
    for rate in figures.rates:
        measured = "-" if rate.measured_bps is None else f"{format_rate(rate.measured_bps, 5)}/s"
        verdict = _verdict(list(rate_faults(rate)))
        asked = f"{format_rate(rate.asked_bps, 5)}/s"
        yield (
            rate.instance,
            f"{rate.direction} the instance, rate",
            asked,
            measured,
            "",
            "",
            str(rate.intervals),
            verdict,
        )
    for latency in figures.latencies:
        spread = latency.measured
        times = ("-",) * 3 if spread is None else (spread.p50_ns, spread.p99_ns, spread.maximum_ns)
        shown = [_milliseconds(time_ns) for time_ns in times]
        count = "0" if spread is None else str(spread.count)
        verdict = _verdict(list(latency_faults(latency, figures.tick_ns)))
        yield latency.instance, latency.path, _milliseconds(latency.asked_ns), *shown, count, verdict
    transfer = figures.transfer
    goodput = "-" if transfer.goodput_bps is None else f"{format_rate(transfer.goodput_bps, 5)}/s"
    verdict = _verdict(list(transfer_faults(transfer)), transfer_note(transfer))
    asked = f"{format_rate(transfer.asked_bps, 5)}/s"
    yield transfer.instance, transfer.path, asked, goodput, "", "", "1", verdict


def print_calibration(calibration: Calibration, console: Console | None = None) -> None:
    """The table, then every problem and doubt on a line of its own."""
    to = console or Console(highlight=False, width=None if sys.stdout.isatty() else _FILE_WIDTH)
    figures = calibration.figures
    title = (
        f"links of {calibration.profile or 'the default profile'}: latency by {figures.latency_backend}, measured in "
        f"{calibration.duration_ns / 1e9:.1f} s"
    )
    table = Table(title=Text(title), title_justify="left", box=None, pad_edge=False)
    for heading in HEADINGS:
        table.add_column(heading, justify="right" if heading in _RIGHT else "left", overflow="fold")
    for row in rows(figures):
        table.add_row(*row[:-1], Text(row[-1], _STYLES.get(row[-1], "green")))
    to.print(table)
    for kind, lines in (("breach", calibration.problems), ("doubt", calibration.doubts)):
        for line in lines:
            to.print(f"{kind}: {line}", style=_STYLES[kind], markup=False, soft_wrap=True)


def _verdict(faults: Sequence[Fault], otherwise: str = "ok") -> str:
    if not faults:
        return otherwise
    return "breach" if any(fault.breach for fault in faults) else "doubt"


def _milliseconds(time_ns: int | str) -> str:
    return time_ns if isinstance(time_ns, str) else f"{time_ns / 1e6:.2f} ms"
