"""Which promises a run with faults kept. Pure: from the summary of the run, which has the history of its faults.

Doubt is "unknown", never "kept".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from harness.faults.expected import ABORTED, COMPLETED, may_lead_to
from harness.faults.history import FAILED, NOT_REACHED
from harness.record.summary import AttemptSummary, FaultSummary, LedgerSummary, RunSummary

Verdict = Literal["kept", "broken", "unknown"]

ARRIVED = ("delivered", "late")
OF_THE_RULER = ("not_sent", "queue", "echo_tx_failed")
"""Losses of the load processes themselves, which say nothing of the migration."""
DEADLINE = "did not happen within"
"""What an error of a deadline says."""
MEASURING = ("loadgen", "echoserver")


@dataclass(frozen=True)
class Promise:
    """One promise; `detail` is the evidence in one line."""

    name: str
    verdict: Verdict
    detail: str = ""


@dataclass(frozen=True)
class Surroundings:
    """What is known of a run beside its files: how long it took and may take, and what it left on the machine."""

    took_ns: int
    deadline_ns: int
    left_behind: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Case:
    summary: RunSummary

    @property
    def begun(self) -> list[FaultSummary]:
        return [fault for fault in self.summary.faults if fault.begun_ns is not None]

    @property
    def attempts(self) -> Sequence[AttemptSummary]:
        return self.summary.migration.attempts

    @property
    def moved(self) -> bool:
        return bool(self.attempts) and self.attempts[-1].moved

    @property
    def completed(self) -> bool:
        return bool(self.attempts) and self.attempts[-1].outcome == COMPLETED

    def killed(self, title: str, attempt: int = 0) -> bool:
        """Whether it was killed in that attempt or later; what is killed between two is rebooted."""
        return any(f.target == title and f.action == "kill" and f.attempt >= attempt for f in self.begun)

    @property
    def owner_killed(self) -> bool:
        """Whether the instance that had the traffic was killed: nobody serves, and nothing can help."""
        if not self.moved:
            return self.killed("source")
        return self.completed and self.killed("destination", len(self.attempts))


def check(summary: RunSummary, attempts_allowed: int, around: Surroundings) -> list[Promise]:
    """Every promise that applies."""
    case = _Case(summary)
    found = [
        _explained(case),
        _served(case),
        _succeeded(case, attempts_allowed),
        _named(case),
        _state(case),
        _invariants(case),
        _verdict(case),
        _in_time(around),
        Promise(
            "nothing is left behind",
            "broken" if around.left_behind else "kept",
            "; ".join(around.left_behind),
        ),
    ]
    failed = [f"{fault.fault}: {fault.detail}" for fault in summary.faults if fault.state == FAILED]
    if failed:
        found.append(Promise("the faults were carried out", "unknown", "; ".join(failed)))
    return found


def overall(promises: Sequence[Promise]) -> Verdict:
    """The worst of them."""
    verdicts = {promise.verdict for promise in promises}
    return "broken" if "broken" in verdicts else "unknown" if "unknown" in verdicts else "kept"


def _explained(case: _Case) -> Promise:
    """Every attempt came to what the faults up to then may lead to; damage to a stream never goes unnoticed."""
    name = "every outcome follows from a fault"
    for number, attempt in enumerate(case.attempts, 1):
        begun = [fault for fault in case.begun if fault.attempt <= number]
        damaged = [fault for fault in begun if fault.attempt == number and fault.action in ("corrupt", "truncate")]
        if attempt.outcome == COMPLETED and damaged:
            return Promise(name, "broken", f"attempt {number} completed in spite of: {damaged[0].fault}")
        outcome = "failed after the switchover" if attempt.moved and attempt.outcome == "failed" else attempt.outcome
        possible = {COMPLETED}.union(*(may_lead_to(fault) for fault in begun))
        if outcome == ABORTED and outcome not in possible and DEADLINE in attempt.reason:
            # A machine that stands still does that, too, and nothing came of it but another attempt.
            return Promise(name, "unknown", f"attempt {number} was aborted by a deadline: {attempt.reason}")
        if outcome not in possible:
            return Promise(name, "broken", f"attempt {number} {outcome}: {attempt.reason}")
    return Promise(name, "kept" if case.attempts else "unknown", ", ".join(a.outcome for a in case.attempts))


def _served(case: _Case) -> Promise:
    """Nothing is lost but by a fault that ends the service, or the migration after its switchover."""
    name = "served without loss"
    ledger = case.summary.ledger
    if ledger is None:
        return Promise(name, "unknown", "no records of the packets")
    lost = _losses(ledger)
    shown = ", ".join(f"{packets} {cause}" for cause, packets in lost.items())
    if not lost:
        return Promise(
            name, "kept", f"{ledger.echo_intended_packets + ledger.server_intended_packets} packets, none lost"
        )
    if case.owner_killed or (case.moved and not case.completed):
        return Promise(name, "kept", f"nobody was left to serve: {shown}")
    if set(lost) <= set(OF_THE_RULER):
        return Promise(name, "unknown", f"lost by the load processes: {shown}")
    return Promise(name, "broken", shown)


def _succeeded(case: _Case, attempts_allowed: int) -> Promise:
    """Where the source lived on, one attempt in the end completes."""
    name = "another attempt succeeds"
    if case.completed:
        return Promise(name, "kept", f"attempt {len(case.attempts)} of {attempts_allowed}")
    if case.moved:
        return Promise(name, "kept", "does not apply after the switchover")
    if case.killed("source"):
        return Promise(name, "kept", "does not apply: the source was killed")
    if not case.attempts and not case.begun:
        return Promise(name, "unknown", "; ".join(case.summary.validity.reasons) or "no attempt was made")
    if not case.attempts:
        return Promise(name, "broken", "; ".join(case.summary.validity.reasons) or "no attempt was made")
    return Promise(name, "broken", f"{len(case.attempts)} of {attempts_allowed}: {case.attempts[-1].reason}")


def _named(case: _Case) -> Promise:
    name = "every loss has a named cause"
    ledger = case.summary.ledger
    if ledger is None:
        return Promise(name, "unknown", "no records of the packets")
    return _of_invariant(case, name)


def _state(case: _Case) -> Promise:
    """The state is what it must be, or the run says FAILED: it is never silently wrong."""
    name = "state never silently wrong"
    promise = _of_invariant(case, "state equals the reference")
    if case.moved and not case.completed:
        said = case.summary.validity.verdict == "FAILED"
        return Promise(name, "kept" if said else "broken", f"the run is {case.summary.validity.verdict}")
    if case.owner_killed:
        return Promise(name, "kept", "lost with its instance, and the run says so")
    return Promise(name, promise.verdict, promise.detail)


def _invariants(case: _Case) -> Promise:
    """The others: all of them unless the migration failed, mappings always."""
    name = "invariants"
    broken = [i for i in case.summary.invariants if i.verdict == "broken"]
    if case.moved and not case.completed:
        broken = [i for i in broken if i.name.startswith("external mappings")]
    if broken:
        return Promise(name, "broken", f"{broken[0].name}: {broken[0].detail}")
    return Promise(name, "kept", f"{len(case.summary.invariants)} checked")


def _verdict(case: _Case) -> Promise:
    """The run's own verdict tells of what happened."""
    name = "the verdict tells of it"
    said, reasons = case.summary.validity.verdict, "; ".join(case.summary.validity.reasons)
    if not case.attempts and not case.begun:
        return Promise(name, "unknown", f"{said}: {reasons}")
    must_fail = case.owner_killed or not case.completed
    if must_fail:
        return Promise(name, "kept" if said == "FAILED" else "broken", f"{said}: {reasons}")
    if any(case.killed(title) for title in MEASURING):
        return Promise(name, "kept" if said == "INVALID" else "broken", f"{said}: {reasons}")
    if said == "FAILED":
        return Promise(name, "broken", f"FAILED: {reasons}")
    return Promise(name, "kept", said)


def _in_time(around: Surroundings) -> Promise:
    took, limit = around.took_ns / 1e9, around.deadline_ns / 1e9
    return Promise("in time", "kept" if took <= limit else "broken", f"{took:.1f} s of at most {limit:.0f} s")


def _of_invariant(case: _Case, name: str) -> Promise:
    for invariant in case.summary.invariants:
        if invariant.name == name:
            verdict: Verdict = "kept" if invariant.verdict == "holds" else invariant.verdict
            return Promise(name, verdict, invariant.detail)
    return Promise(name, "unknown", "not checked")


def _losses(ledger: LedgerSummary) -> dict[str, int]:
    """Packets lost, by cause."""
    return {
        row.name: row.echo_packets + row.server_packets
        for row in ledger.rows
        if row.name not in ARRIVED and row.echo_packets + row.server_packets
    }


def reached(summary: RunSummary) -> bool:
    """Whether any fault of the schedule happened at all."""
    return any(fault.state != NOT_REACHED for fault in summary.faults)
