"""What a run left for its promises, whatever was sent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from harness.dataplane import engine_state as es
from harness.experiment.migration import statelet_counters
from harness.experiment.processes import trace_path
from harness.experiment.run_record import RunRecord
from harness.experiment.sampling import port_word
from harness.experiment.verification import compare_with_reference
from harness.measure.invariants import StateletCounters
from harness.profile.model import Profile
from harness.record.rundir import Folder
from harness.testbed import topology as names


@dataclass(frozen=True)
class Evidence:
    """The state against the reference's, the stream, and packets of those who had to be silent."""

    comparison: Mapping[str, Any]
    migrated: bool
    statelets: StateletCounters | None
    before_activation_packets: int | None
    after_drain_packets: int


def gather_evidence(profile: Profile, record: RunRecord, folder: Folder) -> Evidence:
    """Compare the state with the reference's and read the counters of the instances."""
    outcome = record.outcome
    moved = record.owner == names.DESTINATION
    owners = names.INSTANCES if moved else (names.SOURCE,)
    comparison = compare_with_reference(
        profile,
        [record.traces.get(node, trace_path(folder.path, node)) for node in owners],
        record.state,
        record.doubts,
        table_seed=record.table_seed,
        last_records=record.state_records,
        reference=record.reference,
    )
    if comparison is None:
        comparison = {"equal": None, "difference": "dataplane.verify is off"}
    source, destination = record.pages[names.SOURCE], record.pages.get(names.DESTINATION)
    before_activation = None
    if destination is not None:
        activated_ns, first_ns = int(destination[es.ACTIVATED_NS_AT]), int(destination[es.FIRST_FORWARDED_NS_AT])
        before_activation = int(first_ns != 0 and (activated_ns == 0 or first_ns < activated_ns))
    announced = int(source[es.STATELETS_AT])
    return Evidence(
        comparison=comparison,
        migrated=moved,
        statelets=None if outcome is None else statelet_counters(outcome, announced),
        before_activation_packets=before_activation,
        after_drain_packets=sum(port_word(source, port, es.AFTER_DRAIN) for port in (0, 1)),
    )
