"""What the summary of every run says, whatever is known of its packets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from harness.dataplane import engine_state as es
from harness.experiment.fault_summary import fault_part
from harness.experiment.impairment_summary import described_links, impairment_summaries
from harness.experiment.migration import migration_summary
from harness.experiment.run_record import RunRecord
from harness.experiment.sampling import port_word
from harness.measure.host import HostLoad, load_between, together
from harness.measure.invariants import Invariant
from harness.measure.validity import Validity
from harness.profile.model import Profile
from harness.record.summary import (
    HostSummary,
    InvariantSummary,
    MigrationSummary,
    OtherHostSummary,
    PortDepths,
    ProcessSummary,
    ValiditySummary,
)
from harness.testbed import topology as names


def of_any_run(
    profile: Profile,
    record: RunRecord,
    run_id: str,
    validity: Validity,
    invariants: Sequence[Invariant],
    host: HostLoad,
    downtime_ns: int | None = None,
) -> dict[str, Any]:
    """Fields of RunSummary. host: from `host_load`; downtime_ns: None where no packets tell."""
    return {
        "run_id": run_id,
        "profile": profile.name,
        "mode": record.run.mode,
        "repetition": record.run.repetition + 1,
        "started_utc": datetime.fromtimestamp(record.started_wall_ns / 1e9, UTC).isoformat(),
        "validity": ValiditySummary.model_validate(validity),
        "invariants": tuple(InvariantSummary.model_validate(invariant) for invariant in invariants),
        "migration": _migration(record, downtime_ns),
        "host": _host(host),
        "links": described_links(profile),
        "impairments": impairment_summaries(record.impairments, record.window_start_ns),
        "faults": fault_part(record),
        "other_hosts": _other_hosts(record),
    }


def host_load(record: RunRecord) -> HostLoad:
    """The machines of a run over its load, judged by the worst of them."""
    return together([load_between(read[0], read[-1]) for read in (record.host, *record.other_hosts.values())])


def _other_hosts(record: RunRecord) -> dict[str, OtherHostSummary]:
    return {
        name: OtherHostSummary(nodes=nodes, clock_offset_ns=at.offset_ns, clock_error_bound_ns=at.error_bound_ns)
        for name, (nodes, at) in record.clocks.items()
    }


def _migration(record: RunRecord, downtime_ns: int | None) -> MigrationSummary:
    """The migration, with the depths of the queues that the instances' pages keep."""
    destination = record.pages.get(names.DESTINATION)
    depths = PortDepths()
    if destination is not None:
        depths = PortDepths(
            interior=port_word(destination, 0, es.PKT_Q_DEPTH_MAX),
            exterior=port_word(destination, 1, es.PKT_Q_DEPTH_MAX),
        )
    st_q_out = int(record.pages[names.SOURCE][es.ST_Q_DEPTH_MAX_AT])
    return migration_summary(
        record.outcome, depths, st_q_out, downtime_ns, record.encryption, record.refused_connections
    )


def _host(host: HostLoad) -> HostSummary:
    """The machine over the run."""
    return HostSummary(
        wall_ns=host.wall_ns,
        steal_fraction=host.steal_fraction,
        idle_fraction=host.idle_fraction,
        processes={name: ProcessSummary(**asdict(load)) for name, load in host.processes.items()},
    )
