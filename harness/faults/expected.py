"""What each fault may lead to, by the phase during which it began. An attempt may always complete, unless a stream was
damaged; everything else has to stand here.
"""

from __future__ import annotations

from harness.faults.schedule import PHASES_BEFORE, STREAMS
from harness.migration.phases import ControllerPhase
from harness.record.summary import FaultSummary

COMPLETED, ABORTED, FAILED = "completed", "aborted", "failed"
FAILED_AFTER = "failed after the switchover"

_BEFORE = frozenset(phase.value for phase in PHASES_BEFORE)
_TOO_LATE = frozenset({ControllerPhase.RESYNCHRONISE.value, ControllerPhase.COMMIT.value})
"""What happens then may be noticed only after the switchover, which is a few messages later."""
_OVER = frozenset({ControllerPhase.COMPLETED.value, ControllerPhase.ABORTED.value, ControllerPhase.FAILED.value})


def may_lead_to(fault: FaultSummary) -> frozenset[str]:
    """Outcomes of the attempt it happened in, and of later ones, beside COMPLETED.

    "failed" without a switchover means that the source could not be asked whether it serves on, or is no more.
    """
    target, action = fault.target, fault.action
    if target in ("loadgen", "echoserver", "disk"):
        return frozenset()  # no part of the migration
    if target == "snapshot_stream":
        return frozenset({ABORTED})  # all of it comes before the redirect
    before = fault.phase in _BEFORE or fault.phase in _OVER or not fault.phase
    undecided = not before or fault.phase in _TOO_LATE or target in STREAMS
    outcomes = set()
    if before:
        outcomes.add(ABORTED)
        if target in ("source", "latency", "management"):
            outcomes.add(FAILED)  # nobody confirms the abort
    if undecided:
        outcomes.add(FAILED_AFTER)
    if action in ("stop", "cut"):
        # It may begin before the switchover and go on after it, and hold up what has a deadline there.
        outcomes |= {ABORTED, FAILED, FAILED_AFTER}
    return frozenset(outcomes)
