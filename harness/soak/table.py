"""What a soak comes to, for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from harness.faults.schedule import PHASE_NAMES
from harness.soak.store import SoakEntry

_NOT_REACHED = "not reached"


def line(entry: SoakEntry, of: int) -> str:
    """One line for one schedule, with what was not kept behind it."""
    faults = " + ".join(
        fault.fault if fault.begun_ns is not None else f"{fault.fault} ({fault.state})" for fault in entry.faults
    )
    outcomes = ", ".join(attempt.outcome for attempt in entry.attempts) or "no attempt"
    text = (
        f"{entry.number + 1}/{of} seed {entry.seed} {entry.mode}: {faults}: {outcomes}; {entry.validity}; "
        f"{entry.verdict} ({entry.took_s:.1f} s)"
    )
    for promise in entry.promises:
        if promise.verdict != "kept":
            text += f"\n    {promise.name}: {promise.verdict} ({promise.detail})"
    return text


def summary_table(entries: Sequence[SoakEntry]) -> Table:
    """By phase, action and target: how many schedules had such a fault, what the runs came to, which promises held."""
    table = Table(title=Text("schedules by fault; one with two faults counts for both"), title_justify="left")
    for column in ("phase", "action", "target"):
        table.add_column(column)
    for column in ("schedules", "completed", "aborted", "failed", "kept", "unknown", "broken"):
        table.add_column(column, justify="right")
    rows: dict[tuple[int, str, str, str], list[SoakEntry]] = {}
    for entry in entries:
        for fault in entry.faults:
            phase = fault.when if fault.begun_ns is not None else _NOT_REACHED
            order = PHASE_NAMES.index(phase) if phase in PHASE_NAMES else len(PHASE_NAMES)
            rows.setdefault((order, phase, fault.action, fault.target), []).append(entry)
    for (_, phase, action, target), group in sorted(rows.items()):
        verdicts = Counter(entry.verdict for entry in group)
        outcomes = Counter(entry.attempts[-1].outcome if entry.attempts else "none" for entry in group)
        figures = [len(group), *(outcomes[name] for name in ("completed", "aborted", "failed"))]
        figures += [verdicts[name] for name in ("kept", "unknown", "broken")]
        table.add_row(phase, action, target, *(str(figure) if figure else "" for figure in figures))
    return table


def promises_table(entries: Sequence[SoakEntry]) -> Table:
    """How often each promise was kept, unknown and broken."""
    table = Table(title=Text("promises"), title_justify="left")
    table.add_column("promise")
    for column in ("kept", "unknown", "broken"):
        table.add_column(column, justify="right")
    counts: dict[str, Counter[str]] = {}
    for entry in entries:
        for promise in entry.promises:
            counts.setdefault(promise.name, Counter())[promise.verdict] += 1
    for name, found in counts.items():
        table.add_row(name, *(str(found[verdict]) for verdict in ("kept", "unknown", "broken")))
    return table
