"""What makes latency and impairments of a testbed: netem, the latency generator, the delay lines, or nothing. Pure.

Meters are tbf whatever the backend, and links going down, partitions and changes of rates need none.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from harness.errors import MachineError, ProfileError
from harness.provision.facts import Facts
from harness.testbed import topology as names
from harness.testbed.conditions import Direction, LinkConditions
from harness.testbed.topology import Topology

NETEM, GENERATOR, DELAY_LINE, NONE = "netem", "latency_generator", "delay_line", "none"

_IMPAIRMENTS = {
    "ipdv": "ipdv_ns",
    "loss": "loss",
    "duplication": "duplication",
    "reordering": "reordering",
    "corruption": "corruption",
}


@dataclass(frozen=True)
class Backend:
    """What will run, and why, in a few words."""

    name: str
    reason: str


@dataclass(frozen=True)
class _Asked:
    """Something a backend would have to do: the path of the key that asks for it, the key's name."""

    path: str
    key: str


def resolve_backend(topology: Topology, facts: Facts) -> Backend:
    """The backend that will run. ProfileError where the profile asks for what the backend it names cannot do,
    MachineError where this machine lacks what would be needed.
    """
    requested = topology.latency_backend
    asked = list(_asked(topology))
    if requested == NONE:
        # A latency is then ignored, as it always was: the same profile with and without.
        _refuse([item for item in asked if item.key != "latency"], requested, "it adds nothing to a link")
        return Backend(NONE, "the profile asks for no latency")
    if not asked:
        return Backend(NONE, "no link has a latency or an impairment")
    if requested == "auto":
        return _automatic(topology, asked, facts)
    if requested == NETEM:
        if not facts.features.netem:
            raise MachineError(
                f"latency backend netem: the kernel {facts.kernel_release} has no sch_netem; use auto, which takes "
                "what there is instead"
            )
    elif requested == DELAY_LINE:
        _refuse(list(_beyond_delay_line(topology, asked)), requested, "it only delays, every instance link by the same")
    else:
        _refuse([item for item in asked if item.key == "corruption"], requested, "it corrupts no frame")
    return Backend(requested, "the profile asks for it")


def common_facts(facts: Facts, others: Sequence[Facts]) -> Facts:
    """The facts of the harness's host, with netem only where every host has it: one backend serves all of them."""
    lacking = next((other for other in others if not other.features.netem), None)
    if lacking is None or not facts.features.netem:
        return facts
    return replace(facts, kernel_release=lacking.kernel_release, features=replace(facts.features, netem=False))


def _automatic(topology: Topology, asked: list[_Asked], facts: Facts) -> Backend:
    if facts.features.netem:
        return Backend(NETEM, "the kernel has it, and it does everything")
    lacking = f"the kernel {facts.kernel_release} has no netem"
    beyond = next(_beyond_delay_line(topology, asked), None)
    if beyond is None:
        return Backend(DELAY_LINE, f"{lacking}, and all instance links have the same constant latency")
    corruption = next((item for item in asked if item.key == "corruption"), None)
    if corruption is not None:
        raise MachineError(
            f"{corruption.path}: {lacking}, and nothing else corrupts frames; leave corruption out, or run on a kernel "
            "with sch_netem"
        )
    return Backend(GENERATOR, f"{lacking}, and the delay line cannot do {beyond.path}")


def _refuse(asked: list[_Asked], backend: str, why: str) -> None:
    if asked:
        raise ProfileError(f"{asked[0].path}: not with uplink.latency_backend {backend!r}: {why}; use 'auto'")


def _asked(topology: Topology) -> Iterator[_Asked]:
    """Every latency and impairment, as `links.<node>.<direction>.<key>` or below what changes it later."""
    for (node, way), conditions in topology.conditions.items():
        yield from _of(f"links.{node}.{way}", conditions)
    for item in topology.later:
        yield from _of(item.path, item.conditions)


def _of(path: str, conditions: LinkConditions) -> Iterator[_Asked]:
    if conditions.latency_ns:
        yield _Asked(f"{path}.latency", "latency")
    for key, attribute in _IMPAIRMENTS.items():
        if getattr(conditions, attribute):
            yield _Asked(f"{path}.{key}", key)


def _beyond_delay_line(topology: Topology, asked: list[_Asked]) -> Iterator[_Asked]:
    """The delay lines are in the receiving ports and do not know where a frame came from: one constant latency of all
    instance links, and none of the others.
    """
    yield from (item for item in asked if item.key != "latency")
    conditions = topology.conditions
    common_ns = conditions[names.SOURCE, "down"].latency_ns

    def fits(node: str, latency_ns: int) -> bool:
        return latency_ns == (common_ns if node in names.INSTANCES else 0)

    for (node, way), first in conditions.items():
        if not fits(node, first.latency_ns):
            yield _Asked(f"links.{node}.{way}.latency", "latency")
    for item in topology.later:
        if not fits(item.node, item.conditions.latency_ns):
            yield _Asked(f"{item.path}.latency", "latency")


@dataclass(frozen=True)
class Shape:
    """Which queueing disciplines a direction of a link has throughout a run, so that a change replaces none."""

    delays: bool
    meters: bool
    names_distribution: bool


def shape_of(topology: Topology, backend: str, node: str, way: Direction) -> Shape:
    """For all that this direction is in the course of a run."""
    ever = topology.ever[node, way]
    return Shape(
        delays=backend == NETEM and any(item.delays_or_impairs for item in ever),
        # Behind a queueing discipline a sender is not told of a link that is down: it goes on, and the link loses.
        meters=node in topology.flapping or any(item.rate_bps is not None for item in ever),
        names_distribution=any(item.ipdv_distribution != "uniform" for item in ever),
    )
