"""Verdicts on runs described by their summaries: each promise kept, broken and in doubt."""

from __future__ import annotations

from typing import Any

import pytest

from harness.faults.checker import Surroundings, check, overall
from harness.record.summary import (
    AttemptSummary,
    FaultSummary,
    InvariantSummary,
    LedgerRowSummary,
    LedgerSummary,
    LoadSummary,
    MigrationSummary,
    RunSummary,
    ValiditySummary,
)

AROUND = Surroundings(took_ns=5_000_000_000, deadline_ns=60_000_000_000)
STATE, LOSS, MAPPINGS = "state equals the reference", "every loss has a named cause", "external mappings unchanged"


def fault(target: str, action: str, phase: str = "snapshot", attempt: int = 1, begun: bool = True) -> FaultSummary:
    return FaultSummary(
        fault=f"{action} {target} at {phase}",
        target=target,
        action=action,
        when=phase,
        state="over" if begun else "not reached",
        attempt=attempt if begun else 0,
        phase=phase if begun else "",
        begun_ns=5 if begun else None,
        over_ns=6 if begun else None,
    )


def attempt(epoch: int, outcome: str, moved: bool | None = None) -> AttemptSummary:
    return AttemptSummary.model_validate(
        {
            "epoch": epoch,
            "outcome": outcome,
            "moved": outcome == "completed" if moved is None else moved,
            "started_ns": 1,
            "ended_ns": 2,
        }
    )


def run(
    *faults: FaultSummary,
    attempts: tuple[AttemptSummary, ...] = (attempt(1, "completed"),),
    verdict: str = "VALID",
    lost: dict[str, int] | None = None,
    invariants: dict[str, str] | None = None,
    blind: bool = False,
) -> RunSummary:
    rows = {"delivered": 1000 - sum((lost or {}).values()), "unexplained": 0, **(lost or {})}
    found = {STATE: "holds", LOSS: "holds", MAPPINGS: "holds", **(invariants or {})}
    return RunSummary.model_validate(
        {
            "run_id": "r-01",
            "profile": "p",
            "mode": "statelet",
            "started_utc": "2026-01-01T00:00:00+00:00",
            "validity": ValiditySummary.model_validate({"verdict": verdict, "reasons": ()}),
            "load": LoadSummary(offered_bps=1, frame_bytes=512),
            "ledger": None
            if blind
            else LedgerSummary(
                echo_intended_packets=1000,
                server_intended_packets=0,
                rows=tuple(LedgerRowSummary(name=n, echo_packets=p, server_packets=0) for n, p in rows.items()),
            ),
            "invariants": tuple(
                InvariantSummary.model_validate({"name": name, "verdict": v}) for name, v in found.items()
            ),
            "migration": MigrationSummary(outcome=attempts[-1].outcome if attempts else "none", attempts=attempts),
            "faults": faults,
        }
    )


def judged(summary: RunSummary, around: Surroundings = AROUND) -> dict[str, str]:
    """Everything that was not kept."""
    return {p.name: p.verdict for p in check(summary, 2, around) if p.verdict != "kept"}


ABORTED_THEN_COMPLETED = (attempt(1, "aborted"), attempt(2, "completed"))
KEPT: list[Any] = [
    pytest.param(run(), id="no fault was reached"),
    pytest.param(run(fault("destination", "kill"), attempts=ABORTED_THEN_COMPLETED), id="destination killed early"),
    pytest.param(run(fault("source", "stop", "drain")), id="source stopped in the drain"),
    pytest.param(
        run(
            fault("source", "kill"),
            attempts=(attempt(1, "failed", moved=False),),
            verdict="FAILED",
            lost={"instance_down": 300},
            invariants={STATE: "unknown"},
        ),
        id="source killed early",
    ),
    pytest.param(
        run(
            fault("destination", "kill", "drain"),
            attempts=(attempt(1, "failed", moved=True),),
            verdict="FAILED",
            lost={"instance_down": 300},
            invariants={STATE: "broken"},
        ),
        id="destination killed after the switchover",
    ),
    pytest.param(
        run(fault("destination", "kill", "completed"), verdict="FAILED", lost={"instance_down": 9}),
        id="destination killed when it was live",
    ),
    pytest.param(
        run(fault("latency", "kill"), attempts=(attempt(1, "failed", moved=False), attempt(2, "completed"))),
        id="delay element killed",
    ),
    pytest.param(
        run(fault("statelet_stream", "corrupt", "resynchronise"), attempts=ABORTED_THEN_COMPLETED),
        id="a bit turned and noticed",
    ),
]


@pytest.mark.parametrize("summary", KEPT)
def test_a_run_that_went_as_it_may(summary: RunSummary) -> None:
    assert judged(summary) == {}
    assert overall(check(summary, 2, AROUND)) == "kept"


BROKEN: list[Any] = [
    pytest.param(
        run(fault("destination", "kill"), attempts=(attempt(1, "aborted"), attempt(2, "aborted")), verdict="FAILED"),
        {"another attempt succeeds"},
        id="no second attempt came through",
    ),
    pytest.param(
        run(attempts=ABORTED_THEN_COMPLETED), {"every outcome follows from a fault"}, id="aborted without a fault"
    ),
    pytest.param(
        run(fault("loadgen", "stop"), attempts=ABORTED_THEN_COMPLETED),
        {"every outcome follows from a fault"},
        id="aborted by what is no part of it",
    ),
    pytest.param(
        run(
            fault("destination", "kill", "connect"),
            attempts=(attempt(1, "failed", moved=True),),
            verdict="FAILED",
            lost={"instance_down": 3},
        ),
        {"every outcome follows from a fault"},
        id="switched over to what had long been dead",
    ),
    pytest.param(
        run(fault("snapshot_stream", "corrupt", "snapshot")),
        {"every outcome follows from a fault"},
        id="a turned bit went unnoticed",
    ),
    pytest.param(
        run(fault("destination", "kill"), attempts=ABORTED_THEN_COMPLETED, lost={"instance_down": 1}),
        {"served without loss"},
        id="a packet lost although the source served on",
    ),
    pytest.param(
        run(fault("destination", "kill", "drain"), attempts=(attempt(1, "failed", moved=True),), verdict="VALID"),
        {"state never silently wrong", "the verdict tells of it"},
        id="failed and says nothing",
    ),
    pytest.param(
        run(fault("source", "stop"), verdict="FAILED", invariants={STATE: "broken"}),
        {"state never silently wrong", "invariants", "the verdict tells of it"},
        id="a wrong state",
    ),
    pytest.param(
        run(
            fault("destination", "kill", "drain"),
            attempts=(attempt(1, "failed", moved=True),),
            verdict="FAILED",
            invariants={MAPPINGS: "broken"},
        ),
        {"invariants"},
        id="a mapping changed even so",
    ),
    pytest.param(
        run(fault("loadgen", "kill"), blind=True), {"the verdict tells of it"}, id="VALID without a generator"
    ),
    pytest.param(
        run(fault("destination", "kill"), attempts=(), verdict="FAILED"),
        {"another attempt succeeds", "the verdict tells of it"},
        id="none",
    ),
]


@pytest.mark.parametrize(("summary", "names"), BROKEN)
def test_a_broken_promise_is_found(summary: RunSummary, names: set[str]) -> None:
    broken = {name for name, verdict in judged(summary).items() if verdict == "broken"}
    assert names - {"the verdict tells of it"} <= broken <= names
    assert overall(check(summary, 2, AROUND)) == "broken"


def test_what_nobody_saw_is_unknown() -> None:
    summary = run(fault("loadgen", "kill"), verdict="INVALID", blind=True)
    assert judged(summary) == {"served without loss": "unknown", LOSS: "unknown"}
    lost_by_us = run(fault("loadgen", "stop"), verdict="INVALID", lost={"not_sent": 4})
    assert judged(lost_by_us) == {"served without loss": "unknown"}
    assert judged(run(invariants={STATE: "unknown"})) == {"state never silently wrong": "unknown"}
    assert overall(check(summary, 2, AROUND)) == "unknown"


def test_a_deadline_that_passed_without_a_fault_may_be_the_machine() -> None:
    late = attempt(1, "aborted").model_copy(update={"reason": "message from source: did not happen within 1 s"})
    summary = run(attempts=(late, attempt(2, "completed")))
    assert judged(summary) == {"every outcome follows from a fault": "unknown"}


def test_a_run_that_ended_before_anything_happened_says_nothing() -> None:
    judgement = judged(run(attempts=(), verdict="INVALID"))
    assert judgement["another attempt succeeds"] == judgement["the verdict tells of it"] == "unknown"
    assert "broken" not in judgement.values()


def test_time_and_remains_are_promises_too() -> None:
    late = Surroundings(took_ns=61_000_000_000, deadline_ns=60_000_000_000, left_behind=("process 7",))
    assert judged(run(), late) == {"in time": "broken", "nothing is left behind": "broken"}


def test_a_fault_that_could_not_be_carried_out_is_a_doubt() -> None:
    failed = fault("latency", "kill").model_copy(update={"state": "failed", "begun_ns": None, "detail": "no process"})
    assert judged(run(failed)) == {"the faults were carried out": "unknown"}
