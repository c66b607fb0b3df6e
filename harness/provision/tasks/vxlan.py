"""One end of a VXLAN tunnel: a link of a namespace whose frames travel to another host in UDP datagrams.

The device is made directly in its namespace while its UDP socket stays in the namespace of the request, the host's own:
it is never a link of the host, and goes with its namespace.
"""

from __future__ import annotations

import errno
import os
import platform
import socket
from collections.abc import Sequence
from typing import Any

from harness.errors import MachineError, UsageError
from harness.provision import kernel, messages
from harness.provision.connections.errors import NamespaceMissing
from harness.provision.netlink import NetlinkError
from harness.provision.ownership import link_alias
from harness.provision.task import Change, Context, State, Task
from harness.provision.tasks import lookup
from harness.provision.tasks.link import LinkEnd, link_container, observe_end, update_request
from harness.provision.tasks.offloads import ethtool_value
from harness.provision.tunnel import OVERHEAD_BYTES, Tunnel
from harness.provision.underlay import underlay_route

_GET_MERGING, _SET_MERGING = 0x2B, 0x2C  # ETHTOOL_GGRO, ETHTOOL_SGRO
_DF_SET = 1


class VxlanLink(Task):
    """The end as the link `end`, which must be in a namespace. It learns no addresses: every frame goes to the other
    end.

    The outer UDP checksum is 0, as RFC 7348 says: frames of packet sockets come with their own, and another sum over
    every byte would cost the CPU. Datagrams are not fragmented; one that does not fit is lost and counted. Received
    segments are not merged (GRO), as a veth merges none: a piece larger than the meter's queue would never pass it.

    underlay: namespace of the UDP socket; None: the host's own.
    """

    name = "create tunnel"

    def __init__(
        self, node: str, end: LinkEnd, tunnel: Tunnel, container: str | None = None, underlay: str | None = None
    ) -> None:
        super().__init__(node, container)
        if end.netns is None:
            raise UsageError(f"tunnel {end.name}: must be in a namespace of its own")
        self.netns: str = end.netns
        self.end = end
        self.tunnel = tunnel
        self.underlay = underlay
        self.title = f"{end.netns}/{end.name}"

    def wanted(self) -> State:
        tunnel = self.tunnel
        settings = {
            "kind": "vxlan",
            **self.end.settings(),
            "vni": tunnel.vni,
            "local": tunnel.local,
            "remote": tunnel.remote,
            "port": tunnel.port,
            "source_port": tunnel.source_port,
            "learning": False,
            "outer_checksum": False,
            "fragmentation": False,
            "merging": False,
        }
        return {f"{self.title} {setting}": value for setting, value in settings.items()}

    def observe(self, context: Context) -> State:
        found = observe_end(context, self.end)
        if found is None:
            return {}
        if found["alias"] not in (None, link_alias(context.ownership.run_id)):
            raise MachineError(f"link {self.end.name} in namespace {self.netns}: belongs to {found['alias']!r}")
        found.update(self._observe_tunnel(context))
        return {f"{self.title} {setting}": value for setting, value in found.items()}

    def _observe_tunnel(self, context: Context) -> dict[str, Any]:
        data = tunnel_data(lookup.link(context, self.netns, self.end.name))
        if data is None:
            return {}
        return {
            "vni": data.get_attr("IFLA_VXLAN_ID"),
            "local": data.get_attr("IFLA_VXLAN_LOCAL"),
            "remote": data.get_attr("IFLA_VXLAN_GROUP"),
            "port": data.get_attr("IFLA_VXLAN_PORT"),
            "source_port": data.get_attr("IFLA_VXLAN_PORT_RANGE")["low"],
            "learning": bool(data.get_attr("IFLA_VXLAN_LEARNING")),
            "outer_checksum": bool(data.get_attr("IFLA_VXLAN_UDP_CSUM")),
            "fragmentation": data.get_attr("IFLA_VXLAN_DF") != _DF_SET,
            "merging": self._merging(context, _GET_MERGING),
        }

    def apply(self, context: Context, changes: Sequence[Change]) -> None:
        found = observe_end(context, self.end)
        if found is not None and self._must_be_made_anew(changes):
            self.undo(context)
            found = None
        if found is None:
            self._create(context)
        self._merging(context, _SET_MERGING)
        request = update_request(context, self.end, link_alias(context.ownership.run_id))
        try:
            context.connection.netlink(self.netns).transact([request])
        except NetlinkError as error:
            if error.number != errno.EADDRINUSE:
                raise
            raise MachineError(
                f"tunnel {self.title}: another program of this host has UDP port {self.tunnel.port}; end it, or give "
                "the tunnels another port"
            ) from None

    def _must_be_made_anew(self, changes: Sequence[Change]) -> bool:
        """The kernel changes few properties of a tunnel, and all of a link."""
        of_link = {f"{self.title} {setting}" for setting in (*self.end.settings(), "merging")}
        return any(change.subject not in of_link for change in changes)

    def _create(self, context: Context) -> None:
        self._require_fit(context)
        number = context.ownership.intend("link", self.title, link_container(self.end))
        tunnel = self.tunnel
        data = [
            ("IFLA_VXLAN_ID", tunnel.vni),
            ("IFLA_VXLAN_LOCAL", tunnel.local),
            ("IFLA_VXLAN_GROUP", tunnel.remote),
            ("IFLA_VXLAN_PORT", tunnel.port),
            # The range ends before its second number.
            ("IFLA_VXLAN_PORT_RANGE", {"low": tunnel.source_port, "high": tunnel.source_port + 1}),
            ("IFLA_VXLAN_LEARNING", 0),
            ("IFLA_VXLAN_UDP_CSUM", 0),
            ("IFLA_VXLAN_DF", _DF_SET),
        ]
        descriptor = context.connection.open_namespace(self.netns)
        try:
            request = messages.vxlan_create(self.end.name, descriptor, self.end.attributes(), data)
            context.connection.netlink(self.underlay).transact([request])
        except NetlinkError as error:
            context.ownership.gone(number)
            clash = find_tunnel(context, self.underlay, tunnel) if error.number == errno.EEXIST else None
            raise refusal(error, self.title, tunnel, clash) from None
        finally:
            os.close(descriptor)

    def _require_fit(self, context: Context) -> None:
        route = underlay_route(context.connection, self.tunnel.remote, self.underlay)
        needed_bytes = self.end.mtu_bytes + OVERHEAD_BYTES
        if route.mtu_bytes < needed_bytes:
            raise MachineError(
                f"tunnel {self.title}: an MTU of {self.end.mtu_bytes} needs packets of {needed_bytes} bytes on the way "
                f"to {route.remote}, and {route.link} takes {route.mtu_bytes}: raise its MTU, or lower the tunnel's"
            )

    def _merging(self, context: Context, command: int) -> bool:
        """Ask, or turn off, whether received segments are merged; whether they are."""

        def ask() -> int:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
                return ethtool_value(any_socket, self.end.name, command, 0)

        return bool(context.connection.run(self.netns, ask))

    def undo(self, context: Context) -> None:
        item = context.ownership.find("link", self.title)
        if item is None:
            return
        try:
            route_socket = context.connection.netlink(self.netns)
            route_socket.transact([messages.link_delete(self.end.name)], ignore=frozenset({errno.ENODEV}))
        except NamespaceMissing:
            pass
        context.ownership.gone(item.number)


def tunnel_data(found: Any | None) -> Any | None:
    """The VXLAN part of a link as the kernel describes it; None when it is no VXLAN device."""
    information = found.get_attr("IFLA_LINKINFO") if found is not None else None
    if information is None or information.get_attr("IFLA_INFO_KIND") != "vxlan":
        return None
    return information.get_attr("IFLA_INFO_DATA")


def find_tunnel(context: Context, underlay: str | None, tunnel: Tunnel) -> str | None:
    """Where a device with the tunnel's identifier and port is, in words; None where no named namespace has one.

    Devices of the underlay's namespace and of every other named one are looked at: a tunnel is seldom a link of the
    namespace its socket is in.
    """
    named = sorted(entry.name for entry in kernel.NETNS_DIRECTORY.iterdir()) if kernel.NETNS_DIRECTORY.is_dir() else []
    for netns in dict.fromkeys((underlay, *named)):
        try:
            links = context.connection.netlink(netns).dump(messages.links_dump())
        except (NamespaceMissing, OSError):
            continue  # gone meanwhile, or no namespace
        if netns is not None and not netns.startswith(context.ownership.run_id):
            context.connection.release(netns)  # somebody else's is not to be kept alive
        for found in links:
            data = tunnel_data(found)
            if data and (data.get_attr("IFLA_VXLAN_ID"), data.get_attr("IFLA_VXLAN_PORT")) == (tunnel.vni, tunnel.port):
                place = f"namespace {netns}" if netns else "the host's own namespace"
                return f"link {found.get_attr('IFLA_IFNAME')} of {place}"
    return None


def refusal(error: NetlinkError, title: str, tunnel: Tunnel, clash: str | None) -> MachineError | NetlinkError:
    """What the kernel's refusal of a tunnel means, in the words of someone who has to mend it."""
    if error.number == errno.EEXIST:
        where = clash or "a device in a namespace without a name"
        return MachineError(
            f"tunnel {title}: VNI {tunnel.vni} on UDP port {tunnel.port} is used on this host already, by {where}; "
            "remove it, or run again"
        )
    if error.number == errno.EOPNOTSUPP:
        return MachineError(
            f"tunnel {title}: kernel {platform.release()} has no VXLAN (module vxlan): all nodes of a run have to be "
            "on one host"
        )
    return error
