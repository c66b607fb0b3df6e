"""What the links on a path are meant to do to a frame, from the description of the testbed. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from harness.calibrate.figures import Direction
from harness.testbed import topology as names
from harness.testbed.backend import NONE
from harness.testbed.conditions import Direction as Way
from harness.testbed.conditions import LinkConditions
from harness.testbed.topology import Topology

Crossing = tuple[str, Way]
_WAYS: dict[Direction, Way] = {"towards": "down", "from": "up"}


@dataclass(frozen=True)
class Asked:
    """Sum over the links of a path. ipdv_ns: of all of them; loses: whether a frame may be lost, doubled or overtaken
    on purpose, so that frames cannot be told apart by their order."""

    latency_ns: int
    ipdv_ns: int = 0
    loses: bool = False

    @property
    def impairment(self) -> str:
        """What keeps the path from being judged like a plain one, in words; "" for nothing."""
        if self.loses:
            return "loses, doubles or reorders frames on purpose"
        return "has IPDV on purpose" if self.ipdv_ns else ""


@dataclass(frozen=True)
class InstancePaths:
    """Paths of the load through one instance, as lists of crossings."""

    towards: tuple[Crossing, ...]
    back: tuple[Crossing, ...]
    beyond: tuple[Crossing, ...]

    @property
    def round_trip(self) -> tuple[Crossing, ...]:
        return self.towards + self.beyond + self.back


def paths_of(instance: str) -> InstancePaths:
    """Every link a request and its reply cross."""
    return InstancePaths(
        towards=((names.LOADGEN, "up"), (instance, "down")),
        back=((instance, "up"), (names.LOADGEN, "down")),
        beyond=((instance, "up"), (names.ECHOSERVER, "down"), (names.ECHOSERVER, "up"), (instance, "down")),
    )


MANAGEMENT_ROUND_TRIP: tuple[Crossing, ...] = (
    (names.SOURCE, "up"),
    (names.DESTINATION, "down"),
    (names.DESTINATION, "up"),
    (names.SOURCE, "down"),
)


def asked_of(topology: Topology, backend: str, path: tuple[Crossing, ...]) -> Asked:
    """What crossing all of them amounts to; with the backend "none" nothing is delayed."""
    if backend == NONE:
        return Asked(0)
    conditions = [topology.conditions[crossing] for crossing in path]
    return Asked(
        latency_ns=sum(item.latency_ns for item in conditions),
        ipdv_ns=sum(item.ipdv_ns for item in conditions),
        loses=any(item.loss or item.duplication or item.reordering or item.corruption for item in conditions),
    )


def meter_of(topology: Topology, instance: str, direction: Direction) -> LinkConditions:
    """Conditions of one direction of an instance's link; its `rate_bps` is None where nothing meters it."""
    return topology.conditions[instance, _WAYS[direction]]


def slowest_bps(topology: Topology) -> int | None:
    """The lowest rate of any direction of any link; None where none is metered."""
    rates = [conditions.rate_bps for conditions in topology.conditions.values()]
    return min((rate for rate in rates if rate is not None), default=None)
