"""A calibration for people: one table, and below it what is wrong."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.calibrate.calibration import Calibration
from harness.calibrate.figures import CompetitionFigure, Figures
from harness.calibrate.limits import (
    Fault,
    competition_faults,
    latency_faults,
    rate_faults,
    transfer_faults,
    transfer_note,
)
from harness.units import format_rate

HEADINGS = ("link", "direction or path", "asked", "measured (p50)", "p99", "max", "n", "verdict")
_RIGHT = frozenset(HEADINGS[2:7])
_STYLES = {"breach": "bold red", "doubt": "yellow"}
_FILE_WIDTH = 160
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
        verdict = _verdict(list(latency_faults(latency, figures.tick_ns)), latency.impairment or "ok")
        load = f"; {format_rate(latency.load_bps, 4)}/s of load" if latency.load_bps else ""
        yield latency.instance, latency.path + load, _milliseconds(latency.asked_ns), *shown, count, verdict
    transfer = figures.transfer
    if transfer is not None:
        goodput = "-" if transfer.goodput_bps is None else f"{format_rate(transfer.goodput_bps, 5)}/s"
        verdict = _verdict(list(transfer_faults(transfer)), transfer_note(transfer))
        asked = f"{format_rate(transfer.asked_bps, 5)}/s"
        yield transfer.instance, transfer.path, asked, goodput, "", "", "1", verdict
    for competition in figures.competitions:
        yield from _competition_rows(competition, max((item.asked_ns for item in figures.latencies), default=0))


def _competition_rows(figure: CompetitionFigure, rtt_ns: int) -> Iterator[tuple[str, ...]]:
    def rate(bps: int | None) -> str:
        return "-" if bps is None else f"{format_rate(bps, 4)}/s"

    verdict = _verdict(list(competition_faults(figure, rtt_ns)))
    yield figure.instance, figure.path, rate(figure.asked_bps), rate(figure.total_bps), "", "", "1", verdict
    paced = "best effort" if figure.paced_bps is None else rate(figure.paced_bps)
    yield figure.instance, "  TCP goodput", paced, rate(figure.tcp_goodput_bps), "", "", "", ""
    lost = f"  UDP, {figure.udp_lost_packets} of {figure.udp_packets} round trips lost"
    yield figure.instance, lost, rate(figure.udp_offered_bps), rate(figure.udp_achieved_bps), "", "", "", ""
    spread = figure.rtt
    times = ("-",) * 3 if spread is None else (spread.p50_ns, spread.p99_ns, spread.maximum_ns)
    count = "0" if spread is None else str(spread.count)
    yield figure.instance, "  UDP round trip", _milliseconds(rtt_ns), *(_milliseconds(t) for t in times), count, ""


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
