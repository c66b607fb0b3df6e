"""What the faults of a run mean for its verdict, and their part of its summary. Pure."""

from __future__ import annotations

from harness.experiment.run_record import RunRecord
from harness.measure.ledger import Ledger
from harness.record.summary import FaultSummary
from harness.testbed import topology as names


def fault_part(record: RunRecord) -> tuple[FaultSummary, ...]:
    """Every fault of the schedule and what came of it."""
    return tuple(
        FaultSummary(
            fault=entry.fault.describe(),
            target=entry.fault.target,
            action=entry.fault.action,
            when=entry.fault.when,
            state=entry.state,
            attempt=entry.attempt,
            phase=entry.during,
            begun_ns=entry.begun_ns,
            over_ns=entry.over_ns,
            detail=entry.detail,
        )
        for entry in record.faults
    )


def fault_failures(record: RunRecord, ledger: Ledger | None) -> list[str]:
    """A fault that ended the instance that had the traffic took the service with it: nothing can make up for that."""
    fault = record.killed.get(record.owner)
    if fault is None:
        return []
    lost = "" if ledger is None else f": {_lost_packets(ledger)} packets lost"
    return [f"the {record.owner} was killed while it had the traffic ({fault}){lost}"]


def fault_doubts(record: RunRecord) -> list[str]:
    """Faults that could not be carried out as asked, and those that took who measures."""
    failed = [doubt for doubt in record.doubts if doubt.startswith("fault: ")]
    blind = [
        f"the {title} was killed ({record.killed[title]}): nothing can be said of the traffic"
        for title in (names.LOADGEN, names.ECHOSERVER)
        if title in record.killed
    ]
    return failed + blind


def _lost_packets(ledger: Ledger) -> int:
    arrived = sum(ledger.row(name).total_packets for name in ("delivered", "late"))
    return ledger.intended_packets - arrived
