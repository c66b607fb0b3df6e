"""The ends of links that are on one host, changed while a run goes on: a batch of netlink requests per namespace."""

from __future__ import annotations

from typing import Protocol

from harness.provision.task import Context, Task
from harness.provision.tasks.bridge import BridgePorts
from harness.provision.tasks.link import LinkSettings
from harness.testbed import topology as names
from harness.testbed.conditions import Direction, LinkConditions
from harness.testbed.construction import link_task
from harness.testbed.topology import Topology


class HostLinks(Protocol):
    """Each method raises HarnessError where the kernel, or the way to the host, refuses it."""

    def set_conditions(self, node: str, way: Direction, conditions: LinkConditions) -> None:
        """Put one direction of a link, whose sending end is here, under those conditions."""

    def set_link(self, node: str, up: bool) -> None:
        """Take the link of a node down at the fabric, which is here, or up again."""

    def set_partition(self, isolated: bool) -> None:
        """Keep source and destination from reaching each other through the fabric, which is here, or no longer."""


class OwnLinks:
    """Those of this host."""

    def __init__(self, topology: Topology, backend: str, context: Context) -> None:
        self._topology, self._backend, self._context = topology, backend, context

    def set_conditions(self, node: str, way: Direction, conditions: LinkConditions) -> None:
        # Applied without looking: the kernel does not tell the distribution of the IPDV.
        self._apply(link_task(self._topology, self._backend, node, way, conditions))

    def set_link(self, node: str, up: bool) -> None:
        self._apply(LinkSettings(names.FABRIC, self._topology.netns(names.FABRIC), node, up=up))

    def set_partition(self, isolated: bool) -> None:
        fabric = self._topology.netns(names.FABRIC)
        self._apply(BridgePorts(names.FABRIC, fabric, {node: {"isolated": isolated} for node in names.INSTANCES}))

    def _apply(self, task: Task) -> None:
        task.apply(self._context, [])
        task.verify(self._context)
