"""Which host each node of a testbed is on, and between which addresses its frames travel to the fabric's. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

LOCALHOST = "localhost"
"""The host the harness itself runs on, as a placement calls it."""


@dataclass(frozen=True)
class Underlay:
    """IPv4 addresses of the network between a host and the fabric's: the host's own, and that of the fabric's host."""

    there: str
    fabric: str


@dataclass(frozen=True)
class Placement:
    """Hosts by node; a node that is not named is on LOCALHOST. underlay: by host, of all but the fabric's."""

    hosts: Mapping[str, str] = field(default_factory=dict)
    underlay: Mapping[str, Underlay] = field(default_factory=dict)

    def host_of(self, node: str) -> str:
        """Host of a node."""
        return self.hosts.get(node, LOCALHOST)

    @property
    def others(self) -> tuple[str, ...]:
        """Hosts beside LOCALHOST that carry nodes, each once."""
        return tuple(dict.fromkeys(host for host in self.hosts.values() if host != LOCALHOST))

    @property
    def is_spread(self) -> bool:
        """Whether any node is on another host."""
        return bool(self.others)


HERE = Placement()
"""Every node on the harness's own host."""
