"""Changes of the links while a run goes on, and their way back."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from harness.testbed import topology as names
from harness.testbed.backend import GENERATOR
from harness.testbed.conditions import Direction, LinkConditions
from harness.testbed.host_links import HostLinks
from harness.testbed.topology import Topology

SetGenerated = Callable[[str, Direction, LinkConditions], None]
"""Tells the latency generator what one direction of a node's link is from now on."""


@dataclass(frozen=True)
class Outage:
    """A link that was down, from before it went down to after it had come back (CLOCK_MONOTONIC ns)."""

    node: str
    from_ns: int
    until_ns: int


class LinkChanges:
    """Changes links of a provisioned testbed. A change that is refused raises and undoes nothing: what is there then
    is for `restore`, or for the next provisioning, which compares everything with what it shall be.

    links_of: those of the host that a node is on.
    """

    def __init__(
        self,
        topology: Topology,
        backend: str,
        links_of: Callable[[str], HostLinks],
        set_generated: SetGenerated | None = None,
    ) -> None:
        self._topology, self._backend, self._links_of = topology, backend, links_of
        self._set_generated = set_generated
        self._changed: set[tuple[str, Direction]] = set()
        self._down_since_ns: dict[str, int] = {}
        self._isolated = False
        self._outages: list[Outage] = []

    @property
    def outages(self) -> tuple[Outage, ...]:
        """Of links that are up again."""
        return tuple(self._outages)

    def set_conditions(self, conditions: Mapping[tuple[str, Direction], LinkConditions]) -> None:
        """Put directions of links under conditions that the topology knows of (`Topology.ever`)."""
        for (node, way), wanted in conditions.items():
            self._changed.add((node, way))
            self._links_of(node if way == "up" else names.FABRIC).set_conditions(node, way, wanted)
            ever = self._topology.ever[node, way]
            if self._backend == GENERATOR and any(item.delays_or_impairs for item in ever):
                if self._set_generated is None:
                    raise RuntimeError("there is no latency generator to tell")
                self._set_generated(node, way, wanted)

    def set_link(self, node: str, up: bool) -> None:
        """Take the link of a node down at the fabric, or up again."""
        before_ns = time.monotonic_ns()
        if not up:
            self._down_since_ns.setdefault(node, before_ns)
        self._links_of(names.FABRIC).set_link(node, up)
        if up and (since_ns := self._down_since_ns.pop(node, None)) is not None:
            self._outages.append(Outage(node, since_ns, time.monotonic_ns()))

    def set_partition(self, isolated: bool) -> None:
        """Keep source and destination from reaching each other, or no longer. Both still reach everybody else."""
        self._isolated = self._isolated or isolated
        self._links_of(names.FABRIC).set_partition(isolated)
        self._isolated = isolated

    def restore(self) -> tuple[str, ...]:
        """Bring everything back to how a run starts; returns what did not work. Doing it twice is no error."""
        start = self._topology.conditions
        steps: list[Callable[[], None]] = [lambda node=node: self.set_link(node, True) for node in self._down_since_ns]  # type: ignore[misc]
        if self._isolated:
            steps.append(lambda: self.set_partition(False))
        steps += [lambda key=key: self.set_conditions({key: start[key]}) for key in sorted(self._changed)]  # type: ignore[misc]
        failures = []
        for step in steps:
            try:
                step()
            except Exception as error:  # the rest must be tried, and the run says what is left
                failures.append(f"not put back: {error}")
        self._changed.clear()
        return tuple(failures)
