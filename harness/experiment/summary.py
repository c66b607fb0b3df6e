"""From the record of a run to its summary: metrics, ledger, invariants, verdict. Reads the run's files only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, Literal

import numpy as np

from harness.experiment.any_summary import host_load, of_any_run
from harness.experiment.collect import counter_pairs, hop_counters, read_report
from harness.experiment.evidence import gather_evidence
from harness.experiment.fault_summary import fault_doubts, fault_failures
from harness.experiment.impairment_summary import (
    contends,
    expected_base_rtt,
    judged_run_delays,
    link_evidence,
)
from harness.experiment.link_bounds import comparable_pairs, link_bounds
from harness.experiment.migration import CONTROL
from harness.experiment.run_record import RunRecord
from harness.measure.invariants import CounterPair, Invariant, check_invariants
from harness.measure.ledger import Ledger, attribute
from harness.measure.metrics import Window, longest_gap, traffic_metrics
from harness.measure.packets import PacketRecords, load_packet_records
from harness.measure.validity import RunConditions, decide_validity
from harness.migration.outcome import MigrationOutcome
from harness.plan import Plan, PlannedRun
from harness.profile.model import Profile
from harness.record.rundir import Folder
from harness.record.summary import (
    CalibrationSummary,
    GeneratorSummary,
    LedgerSummary,
    LoadSummary,
    MigrationSummary,
    RunSummary,
    TrafficSummary,
    ValiditySummary,
)
from harness.testbed import topology as names


def summarise(
    profile: Profile, plan: Plan, record: RunRecord, folder: Folder, run_id: str, backend: str
) -> tuple[RunSummary, PacketRecords]:
    """The summary of a run and its packets. RunFailed when a process left no usable records."""
    packets = load_packet_records(
        folder.file("loadgen.npz"), folder.file("echoserver.npz"), profile.load.subscribers.handover_grace_ns
    )
    loadgen, echoserver = (read_report(folder.path / f"{title}.json") for title in (names.LOADGEN, names.ECHOSERVER))
    assert record.before is not None
    assert record.after is not None
    timing = profile.timing
    window = Window(record.window_start_ns, record.window_start_ns + timing.window_ns)
    links = link_evidence(profile, record.before, record.after, record.impairments, record.elsewhere)
    bounds = link_bounds(links, packets, timing.late_ns, loadgen, echoserver)
    copies = links.any_has("duplication")
    hops = hop_counters(record.before, record.after, loadgen, echoserver, record.ended, bounds, copies)
    ledger = attribute(packets, hops, late_ns=timing.late_ns)
    measured = traffic_metrics(packets, window, late_ns=timing.late_ns, interval_ns=timing.interval_ns)
    total = traffic_metrics(packets, late_ns=timing.late_ns, interval_ns=timing.interval_ns)
    pairs = comparable_pairs(links, counter_pairs(record.before, record.after, loadgen, echoserver, record.restless))
    invariants = _invariants(profile, record, folder, packets, ledger, pairs)
    host = host_load(record)
    calibration = _calibration(profile, packets, record.window_start_ns, backend)
    outcome = record.outcome
    validity = decide_validity(
        RunConditions(
            unsent_packets=loadgen["unsent_packets"],
            send_lateness_p99_ns=(loadgen["send_lateness_ns"] or {}).get("p99"),
            send_lateness_max_ns=(loadgen["send_lateness_ns"] or {}).get("maximum"),
            meter_burst_ns=profile.uplink.burst_ns,
            loadgen_kernel_dropped_packets=loadgen["kernel_dropped_packets"] - loadgen.get("unread_packets", 0),
            echoserver_kernel_dropped_packets=echoserver["kernel_dropped_packets"],
            run_delay_fractions=judged_run_delays(profile, host),
            steal_fraction=host.steal_fraction,
            base_rtt_median_ns=calibration.base_rtt_median_ns,
            base_rtt_expected_ns=calibration.base_rtt_expected_ns,
            late_ns=timing.late_ns,
            migration_outcome="none" if outcome is None else outcome.outcome,
            migration_reason="" if outcome is None else outcome.reason,
            invariants=invariants,
            base_rtt_tolerance_ns=expected_base_rtt(profile, backend)[1],
            contends_on_purpose=contends(profile),
            failures=fault_failures(record, ledger),
            doubts=(*fault_doubts(record), *record.impairments.doubts, *_unread(loadgen)),
        )
    )
    summary = RunSummary(
        **of_any_run(profile, record, run_id, validity, invariants, host, _downtime_ns(record.outcome, packets)),
        load=LoadSummary(
            offered_bps=plan.offered_bps,
            frame_bytes=plan.frame_bytes,
            one_way_pps=float(plan.requests_per_s),
            flows=packets.flows,
        ),
        window=TrafficSummary.model_validate(asdict(measured)),
        total=TrafficSummary.model_validate(asdict(total)),
        ledger=LedgerSummary.model_validate(ledger),
        generator=_generator(loadgen, echoserver),
        calibration=calibration,
        capture=loadgen.get("capture"),
    )
    return summary, packets


def _invariants(
    profile: Profile,
    record: RunRecord,
    folder: Folder,
    packets: PacketRecords,
    ledger: Ledger,
    pairs: Sequence[CounterPair],
) -> list[Invariant]:
    evidence = gather_evidence(profile, record, folder)
    return check_invariants(
        packets,
        ledger,
        evidence.comparison,
        pairs,
        migrated=evidence.migrated,
        statelets=evidence.statelets,
        destination_sent_before_activation_packets=evidence.before_activation_packets,
        source_sent_after_drain_packets=evidence.after_drain_packets,
    )


def _calibration(profile: Profile, packets: PacketRecords, window_start_ns: int, backend: str) -> CalibrationSummary:
    """Median RTT of the warm-up, when nothing but the load is there, against what the links should add up to."""
    expected_ns = expected_base_rtt(profile, backend)[0]
    chosen = (packets.intended_ns < window_start_ns) & (packets.received_ns > 0)
    if not chosen.any():
        return CalibrationSummary(base_rtt_expected_ns=expected_ns, latency_backend=backend)
    median_ns = int(np.median(packets.received_ns[chosen] - packets.intended_ns[chosen]))
    return CalibrationSummary(base_rtt_median_ns=median_ns, base_rtt_expected_ns=expected_ns, latency_backend=backend)


def _downtime_ns(outcome: MigrationOutcome | None, packets: PacketRecords) -> int | None:
    """Longest time without an arrival from the trigger of the migration to a second after its end."""
    if outcome is None:
        return None
    inside = (packets.intended_ns >= outcome.started_ns) & (packets.intended_ns < outcome.ended_ns + 1_000_000_000)
    return longest_gap(packets.intended_ns[inside], packets.delivered_ns[inside])[1]


def _unread(loadgen: Mapping[str, Any]) -> tuple[str, ...]:
    """Replies that came when nobody waited for them any more: neither delivered nor lost on their way."""
    packets = loadgen.get("unread_packets", 0)
    return (f"{packets} packets came too late to be read; raise timing.wait_for_replies",) if packets else ()


def _generator(loadgen: Mapping[str, Any], echoserver: Mapping[str, Any]) -> GeneratorSummary:
    lateness = loadgen["send_lateness_ns"] or {}
    return GeneratorSummary(
        unsent_packets=loadgen["unsent_packets"],
        send_lateness_p50_ns=lateness.get("p50"),
        send_lateness_p99_ns=lateness.get("p99"),
        send_lateness_max_ns=lateness.get("maximum"),
        loadgen_kernel_dropped_packets=loadgen["kernel_dropped_packets"],
        echoserver_kernel_dropped_packets=echoserver["kernel_dropped_packets"],
    )


def unusable(
    started_wall_ns: int,
    plan: Plan,
    profile: Profile,
    run: PlannedRun,
    run_id: str,
    reason: str,
    verdict: Literal["FAILED", "INVALID"],
) -> RunSummary:
    """The summary of a run that ended without records, kept with its reason: FAILED, or INVALID when it was broken off
    from outside or the testbed did not come up, which says nothing about the migration."""
    failed = verdict == "FAILED" and run.mode != CONTROL
    return RunSummary(
        run_id=run_id,
        profile=profile.name,
        mode=run.mode,
        repetition=run.repetition + 1,
        started_utc=datetime.fromtimestamp(started_wall_ns / 1e9, UTC).isoformat(),
        validity=ValiditySummary(verdict=verdict, reasons=(reason,)),
        load=LoadSummary(offered_bps=plan.offered_bps, frame_bytes=plan.frame_bytes),
        migration=MigrationSummary(outcome="failed" if failed else "none", reason=reason),
    )
