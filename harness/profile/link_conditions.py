"""From [uplink], [links] and [[impairment]] to what each direction of each link is, when. Pure.

What is true at any moment follows from what is in force then: the conditions of the start, and over them every
impairment that has begun and not ended, in the order of their beginning. So one that ends leaves what was before, and
what has been laid over it meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from harness.profile.links import Conditions, Impairment
from harness.profile.model import Profile
from harness.testbed import topology as names
from harness.testbed.conditions import DIRECTIONS, Direction, LaterConditions, LinkConditions
from harness.units import format_rate, format_size, format_time

LinkWay = tuple[str, Direction]


@dataclass(frozen=True)
class Contention:
    """Processes that compete for the CPUs: each computes `share` of the time, for `duration_ns` at most."""

    processes: int
    share: float
    duration_ns: int
    nice: int = 0
    is_fifo: bool = False


@dataclass(frozen=True)
class Step:
    """One moment at which something changes. `at_ns` counts from s; `path` is that of the impairment.

    Conditions and links hold what becomes of them; `isolated` None: the partition stays as it is.
    """

    at_ns: int
    path: str
    text: str
    is_restoration: bool = False
    conditions: Mapping[LinkWay, LinkConditions] = field(default_factory=dict)
    links_up: Mapping[str, bool] = field(default_factory=dict)
    isolated: bool | None = None
    contention: Contention | None = None


def start_conditions(profile: Profile) -> dict[LinkWay, LinkConditions]:
    """Of every direction of every link. ProfileError where a value means nothing."""
    return {
        (node, way): _overlaid(_default(profile, node), profile.links.of(node, way))
        for node in names.LINKED_NODES
        for way in DIRECTIONS
    }


def _default(profile: Profile, node: str) -> LinkConditions:
    uplink = profile.uplink
    metered = LinkConditions(uplink.rate_bps, uplink.burst_ns, uplink.queue_limit_bytes, uplink.latency_ns)
    return metered if node in names.INSTANCES else replace(metered, rate_bps=None, latency_ns=0)


def given(table: Conditions) -> dict[str, Any]:
    """What the table says, by attribute of LinkConditions."""
    values = {name: getattr(table, name) for name in Conditions.model_fields}
    return {name: value for name, value in values.items() if value is not None}


def _overlaid(conditions: LinkConditions, table: Conditions) -> LinkConditions:
    return replace(conditions, **given(table))


def targets(impairment: Impairment) -> tuple[LinkWay, ...]:
    """The directions of links that an impairment of the action "set" changes."""
    if impairment.action != "set" or impairment.link is None:
        return ()
    return tuple((impairment.link, way) for way in DIRECTIONS if impairment.direction in (way, "both"))


def load_end_ns(profile: Profile) -> int:
    """From s to the end of the load, at which everything is put back."""
    return profile.timing.load_until_ns


def planned_steps(profile: Profile) -> tuple[Step, ...]:
    """Every change of a run, in order. What would end at or after the end of the load is put back by the run's end."""
    edges: list[tuple[int, bool, int]] = []
    for index, impairment in enumerate(profile.impairment):
        edges.append((impairment.at_ns, True, index))
        end_ns = impairment.at_ns + (impairment.for_ns or 0)
        if impairment.for_ns is not None and end_ns < load_end_ns(profile) and impairment.action != "cpu":
            edges.append((end_ns, False, index))
    base = start_conditions(profile)
    active: list[int] = []
    steps = []
    # At the same moment what ends goes before what begins.
    for at_ns, begins, index in sorted(edges):
        before = _state(profile, base, active)
        active = [*active, index] if begins else [other for other in active if other != index]
        steps.append(_step(profile, at_ns, begins, index, before, _state(profile, base, active)))
    return tuple(steps)


@dataclass(frozen=True)
class _State:
    conditions: Mapping[LinkWay, LinkConditions]
    links_up: Mapping[str, bool]
    isolated: bool


def _state(profile: Profile, base: Mapping[LinkWay, LinkConditions], active: list[int]) -> _State:
    conditions = dict(base)
    links_up = dict.fromkeys(names.LINKED_NODES, True)
    isolated = False
    for index in active:
        impairment = profile.impairment[index]
        for link_way in targets(impairment):
            conditions[link_way] = _overlaid(conditions[link_way], impairment)
        if impairment.action in ("down", "up") and impairment.link is not None:
            links_up[impairment.link] = impairment.action == "up"
        isolated = isolated or impairment.action == "partition"
    return _State(conditions, links_up, isolated)


def _step(profile: Profile, at_ns: int, begins: bool, index: int, before: _State, after: _State) -> Step:
    impairment = profile.impairment[index]
    contention = None
    if impairment.action == "cpu":
        left_ns = load_end_ns(profile) - at_ns
        contention = Contention(
            processes=impairment.processes or 1,
            share=1.0 if impairment.share is None else impairment.share,
            duration_ns=left_ns if impairment.for_ns is None else min(left_ns, impairment.for_ns),
            nice=impairment.nice or 0,
            is_fifo=impairment.scheduler == "fifo",
        )
    text = describe_impairment(impairment)
    return Step(
        at_ns=at_ns,
        path=f"impairment[{index}]",
        text=text if begins else f"end of {text}",
        is_restoration=not begins,
        conditions={
            key: value
            for key, value in after.conditions.items()
            if value != before.conditions[key] or key in targets(impairment)
        },
        links_up={
            node: up
            for node, up in after.links_up.items()
            if up != before.links_up[node] or (impairment.action in ("down", "up") and node == impairment.link)
        },
        isolated=after.isolated if impairment.action == "partition" else None,
        contention=contention,
    )


def later_conditions(profile: Profile) -> tuple[LaterConditions, ...]:
    """What links will be, for a testbed that has to be able to."""
    return tuple(
        LaterConditions(step.path, node, way, conditions)
        for step in planned_steps(profile)
        for (node, way), conditions in step.conditions.items()
    )


def flapping(profile: Profile) -> frozenset[str]:
    """Nodes whose link goes down."""
    return frozenset(item.link for item in profile.impairment if item.action == "down" and item.link is not None)


def base_rtt_ns(profile: Profile) -> int:
    """What the links add to a round trip through the source before anything changes; 0 where nothing delays."""
    if profile.uplink.latency_backend == "none":
        return 0
    conditions = start_conditions(profile)
    ends = sum(conditions[node, way].latency_ns for node in (names.LOADGEN, names.ECHOSERVER) for way in DIRECTIONS)
    return ends + 2 * sum(conditions[names.SOURCE, way].latency_ns for way in DIRECTIONS)


def describe_impairment(impairment: Impairment) -> str:
    """In a few words, for people."""
    if impairment.action == "partition":
        return "source and destination partitioned"
    if impairment.action == "cpu":
        policy = ", SCHED_FIFO" if impairment.scheduler == "fifo" else ""
        policy += f", nice {impairment.nice}" if impairment.nice else ""
        share = 1.0 if impairment.share is None else impairment.share
        return f"CPU contention: {impairment.processes or 1} at {share:.0%}{policy}"
    if impairment.action in ("down", "up"):
        return f"link of {impairment.link} {impairment.action}"
    way = "" if impairment.direction == "both" else f" {impairment.direction}"
    return f"{impairment.link}{way}: {describe_conditions(impairment)}"


def describe_conditions(table: Conditions) -> str:
    """The keys a table gives, as a profile would write them."""
    return ", ".join(_words(given(table)))


def _words(values: Mapping[str, Any]) -> Iterator[str]:
    shown = {"_bps": format_rate, "_ns": format_time, "_bytes": format_size}
    for name, value in values.items():
        suffix = f"_{name.rpartition('_')[2]}"
        if suffix in shown:
            yield f"{name.removesuffix(suffix)} {shown[suffix](value)}"
        else:
            yield f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}"
