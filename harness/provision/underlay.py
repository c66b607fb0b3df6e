"""The network between hosts, as one of them sees it: the way to another host, and how large packets may be on it."""

from __future__ import annotations

import errno
from dataclasses import dataclass

from harness.errors import MachineError
from harness.provision import messages
from harness.provision.connections.base import Connection
from harness.provision.netlink import NetlinkError

_UNREACHABLE = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EACCES, errno.EINVAL)


@dataclass(frozen=True)
class UnderlayRoute:
    """The way to `remote`: by `link`, from `local` (IPv4), in packets of at most `mtu_bytes` (IP header included)."""

    remote: str
    link: str
    local: str
    mtu_bytes: int


def underlay_route(connection: Connection, remote: str, netns: str | None = None) -> UnderlayRoute:
    """The way from a host (or a namespace of it) to an IPv4 address. MachineError where there is none.

    The MTU is the route's own where it has one, configured or learnt from ICMP (RFC 1191), and else the link's.
    """
    route_socket = connection.netlink(netns)
    try:
        (route,) = route_socket.dump(messages.route_get(remote))
    except NetlinkError as error:
        if error.number not in _UNREACHABLE:
            raise
        raise MachineError(f"no route to {remote}: {error}; give an address that this host reaches") from None
    index = route.get_attr("RTA_OIF")
    (link,) = route_socket.dump(messages.link_get_by_index(index))
    metrics = route.get_attr("RTA_METRICS")
    of_route = metrics.get_attr("RTAX_MTU") if metrics is not None else None
    return UnderlayRoute(
        remote,
        str(link.get_attr("IFLA_IFNAME")),
        str(route.get_attr("RTA_PREFSRC")),
        int(of_route or link.get_attr("IFLA_MTU")),
    )
