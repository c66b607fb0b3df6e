"""What [links] and [[impairment]] must satisfy beyond the type of each value. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from harness.profile.derived import NS_PER_S
from harness.profile.link_conditions import given, planned_steps, start_conditions
from harness.profile.links import Conditions, Impairment
from harness.profile.model import Profile
from harness.profile.quantities import MAX_FRAME_BYTES
from harness.testbed import topology as names
from harness.testbed.conditions import DIRECTIONS, MAX_DELAY_NS, MAX_RATE_BPS, MIN_RATE_BPS, LinkConditions
from harness.units import format_rate, format_size, format_time

FIFO_SHARE_MAX = 0.9
_OF_CPU = ("processes", "share", "nice", "scheduler")


class Found(NamedTuple):
    """Something wrong: dotted path of the key, and one sentence."""

    path: str
    message: str


def link_problems(profile: Profile) -> list[Found]:
    """Everything wrong with the two tables; the conditions of links can be calculated where there is nothing."""
    found: list[Found] = []
    for node in names.LINKED_NODES:
        for way in DIRECTIONS:
            found += _of_values(f"links.{node}.{way}", profile.links.of(node, way))
    for index, impairment in enumerate(profile.impairment):
        found += _of_values(f"impairment[{index}]", impairment)
        found += _of_impairment(f"impairment[{index}]", impairment, profile)
    if not found:
        found += _of_conditions(profile)
    return found


def _of_values(path: str, table: Conditions) -> Iterator[Found]:
    if table.rate_bps is not None and not MIN_RATE_BPS <= table.rate_bps <= MAX_RATE_BPS:
        bounds = f"between {format_rate(MIN_RATE_BPS)} and {format_rate(MAX_RATE_BPS)}"
        yield Found(f"{path}.rate", f"{format_rate(table.rate_bps)} is not {bounds}")
    for key, value_ns in (("latency", table.latency_ns), ("ipdv", table.ipdv_ns)):
        if value_ns is not None and value_ns > MAX_DELAY_NS:
            yield Found(f"{path}.{key}", f"{format_time(value_ns)} is above {format_time(MAX_DELAY_NS)}")


def _of_impairment(path: str, impairment: Impairment, profile: Profile) -> Iterator[Found]:
    action, timing = impairment.action, profile.timing
    if impairment.at_ns >= timing.load_until_ns:
        yield Found(
            f"{path}.at",
            f"{format_time(impairment.at_ns)} is not before timing.load_until ({format_time(timing.load_until_ns)}): "
            "nothing would meet it",
        )
    values = given(impairment)
    if action != "set" and values:
        yield Found(f"{path}.action", f"{action!r} changes no conditions of a link; leave {', '.join(values)} out")
    elif action == "set" and not values:
        yield Found(path, "says nothing of what changes; give a key of [links], such as rate or loss, or an action")
    if action in ("set", "down", "up") and impairment.link is None:
        yield Found(f"{path}.link", f"missing; {action!r} needs one of {', '.join(names.LINKED_NODES)}")
    if action in ("partition", "cpu") and impairment.link is not None:
        yield Found(f"{path}.link", f"{action!r} is not of a link; leave it out")
    if action != "set" and impairment.direction != "both":
        yield Found(f"{path}.direction", f"{action!r} is not of a direction; leave it out")
    if action == "up" and impairment.for_ns is not None:
        yield Found(f"{path}.for", "'up' ends what 'down' began; it does not last")
    yield from _of_cpu(path, impairment)


def _of_cpu(path: str, impairment: Impairment) -> Iterator[Found]:
    if impairment.action != "cpu":
        for key in _OF_CPU:
            if getattr(impairment, key) is not None:
                yield Found(f"{path}.{key}", f"is for the action 'cpu' only, not for {impairment.action!r}")
        return
    share = 1.0 if impairment.share is None else impairment.share
    if share == 0.0:
        yield Found(f"{path}.share", "0 is no contention; it must be above 0")
    if impairment.scheduler == "fifo":
        if share > FIFO_SHARE_MAX:
            yield Found(
                f"{path}.share",
                f"{share:g} of a CPU under SCHED_FIFO leaves nothing to others, this program included; at most "
                f"{FIFO_SHARE_MAX:g}",
            )
        if impairment.nice is not None:
            yield Found(f"{path}.nice", "has no meaning under SCHED_FIFO; leave it out")


def _of_conditions(profile: Profile) -> Iterator[Found]:
    """Whether what each link is at the start, and becomes, can be."""
    start = start_conditions(profile)
    for (node, way), conditions in start.items():
        table = profile.links.of(node, way)
        if given(table):
            yield from _of_one(f"links.{node}.{way}", conditions, table)
    for step in planned_steps(profile):
        index = int(step.path.removeprefix("impairment[").removesuffix("]"))
        for conditions in dict.fromkeys(step.conditions.values()):
            yield from _of_one(step.path, conditions, profile.impairment[index])
    load, both_ways = profile.load, {names.SOURCE: 1, names.LOADGEN: 2, names.ECHOSERVER: 2}
    for (node, way), conditions in start.items():
        needed_bps = load.rate_bps // both_ways.get(node, load.rate_bps)
        if profile.links.of(node, way).rate_bps is not None and needed_bps > (conditions.rate_bps or 0):
            yield Found(
                f"links.{node}.{way}.rate",
                f"{format_rate(conditions.rate_bps or 0)} is less than the {format_rate(needed_bps)} of load.rate that "
                "cross this link: it would drop with no migration",
            )


def _of_one(path: str, conditions: LinkConditions, table: Conditions) -> Iterator[Found]:
    if conditions.reordering and not conditions.latency_ns:
        yield Found(
            f"{path}.reordering", "frames overtake others by skipping the delay, and there is none: give latency"
        )
    if conditions.rate_bps is None:
        return
    burst_bytes = conditions.rate_bps * conditions.burst_ns // (8 * NS_PER_S)
    key = "burst" if table.burst_ns is not None else "rate"
    if burst_bytes < MAX_FRAME_BYTES:
        yield Found(
            f"{path}.{key}",
            f"{format_time(conditions.burst_ns)} at {format_rate(conditions.rate_bps)} is {burst_bytes} bytes, less "
            f"than one frame of {MAX_FRAME_BYTES}: nothing would pass the meter",
        )
    if burst_bytes >= 2**32:
        yield Found(f"{path}.{key}", f"{format_size(burst_bytes)} is more than the kernel's meter can hold (4 GiB)")
    least = names.Topology.gso_max_size_bytes
    if not least < conditions.queue_limit_bytes < 2**32:
        yield Found(
            f"{path}.queue_limit",
            f"{format_size(conditions.queue_limit_bytes)} must be more than {least} bytes, the largest piece in which "
            "TCP hands segments over, and less than 4 GiB",
        )
