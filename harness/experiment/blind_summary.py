"""The summary of a run whose load generator or echoserver did not live to write its records: no figures of the traffic,
and INVALID unless something is known to have failed.
"""

from __future__ import annotations

from datetime import UTC, datetime

from harness.experiment.collect import instance_pairs
from harness.experiment.fault_summary import fault_doubts, fault_failures, fault_part
from harness.experiment.run_record import RunRecord
from harness.experiment.summary import gather_evidence, host_part, migration_part
from harness.measure.host import load_between
from harness.measure.invariants import check_migration, counters_exact, state_equals_reference
from harness.measure.validity import RunConditions, decide_validity
from harness.plan import Plan
from harness.profile.model import Profile
from harness.record.rundir import Folder
from harness.record.summary import CalibrationSummary, InvariantSummary, LoadSummary, RunSummary, ValiditySummary


def summarise_blind(
    profile: Profile, plan: Plan, record: RunRecord, folder: Folder, run_id: str, backend: str
) -> RunSummary:
    """State and migration are judged as in every run; of packets nothing is known."""
    assert record.before is not None
    assert record.after is not None
    evidence = gather_evidence(profile, record, folder)
    invariants = [
        state_equals_reference(evidence.comparison),
        counters_exact(instance_pairs(record.before, record.after, record.restless)),
    ]
    if evidence.migrated:
        invariants += check_migration(
            evidence.statelets, evidence.before_activation_packets, evidence.after_drain_packets
        )
    host = load_between(record.host[0], record.host[-1])
    outcome = record.outcome
    validity = decide_validity(
        RunConditions(
            unsent_packets=None,
            send_lateness_p99_ns=None,
            send_lateness_max_ns=None,
            meter_burst_ns=profile.uplink.burst_ns,
            loadgen_kernel_dropped_packets=None,
            echoserver_kernel_dropped_packets=None,
            run_delay_fractions={name: load.run_delay_fraction for name, load in host.processes.items()},
            steal_fraction=host.steal_fraction,
            base_rtt_median_ns=None,
            base_rtt_expected_ns=None,
            migration_outcome="none" if outcome is None else outcome.outcome,
            migration_reason="" if outcome is None else outcome.reason,
            invariants=invariants,
            has_generator=False,
            failures=fault_failures(record, None),
            doubts=fault_doubts(record),
        )
    )
    return RunSummary(
        run_id=run_id,
        profile=profile.name,
        mode=record.run.mode,
        repetition=record.run.repetition + 1,
        started_utc=datetime.fromtimestamp(record.started_wall_ns / 1e9, UTC).isoformat(),
        validity=ValiditySummary.model_validate(validity),
        load=LoadSummary(offered_bps=plan.offered_bps, frame_bytes=plan.frame_bytes),
        invariants=tuple(InvariantSummary.model_validate(invariant) for invariant in invariants),
        migration=migration_part(record, None),
        calibration=CalibrationSummary(latency_backend=backend),
        host=host_part(host),
        faults=fault_part(record),
    )
