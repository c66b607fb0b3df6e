"""What a running experiment shows: a panel on a terminal, one line per second elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

MISSING = "-"


@dataclass(frozen=True)
class LiveSample:
    """One moment of a run. Rates are of the last interval, both directions; None is not known (yet)."""

    phase: str
    elapsed_ns: int
    offered_bps: float | None = None
    received_bps: float | None = None
    intended_packets: int | None = None
    lost_packets: int | None = None
    rtt_mean_ns: int | None = None
    rtt_max_ns: int | None = None
    pkt_q_packets: int | None = None


def sample_fields(sample: LiveSample) -> list[tuple[str, str]]:
    """(name, value with its unit) in the order of display."""
    return [
        ("phase", sample.phase),
        ("elapsed", f"{sample.elapsed_ns / 1e9:.1f} s"),
        ("offered", _rate(sample.offered_bps)),
        ("received", _rate(sample.received_bps)),
        ("lost", _loss(sample)),
        ("RTT mean", _ms(sample.rtt_mean_ns)),
        ("RTT max", _ms(sample.rtt_max_ns)),
        ("pkt_q", MISSING if sample.pkt_q_packets is None else f"{sample.pkt_q_packets} packets"),
    ]


def sample_line(title: str, sample: LiveSample) -> str:
    """The sample as one plain line; values that are not known are left out."""
    shown = [f"{name} {value}" for name, value in sample_fields(sample)[2:] if value != MISSING]
    return "  ".join([f"[{title}] {sample.elapsed_ns / 1e9:6.1f} s  {sample.phase:<12}", *shown]).rstrip()


class LiveView:
    """Context manager fed by `update`, as often as one likes; it draws no oftener than is readable.

    Plain output: one line per second, and one at every change of phase.
    """

    def __init__(
        self,
        title: str,
        console: Console | None = None,
        clock_ns: Callable[[], int] = time.monotonic_ns,
        line_interval_ns: int = 1_000_000_000,
    ) -> None:
        self._title = title
        self._console = console or Console()
        self._clock_ns = clock_ns
        self._line_interval_ns = line_interval_ns
        self._live: Live | None = None
        self._last_line_ns: int | None = None
        self._last_phase: str | None = None

    def __enter__(self) -> LiveView:
        if self._console.is_terminal:
            self._live = Live(console=self._console, refresh_per_second=5, transient=True)
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def update(self, sample: LiveSample) -> None:
        """Show `sample` now, or leave it out if another was just shown."""
        if self._live is not None:
            self._live.update(_panel(self._title, sample))
            return
        now_ns = self._clock_ns()
        due = self._last_line_ns is None or now_ns - self._last_line_ns >= self._line_interval_ns
        if due or sample.phase != self._last_phase:
            self._last_line_ns, self._last_phase = now_ns, sample.phase
            self._console.print(sample_line(self._title, sample), markup=False, highlight=False, soft_wrap=True)


def _panel(title: str, sample: LiveSample) -> Panel:
    table = Table.grid(padding=(0, 3))
    fields = sample_fields(sample)
    for _ in range(4):
        table.add_column()
    for row in (fields[:4], fields[4:]):
        table.add_row(*(Text.assemble((f"{name} ", "dim"), value) for name, value in row))
    return Panel(table, title=Text(title), title_align="left", expand=False)


def _rate(bps: float | None) -> str:
    return MISSING if bps is None else f"{bps / 1e6:.1f} Mbit/s"


def _ms(ns: int | None) -> str:
    return MISSING if ns is None else f"{ns / 1e6:.2f} ms"


def _loss(sample: LiveSample) -> str:
    if sample.lost_packets is None:
        return MISSING
    if not sample.intended_packets:
        return f"{sample.lost_packets}"
    return f"{sample.lost_packets} ({100 * sample.lost_packets / sample.intended_packets:.2f} %)"
