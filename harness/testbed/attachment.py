"""Where a node is attached: on its uplink, or behind a latency process that stands before it. Pure.

With the delay line only the management addresses of the instances are behind one; with the latency generator whole
links are, ports and addresses.
"""

from __future__ import annotations

from harness.testbed import topology as names
from harness.testbed.backend import DELAY_LINE, GENERATOR
from harness.testbed.conditions import DIRECTIONS
from harness.testbed.topology import Topology


def generator_nodes(topology: Topology, backend: str) -> tuple[str, ...]:
    """Nodes whose whole link crosses the latency generator: the instances, and who else will ever have delays
    or impairments."""
    if backend != GENERATOR:
        return ()
    ever = topology.ever
    return tuple(
        node
        for node in names.LINKED_NODES
        if node in names.INSTANCES or any(each.delays_or_impairs for way in DIRECTIONS for each in ever[node, way])
    )


def port_link(topology: Topology, backend: str, node: str) -> str:
    """Link of a node that its dataplane ports are on, or its kernel's stack."""
    return names.INNER_LINK if node in generator_nodes(topology, backend) else names.UPLINK


def management_link(backend: str) -> str:
    """Link of an instance that carries its management address."""
    return {DELAY_LINE: names.MANAGEMENT_LINK, GENERATOR: names.INNER_LINK}.get(backend, names.UPLINK)


def inner_links(topology: Topology, backend: str) -> dict[str, tuple[str, str]]:
    """Nodes with a veth pair behind a latency process: the end with the node's own MAC, and the process's."""
    if backend == DELAY_LINE:
        return dict.fromkeys(names.INSTANCES, (names.MANAGEMENT_LINK, names.MANAGEMENT_PEER))
    return dict.fromkeys(generator_nodes(topology, backend), (names.INNER_LINK, names.INNER_PEER))
