"""Hosts and the nodes (network namespaces) on them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from harness.errors import UsageError
from harness.provision.connections.base import Connection

_RUN_ID = re.compile(r"[a-z][a-z0-9]{7}")


def check_run_id(run_id: str) -> str:
    """The run id itself; UsageError unless it is 8 characters of a-z and 0-9, the first a letter."""
    if not _RUN_ID.fullmatch(run_id):
        raise UsageError(f"run id {run_id!r}: must be 8 characters of a-z and 0-9, the first a letter")
    return run_id


@dataclass(frozen=True)
class Node:
    """A named place on a host with a network of its own."""

    name: str
    netns: str
    host: str = "localhost"


class Inventory:
    """Which node lives on which host, and how to reach that host."""

    def __init__(self, nodes: Mapping[str, Node], connections: Mapping[str, Connection]) -> None:
        for node in nodes.values():
            if node.host not in connections:
                raise UsageError(
                    f"node {node.name}: host {node.host!r} has no connection; known: {sorted(connections)}"
                )
        self._nodes = dict(nodes)
        self._connections = dict(connections)

    @classmethod
    def on_one_host(cls, run_id: str, names: tuple[str, ...], connection: Connection) -> Inventory:
        """All nodes as namespaces `<run_id>-<name>` of one host."""
        check_run_id(run_id)
        nodes = {name: Node(name, f"{run_id}-{name}") for name in names}
        return cls(nodes, {"localhost": connection})

    def node(self, name: str) -> Node:
        """The node of that name; UsageError when there is none."""
        try:
            return self._nodes[name]
        except KeyError:
            raise UsageError(f"node {name!r}: unknown; nodes are {', '.join(self._nodes)}") from None

    def connection(self, name: str) -> Connection:
        """The connection to the host of the node of that name."""
        return self._connections[self.node(name).host]

    def __iter__(self) -> Iterator[Node]:
        return iter(self._nodes.values())
