"""A bridge and the flags of its ports."""

from __future__ import annotations

import errno
from collections.abc import Mapping, Sequence
from typing import Any

from harness.provision import messages
from harness.provision.connections.errors import NamespaceMissing
from harness.provision.ownership import link_alias
from harness.provision.task import Change, Context, State, Task
from harness.provision.tasks import lookup
from harness.provision.tasks.link import LinkEnd, link_container, observe_end, update_request


class Bridge(Task):
    """A bridge without spanning tree and without multicast snooping."""

    name = "create bridge"

    def __init__(self, node: str, end: LinkEnd, container: str | None = None) -> None:
        super().__init__(node, container)
        self.end = end

    def wanted(self) -> State:
        return {f"{self.end.name} {name}": value for name, value in {"kind": "bridge", **self.end.settings()}.items()}

    def observe(self, context: Context) -> State:
        found = observe_end(context, self.end)
        return {} if found is None else {f"{self.end.name} {name}": value for name, value in found.items()}

    def apply(self, context: Context, changes: Sequence[Change]) -> None:
        socket = context.connection.netlink(self.end.netns)
        if lookup.index(context, self.end.netns, self.end.name) is None:
            context.ownership.intend("link", f"{self.end.netns}/{self.end.name}", link_container(self.end))
            socket.transact([messages.bridge_create(self.end.name, self.end.attributes(), multicast_snooping=False)])
        socket.transact([update_request(context, self.end, link_alias(context.ownership.run_id))])

    def undo(self, context: Context) -> None:
        item = context.ownership.find("link", f"{self.end.netns}/{self.end.name}")
        if item is None:
            return
        try:
            socket = context.connection.netlink(self.end.netns)
            socket.transact([messages.link_delete(self.end.name)], ignore=frozenset({errno.ENODEV}))
        except NamespaceMissing:
            pass
        context.ownership.gone(item.number)


def read_port_flags(context: Context, netns: str | None) -> dict[str, dict[str, bool]]:
    """Flags (names of messages.PORT_FLAGS) of all bridge ports of a namespace, by name of the port."""
    try:
        ports = context.connection.netlink(netns).dump(messages.ports_dump())
    except NamespaceMissing:
        return {}
    flags: dict[str, dict[str, bool]] = {}
    for port in ports:
        details = port.get_attr("IFLA_PROTINFO")
        if details is not None and hasattr(details, "get_attr"):
            name = str(port.get_attr("IFLA_IFNAME"))
            flags[name] = {flag: bool(details.get_attr(key)) for flag, key in messages.PORT_FLAGS.items()}
    return flags


class BridgePorts(Task):
    """Flags of the ports of a bridge, all set in one batch."""

    name = "set bridge port flags"

    def __init__(
        self, node: str, netns: str, ports: Mapping[str, Mapping[str, bool]], container: str | None = None
    ) -> None:
        super().__init__(node, container)
        self.netns = netns
        self.ports = ports

    def wanted(self) -> State:
        return {f"{port} {flag}": value for port, flags in self.ports.items() for flag, value in flags.items()}

    def observe(self, context: Context) -> State:
        found: dict[str, Any] = {}
        for port, flags in read_port_flags(context, self.netns).items():
            found.update({f"{port} {flag}": value for flag, value in flags.items()})
        return found

    def apply(self, context: Context, changes: Sequence[Change]) -> None:
        requests = [
            messages.port_set(lookup.required_index(context, self.netns, port), flags)
            for port, flags in self.ports.items()
        ]
        context.connection.netlink(self.netns).transact(requests)

    def undo(self, context: Context) -> None:
        """Flags belong to the port and go with it."""
