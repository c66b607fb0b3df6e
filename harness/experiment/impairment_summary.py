"""What a run's impairments mean for its summary: bounds of the ledger, what is judged, what is listed. Pure."""

from __future__ import annotations

from collections.abc import Collection

from harness.experiment.collect import Reading, refused_frames
from harness.experiment.impairments import ImpairmentRecord
from harness.experiment.link_bounds import LinkEvidence
from harness.measure.host import HostLoad
from harness.profile.link_conditions import base_rtt_ns, describe_conditions, given, planned_steps, start_conditions
from harness.profile.model import Profile
from harness.profile.topology import make_topology
from harness.record.summary import ImpairmentSummary
from harness.testbed import topology as names
from harness.testbed.conditions import DIRECTIONS

_ANY_RUN = "aaaaaaaa"
_SYMMETRICAL = ("uniform", "normal")
_REORDERED_MAX = 0.25
"""Of round trips: if more skip a delay, their median says nothing of the links."""


def link_evidence(
    profile: Profile,
    before: Reading,
    after: Reading,
    impairments: ImpairmentRecord,
    elsewhere: Collection[str] = (),
) -> LinkEvidence:
    """What the links were and counted in a run. elsewhere: nodes on other hosts."""
    return LinkEvidence(
        ever=make_topology(profile, _ANY_RUN).ever,
        before=before.fabric,
        after=after.fabric,
        outages=impairments.outages,
        refused=refused_frames(before, after),
        tunnels=elsewhere,
    )


def contends(profile: Profile) -> bool:
    """Whether other processes compete for the CPUs on purpose."""
    return any(step.contention is not None for step in planned_steps(profile))


def judged_run_delays(profile: Profile, host: HostLoad) -> dict[str, float | None]:
    """Of the processes that must have had a CPU when they wanted one: without those that were to be held up."""
    spared = set(names.INSTANCES) if contends(profile) else set()
    return {name: load.run_delay_fraction for name, load in host.processes.items() if name not in spared}


def expected_base_rtt(profile: Profile, backend: str) -> tuple[int | None, int]:
    """(expected base RTT, tolerance beside the usual) in ns; None where there is nothing to be right about."""
    expected_ns = base_rtt_ns(profile) if backend != "none" else 0
    if not expected_ns:
        return None, 0
    start = start_conditions(profile)
    crossed = [
        start[node, way] for node in (names.LOADGEN, names.ECHOSERVER, names.SOURCE, names.SOURCE) for way in DIRECTIONS
    ]
    if sum(conditions.reordering for conditions in crossed) > _REORDERED_MAX:
        return None, 0
    # Draws that are not symmetrical, or cut off at a delay of 0, move the median by a part of their deviation.
    skewed = [
        conditions.ipdv_ns
        for conditions in crossed
        if conditions.ipdv_distribution not in _SYMMETRICAL or conditions.ipdv_ns > conditions.latency_ns
    ]
    return expected_ns, sum(skewed)


def described_links(profile: Profile) -> dict[str, str]:
    """Conditions that [links] gives, by link and direction."""
    ways = [(node, way, profile.links.of(node, way)) for node in names.LINKED_NODES for way in DIRECTIONS]
    return {f"{node} {way}": describe_conditions(table) for node, way, table in ways if given(table)}


def impairment_summaries(impairments: ImpairmentRecord, window_start_ns: int) -> tuple[ImpairmentSummary, ...]:
    """Every change that was carried out, or tried."""
    return tuple(
        ImpairmentSummary(
            at_ns=carried.entry.at_ns - window_start_ns,
            text=carried.entry.name,
            late_ns=carried.late_ns,
            duration_ns=carried.ended_ns - carried.started_ns,
            error=carried.error,
        )
        for carried in impairments.carried
    )
