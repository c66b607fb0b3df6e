"""The IPv4 default route of a namespace."""

from __future__ import annotations

import errno
from collections.abc import Sequence

from harness.provision import messages
from harness.provision.connections.errors import NamespaceMissing
from harness.provision.task import Change, Context, State, Task
from harness.provision.tasks import lookup


class DefaultRoute(Task):
    """Send what is for no network of the link to `gateway`, an address in one of them."""

    name = "set default route"

    def __init__(self, node: str, netns: str, link: str, gateway: str, container: str | None = None) -> None:
        super().__init__(node, container)
        self.netns = netns
        self.link = link
        self.gateway = gateway

    def wanted(self) -> State:
        return {"default route": f"{self.gateway} by {self.link}"}

    def observe(self, context: Context) -> State:
        names = lookup.names_by_index(context, self.netns)
        if not names:
            return {}
        for route in context.connection.netlink(self.netns).dump(messages.routes_dump()):
            if route["dst_len"] == 0 and route.get_attr("RTA_GATEWAY"):
                return {"default route": f"{route.get_attr('RTA_GATEWAY')} by {names.get(route.get_attr('RTA_OIF'))}"}
        return {}

    def apply(self, context: Context, changes: Sequence[Change]) -> None:
        number = lookup.required_index(context, self.netns, self.link)
        context.connection.netlink(self.netns).transact([messages.default_route_replace(number, self.gateway)])

    def undo(self, context: Context) -> None:
        try:
            number = lookup.index(context, self.netns, self.link)
            if number is None:
                return
            request = messages.default_route_delete(number, self.gateway)
            context.connection.netlink(self.netns).transact([request], ignore=frozenset({errno.ESRCH}))
        except NamespaceMissing:
            return
