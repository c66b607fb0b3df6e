"""The ends of links on another host: the controller's side, and the agent's, where the netlink requests are made."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from harness.errors import UsageError
from harness.remote.caller import Caller
from harness.testbed.conditions import Direction, LinkConditions
from harness.testbed.document import LinkWay
from harness.testbed.host_links import HostLinks
from harness.testbed.topology import LINKED_NODES

ANSWER_S = 5.0


class RemoteLinks:
    """`HostLinks` over the connection."""

    def __init__(self, remote: Caller) -> None:
        self._remote = remote

    def set_conditions(self, node: str, way: Direction, conditions: LinkConditions) -> None:
        asked = LinkWay(node=node, direction=way, conditions=conditions).model_dump(mode="json")
        self._remote.call("set_conditions", ANSWER_S, **asked)

    def set_link(self, node: str, up: bool) -> None:
        self._remote.call("set_link", ANSWER_S, node=node, up=up)

    def set_partition(self, isolated: bool) -> None:
        self._remote.call("set_partition", ANSWER_S, isolated=isolated)


class LinksPart:
    """`links`: those of the nodes that stand here now; HarnessError where none do."""

    def __init__(self, links: Callable[[], HostLinks]) -> None:
        self._links = links

    @property
    def calls(self) -> Mapping[str, Callable[..., dict[str, Any]]]:
        """By name."""
        return {
            "set_conditions": self.set_conditions,
            "set_link": self.set_link,
            "set_partition": self.set_partition,
        }

    def set_conditions(self, **asked: Any) -> dict[str, Any]:
        """Put one direction of a link, whose sending end is here, under conditions: those of a LinkWay."""
        wanted = LinkWay.parse(asked)
        self._links().set_conditions(_linked(wanted.node), wanted.direction, wanted.conditions)
        return {}

    def set_link(self, node: str, up: bool) -> dict[str, Any]:
        """Take the link of a node down at the fabric, or up again."""
        self._links().set_link(_linked(node), bool(up))
        return {}

    def set_partition(self, isolated: bool) -> dict[str, Any]:
        """Keep source and destination apart, or no longer."""
        self._links().set_partition(bool(isolated))
        return {}


def _linked(node: object) -> str:
    if node not in LINKED_NODES:
        raise UsageError(f"{node!r:.40}: must be one of {', '.join(LINKED_NODES)}")
    return str(node)
