"""The comparison table: modes side by side at the same load, repetitions as mean ± 95 % confidence interval."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from rich.table import Table
from rich.text import Text

from harness.measure.statistics import Estimate, estimate
from harness.record.points import deepest_pkt_q
from harness.record.summary import CaptureSummary, RunSummary, TrafficSummary
from harness.report.impairments import carried_out

MISSING = "-"
MODE_ORDER = ("none", "statelet", "duplication")
MODE_TITLES = {"none": "none (control)"}

Number = int | float | None


@dataclass(frozen=True)
class Quantity:
    """A row of numbers: how to read it from a run, and the unit it is shown in (value / scale, digits after the point).

    Units of whole things (packets, bytes) show no fraction for a single run.
    """

    title: str
    read: Callable[[RunSummary], Number]
    scale: float = 1.0
    digits: int = 0


def _window(read: Callable[[TrafficSummary], Number]) -> Callable[[RunSummary], Number]:
    return lambda run: None if run.window is None else read(run.window)


QUANTITIES: tuple[Quantity, ...] = (
    Quantity("offered load, both directions [Mbit/s]", _window(lambda w: w.offered_bps), 1e6, 1),
    Quantity("received, both directions [Mbit/s]", _window(lambda w: w.received_bps), 1e6, 1),
    Quantity("frame, with 42 header bytes [bytes]", lambda run: None if run.command else run.load.frame_bytes),
    Quantity("packets intended", _window(lambda w: w.intended_packets)),
    Quantity("packets lost", _window(lambda w: w.lost_packets)),
    Quantity("packets late (RTT > 15 ms)", _window(lambda w: w.late_packets)),
    Quantity("server-originated packets lost", _window(lambda w: w.server_lost_packets)),
    Quantity("seconds of loss [s]", _window(lambda w: w.loss_s), 1, 4),
    Quantity("lossy 100 ms intervals [s]", _window(lambda w: w.lossy_intervals_s), 1, 1),
    Quantity("seconds of RTT > 15 ms [s]", _window(lambda w: w.rtt_late_s), 1, 4),
    Quantity("RTT p50 [ms]", _window(lambda w: w.rtt_p50_ns), 1e6, 2),
    Quantity("RTT p99 [ms]", _window(lambda w: w.rtt_p99_ns), 1e6, 2),
    Quantity("RTT max [ms]", _window(lambda w: w.rtt_max_ns), 1e6, 2),
    Quantity("largest mean RTT of 500 ms [ms]", _window(lambda w: w.largest_bin_mean_rtt_ns), 1e6, 2),
    Quantity("packets reordered", _window(lambda w: w.reordered_packets)),
    Quantity("packets duplicated", _window(lambda w: w.duplicate_packets)),
    Quantity("migration duration [ms]", lambda run: run.migration.duration_ns, 1e6, 1),
    Quantity("switchover duration [ms]", lambda run: run.migration.switchover_duration_ns, 1e6, 3),
    Quantity("downtime, longest gap [ms]", lambda run: _downtime_ns(run), 1e6, 2),
    Quantity("snapshot, with filler [bytes]", lambda run: run.migration.snapshot_bytes),
    Quantity("statelet stream [bytes]", lambda run: run.migration.statelet_stream_bytes),
    Quantity("statelets", lambda run: run.migration.statelets),
    Quantity("pkt_q max [packets]", deepest_pkt_q),
    Quantity("st_q_out max [packets]", lambda run: run.migration.st_q_out_max_packets),
    Quantity("st_q_in max [packets]", lambda run: run.migration.st_q_in_max_packets),
)


def _command_status(run: RunSummary) -> int | None:
    return None if run.command is None else run.command.exit_status


def _command_duration_ns(run: RunSummary) -> int | None:
    return None if run.command is None else run.command.duration_ns


def _capture(read: Callable[[CaptureSummary], Number]) -> Callable[[RunSummary], Number]:
    return lambda run: None if run.capture is None else read(run.capture)


def _attempts(run: RunSummary) -> int | None:
    return len(run.migration.attempts) if run.faults or len(run.migration.attempts) > 1 else None


def _faults(run: RunSummary) -> int | None:
    return sum(fault.begun_ns is not None for fault in run.faults) if run.faults else None


OF_WORKLOADS: tuple[Quantity, ...] = (
    Quantity("faults that happened", _faults),
    Quantity("migration attempts", _attempts),
    Quantity("client: exit status", _command_status),
    Quantity("client: duration [s]", _command_duration_ns, 1e9, 3),
    Quantity("capture: sent without a number of ours [packets]", _capture(lambda c: c.unnumbered_sent_packets)),
    Quantity("capture: of these returned [packets]", _capture(lambda c: c.unnumbered_returned_packets)),
    Quantity("capture: responses in the file, not sent [packets]", _capture(lambda c: c.response_packets)),
    Quantity("capture: otherwise not sent [frames]", _capture(lambda c: sum(c.skipped_frames.values()))),
)
"""Shown where a run has them."""


def _downtime_ns(run: RunSummary) -> int | None:
    if run.migration.downtime_ns is not None:
        return run.migration.downtime_ns
    return None if run.window is None else run.window.longest_gap_ns


def group_by_mode(runs: Sequence[RunSummary]) -> dict[str, list[RunSummary]]:
    """Runs by mode: control, statelet, duplication, then others in alphabetical order."""
    modes = sorted({run.mode for run in runs}, key=lambda m: (MODE_ORDER.index(m) if m in MODE_ORDER else 99, m))
    return {mode: [run for run in runs if run.mode == mode] for mode in modes}


def table_columns(runs: Sequence[RunSummary]) -> list[tuple[str, list[RunSummary]]]:
    """(title, runs) of each column: every mode with all its runs and, where only some are VALID, again with those.

    Leaving the others out silently would flatter a mode that fails.
    """
    columns = []
    for mode, group in group_by_mode(runs).items():
        title = MODE_TITLES.get(mode, mode)
        valid = [run for run in group if run.validity.verdict == "VALID"]
        columns.append((title, group))
        if valid and len(valid) < len(group):
            columns.append((f"{title}, VALID only", valid))
    return columns


def comparison_rows(runs: Sequence[RunSummary]) -> list[tuple[str, list[str]]]:
    """(title, one cell per column of `table_columns`); MISSING where nothing was measured."""
    groups = [group for _, group in table_columns(runs)]
    rows = [("runs", [str(len(group)) for group in groups]), ("validity", [_validity(group) for group in groups])]
    rows += [("migration", [_tally([run.migration.outcome for run in group]) for group in groups])]
    rows += [(quantity.title, [cell(quantity, group) for group in groups]) for quantity in QUANTITIES]
    if any(run.migration.encryption for run in runs):
        rows.append(("control and state streams", [_encryption(group) for group in groups]))
    if any(run.impairments for run in runs):
        rows.append(("impairments carried out", [_tally([carried_out(run) or MISSING for run in g]) for g in groups]))
    for quantity in OF_WORKLOADS:
        if any(quantity.read(run) is not None for run in runs):
            rows.append((quantity.title, [cell(quantity, group) for group in groups]))
    for name in _ledger_rows_in_use(runs):
        quantity = Quantity(f"ledger, whole run: {name.replace('_', ' ')}", partial(ledger_packets, name=name))
        rows.append((quantity.title, [cell(quantity, group) for group in groups]))
    rows.append(("invariants held", [_invariants(group) for group in groups]))
    return rows


def comparison_table(runs: Sequence[RunSummary], title: str) -> Table:
    """The rows as a table for rich."""
    table = Table(title=Text(title), title_justify="left", pad_edge=False)
    table.add_column("", no_wrap=True)
    for heading, _ in table_columns(runs):
        table.add_column(Text(heading), justify="right")
    for name, cells in comparison_rows(runs):
        table.add_row(Text(name), *(Text(text) for text in cells))
    return table


def cell(quantity: Quantity, runs: Sequence[RunSummary]) -> str:
    """One run: its figure. Several: mean ± half width of the interval, and of how many where some did not measure."""
    values = [quantity.read(run) for run in runs]
    found = estimate(None if value is None else value / quantity.scale for value in values)
    return format_estimate(found, quantity.digits, len(runs))


def format_estimate(found: Estimate, digits: int, runs: int) -> str:
    """`12,345`, `1.20 ± 0.10`, or MISSING; `(2 of 3)` behind it where not every run measured."""
    if found.mean is None:
        return MISSING
    # The mean of whole numbers is not whole itself.
    digits = max(digits, 1) if found.count > 1 and not found.mean.is_integer() else digits
    text = f"{found.mean:,.{digits}f}"
    if found.half_width is not None:
        text += f" ± {found.half_width:,.{max(digits, 1) if found.half_width else digits}f}"
    return text if found.count == runs else f"{text} ({found.count} of {runs})"


def ledger_packets(run: RunSummary, name: str) -> int | None:
    """Both columns of a ledger row; None without a ledger."""
    if run.ledger is None:
        return None
    return sum(row.echo_packets + row.server_packets for row in run.ledger.rows if row.name == name)


def _ledger_rows_in_use(runs: Sequence[RunSummary]) -> list[str]:
    """Names of rows that are not zero in some run, and always `unexplained`, in the order of the ledger."""
    used: dict[str, None] = {}
    for run in runs:
        for row in run.ledger.rows if run.ledger else ():
            if row.echo_packets or row.server_packets or row.name == "unexplained":
                used.setdefault(row.name)
    order = [row.name for run in runs if run.ledger for row in run.ledger.rows]
    return sorted(used, key=order.index)


def _validity(runs: Sequence[RunSummary]) -> str:
    return _tally([run.validity.verdict for run in runs])


def _encryption(runs: Sequence[RunSummary]) -> str:
    shown = {"tls": "TLS 1.3", "none": "not encrypted", None: MISSING}
    return _tally([shown[run.migration.encryption] for run in runs])


def _tally(words: Sequence[str]) -> str:
    counted = Counter(words)
    if len(counted) == 1:
        return words[0]
    return ", ".join(f"{count} {word}" for word, count in counted.most_common())


def _invariants(runs: Sequence[RunSummary]) -> str:
    checked = sum(len(run.invariants) for run in runs)
    held = sum(invariant.verdict == "holds" for run in runs for invariant in run.invariants)
    return f"{held}/{checked}" if checked else MISSING
