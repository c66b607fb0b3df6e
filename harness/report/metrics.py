"""The figures of merit of a run: name, unit, direction, and the one place that reads each from a run's summary.

`report` draws and tabulates them, `compare` sets two results side by side. Names begin with the part of summary.json
they are read from, and end with the unit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from harness.record.points import deepest_pkt_q
from harness.record.summary import RunSummary, TrafficSummary
from harness.record.sweep import Result

Number = float | None


@dataclass(frozen=True)
class Metric:
    """One figure of a run, in `unit`; `read` gives None where the run did not measure it, never 0 in its place.

    better: the direction in which it improves. of_control: whether a run without a migration has it too. is_skewed: 0
    in most runs and large in some, so that a second interval is given (harness.report.bootstrap).
    """

    name: str
    title: str
    unit: str
    read: Callable[[RunSummary], Number]
    better: Literal["lower", "higher"]
    of_control: bool
    digits: int
    meaning: str
    is_skewed: bool = False


def _window(read: Callable[[TrafficSummary], Number], divisor: float = 1.0) -> Callable[[RunSummary], Number]:
    def from_window(run: RunSummary) -> Number:
        value = None if run.window is None else read(run.window)
        return None if value is None else value / divisor

    return from_window


def _duration_s(run: RunSummary) -> Number:
    duration_ns = run.migration.duration_ns
    return None if duration_ns is None or run.migration.outcome != "completed" else duration_ns / 1e9


def _pkt_q_packets(run: RunSummary) -> Number:
    """Not measured where the migration ended before the destination began to buffer: an unused queue is not short."""
    if run.migration.outcome == "none":
        return None
    depth = deepest_pkt_q(run)
    if run.migration.outcome != "completed" and not depth and "commit" not in run.migration.phases:
        return None
    return None if depth is None else float(depth)


def _state_traffic_mb(run: RunSummary) -> Number:
    migration = run.migration
    if migration.snapshot_bytes is None or migration.statelet_stream_bytes is None:
        return None
    return (migration.snapshot_bytes + migration.statelet_stream_bytes) / 1e6


_METRICS = (
    Metric(
        name="window.loss_s",
        title="seconds of loss",
        unit="s",
        read=_window(lambda window: window.loss_s),
        better="lower",
        of_control=True,
        digits=4,
        meaning="echo requests of the measured window that were never answered, over requests per second (Fig. 11, 12)",
        is_skewed=True,
    ),
    Metric(
        name="window.rtt_late_s",
        title="seconds of RTT > 15 ms",
        unit="s",
        read=_window(lambda window: window.rtt_late_s),
        better="lower",
        of_control=True,
        digits=4,
        meaning="requests lost or answered later than 15 ms after their intended send time, over requests per second "
        "(Fig. 13)",
        is_skewed=True,
    ),
    Metric(
        name="window.largest_mean_rtt_ms",
        title="largest mean RTT of any 500 ms",
        unit="ms",
        read=_window(lambda window: window.largest_bin_mean_rtt_ns, 1e6),
        better="lower",
        of_control=True,
        digits=2,
        meaning="bins by intended send time; lost packets have no RTT and are in no mean (Fig. 14)",
    ),
    Metric(
        name="migration.duration_s",
        title="migration duration",
        unit="s",
        read=_duration_s,
        better="lower",
        of_control=False,
        digits=4,
        meaning="at the destination, from accepting the snapshot connection to the last statelet; of completed "
        "migrations (Fig. 15, 16)",
    ),
    Metric(
        name="migration.pkt_q_max_packets",
        title="largest pkt_q",
        unit="packets",
        read=_pkt_q_packets,
        better="lower",
        of_control=False,
        digits=1,
        meaning="the larger of the two ports' largest depths: each port has a queue of its own, as published; not "
        "measured where the migration ended before the destination buffered (Fig. 17)",
    ),
    Metric(
        name="migration.state_traffic_mb",
        title="state traffic",
        unit="MB",
        read=_state_traffic_mb,
        better="lower",
        of_control=False,
        digits=3,
        meaning="bytes of the snapshot and of the statelet stream that the destination received, filler included; of a "
        "migration that broke off, as far as it came (Fig. 18)",
    ),
)

METRICS: Mapping[str, Metric] = {metric.name: metric for metric in _METRICS}
"""By name, in the order of the paper's figures."""


def metric(result: Result, name: str) -> Number:
    """The metric of a run of a results directory; None where it was not measured or the run is damaged. KeyError."""
    return None if result.summary is None else METRICS[name].read(result.summary)
