"""The summary of a run of whose packets nothing is known: no figures of the traffic and no ledger; state, migration and
machine are judged as in every run.
"""

from __future__ import annotations

from collections.abc import Sequence

from harness.experiment.any_summary import host_load, of_any_run
from harness.experiment.collect import instance_pairs
from harness.experiment.evidence import gather_evidence
from harness.experiment.fault_summary import fault_doubts, fault_failures
from harness.experiment.impairment_summary import judged_run_delays
from harness.experiment.run_record import RunRecord
from harness.measure.invariants import Invariant, check_migration, counters_exact, state_equals_reference
from harness.measure.validity import RunConditions, decide_validity
from harness.plan import Plan
from harness.profile.model import Profile
from harness.record.rundir import Folder
from harness.record.summary import (
    CalibrationSummary,
    CommandSummary,
    LoadSummary,
    RunSummary,
)


def summarise_unseen(
    profile: Profile,
    plan: Plan,
    record: RunRecord,
    run_id: str,
    backend: str,
    invariants: Sequence[Invariant],
    failures: Sequence[str] = (),
    doubts: Sequence[str] = (),
    command: CommandSummary | None = None,
) -> RunSummary:
    """failures, doubts: those of the run's own kind; what faults and impairments say comes on top."""
    outcome = record.outcome
    host = host_load(record)
    validity = decide_validity(
        RunConditions(
            unsent_packets=None,
            send_lateness_p99_ns=None,
            send_lateness_max_ns=None,
            meter_burst_ns=profile.uplink.burst_ns,
            loadgen_kernel_dropped_packets=None,
            echoserver_kernel_dropped_packets=None,
            run_delay_fractions=judged_run_delays(profile, host),
            steal_fraction=host.steal_fraction,
            base_rtt_median_ns=None,
            base_rtt_expected_ns=None,
            migration_outcome="none" if outcome is None else outcome.outcome,
            migration_reason="" if outcome is None else outcome.reason,
            invariants=list(invariants),
            has_generator=False,
            failures=[*failures, *fault_failures(record, None)],
            doubts=[*doubts, *fault_doubts(record), *record.impairments.doubts],
        )
    )
    return RunSummary(
        **of_any_run(profile, record, run_id, validity, invariants, host),
        load=LoadSummary(offered_bps=plan.offered_bps, frame_bytes=plan.frame_bytes),
        calibration=CalibrationSummary(latency_backend=backend),
        command=command,
    )


def unseen_invariants(profile: Profile, record: RunRecord, folder: Folder) -> list[Invariant]:
    """What can be known without the packets: not where the echoserver saw flows come from, and no ledger."""
    assert record.before is not None
    assert record.after is not None
    evidence = gather_evidence(profile, record, folder)
    found = [state_equals_reference(evidence.comparison)]
    pairs = instance_pairs(record.before, record.after, record.restless)
    if pairs and record.is_quiet:
        found.append(counters_exact(pairs))
    if evidence.migrated:
        found += check_migration(evidence.statelets, evidence.before_activation_packets, evidence.after_drain_packets)
    return found
