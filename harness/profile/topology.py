"""The testbed a profile asks for. Pure."""

from __future__ import annotations

from harness.profile.link_conditions import LinkWay, flapping, given, later_conditions, start_conditions
from harness.profile.model import Profile
from harness.testbed.conditions import LinkConditions
from harness.testbed.placement import HERE, Placement
from harness.testbed.topology import Topology, UplinkSpec


def make_topology(profile: Profile, run_id: str, placement: Placement = HERE) -> Topology:
    """The description of a run's testbed, on the hosts of `placement` (the profile knows only their names).
    ProfileError where no such testbed can be built.
    """
    uplink = profile.uplink
    return Topology(
        run_id=run_id,
        uplink=UplinkSpec(
            rate_bps=uplink.rate_bps,
            burst_bytes=uplink.rate_bps * uplink.burst_ns // 8_000_000_000,
            queue_limit_bytes=uplink.queue_limit_bytes,
            latency_ns=uplink.latency_ns,
        ),
        latency_backend=uplink.latency_backend,
        kernel_stacks=profile.load.workload == "command",
        links=_said(profile),
        later=later_conditions(profile),
        flapping=flapping(profile),
        placement=placement,
    )


def _said(profile: Profile) -> dict[LinkWay, LinkConditions]:
    """Conditions of the links of which [links] says anything."""
    conditions = start_conditions(profile)
    return {(node, way): conditions[node, way] for node, way in conditions if given(profile.links.of(node, way))}
