"""Reading links from a namespace, common to the tasks that need an index or attributes."""

from __future__ import annotations

import errno
from typing import Any

from harness.provision import messages
from harness.provision.connections.errors import NamespaceMissing
from harness.provision.netlink import NetlinkError, RouteSocket
from harness.provision.task import Context


def link(context: Context, netns: str | None, name: str) -> Any | None:
    """The link of that name as a pyroute2 message; None when the link or its namespace is not there."""
    try:
        found = context.connection.netlink(netns).dump(messages.link_get(name))
    except NamespaceMissing:
        return None
    except NetlinkError as error:
        if error.number in (errno.ENODEV, errno.ENOENT):
            return None
        raise
    return found[0] if found else None


def index(context: Context, netns: str | None, name: str) -> int | None:
    """Index of the link of that name, None when it is not there."""
    found = link(context, netns, name)
    return None if found is None else int(found["index"])


def required_index(context: Context, netns: str | None, name: str) -> int:
    """Index of the link of that name; NetlinkError(ENODEV) when it is not there."""
    number = index(context, netns, name)
    if number is None:
        raise NetlinkError(f"link {name} in namespace {netns}", errno.ENODEV)
    return number


def names_by_index(context: Context, netns: str | None) -> dict[int, str]:
    """Names of all links of a namespace by their index; empty when there is no such namespace."""
    try:
        return link_names(context.connection.netlink(netns))
    except NamespaceMissing:
        return {}


def link_names(route_socket: RouteSocket) -> dict[int, str]:
    """Names of all links of the socket's namespace by their index."""
    links = route_socket.dump(messages.links_dump())
    return {int(item["index"]): str(item.get_attr("IFLA_IFNAME")) for item in links}
