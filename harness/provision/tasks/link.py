"""Links: veth pairs between two namespaces, and settings of a link that is there anyway."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from harness.errors import MachineError
from harness.provision import messages
from harness.provision.connections.errors import NamespaceMissing
from harness.provision.netlink import NetlinkError, Request
from harness.provision.ownership import link_alias
from harness.provision.task import Change, Context, State, Task
from harness.provision.tasks import lookup

_IFF_UP = 1


@dataclass(frozen=True)
class LinkEnd:
    """One end of a link. `gso_max_size_bytes` bounds the frames that leave for later segmentation; None leaves the
    default.
    """

    netns: str | None
    name: str
    mac: str
    mtu_bytes: int = 1500
    gso_max_size_bytes: int | None = None
    master: str | None = None

    def settings(self) -> dict[str, Any]:
        """What is observed and compared, by name of the setting."""
        wanted: dict[str, Any] = {"up": True, "mac": self.mac, "mtu_bytes": self.mtu_bytes}
        if self.gso_max_size_bytes is not None:
            wanted["gso_max_size_bytes"] = self.gso_max_size_bytes
        if self.master is not None:
            wanted["master"] = self.master
        return wanted

    def attributes(self) -> list[Any]:
        """Attributes that can be given at creation."""
        given: list[Any] = [("IFLA_ADDRESS", self.mac), ("IFLA_MTU", self.mtu_bytes)]
        if self.gso_max_size_bytes is not None:
            given.append(("IFLA_GSO_MAX_SIZE", self.gso_max_size_bytes))
        return given


def link_container(end: LinkEnd) -> dict[str, Any]:
    """What the ownership record has to know of a link besides its name: the namespace it lives and dies with."""
    return {} if end.netns is None else {"container": end.netns}


def observe_end(context: Context, end: LinkEnd) -> dict[str, Any] | None:
    """Settings of the end as they are, None when there is no such link; `kind` and `alias` are added."""
    found = lookup.link(context, end.netns, end.name)
    if found is None:
        return None
    master_index = found.get_attr("IFLA_MASTER")
    master = lookup.names_by_index(context, end.netns).get(master_index) if master_index else None
    information = found.get_attr("IFLA_LINKINFO")
    return {
        "kind": information.get_attr("IFLA_INFO_KIND") if information is not None else None,
        "alias": found.get_attr("IFLA_IFALIAS"),
        "up": bool(found["flags"] & _IFF_UP),
        "mac": found.get_attr("IFLA_ADDRESS"),
        "mtu_bytes": found.get_attr("IFLA_MTU"),
        "gso_max_size_bytes": found.get_attr("IFLA_GSO_MAX_SIZE"),
        "master": master,
    }


def update_request(context: Context, end: LinkEnd, alias: str) -> Request:
    """One request that brings an existing link to the wanted settings."""
    given = [*end.attributes(), ("IFLA_IFALIAS", alias)]
    if end.master is not None:
        given.append(("IFLA_MASTER", lookup.required_index(context, end.netns, end.master)))
    return messages.link_set(end.name, given, up=True)


class VethPair(Task):
    """A veth pair, its second end made directly in its own namespace. Both ends carry the owner's mark as alias."""

    name = "create link"

    def __init__(self, node: str, end: LinkEnd, peer: LinkEnd, container: str | None = None) -> None:
        super().__init__(node, container)
        self.end = end
        self.peer = peer

    def wanted(self) -> State:
        return {
            f"{end.netns}/{end.name} {setting}": value
            for end in (self.end, self.peer)
            for setting, value in {"kind": "veth", **end.settings()}.items()
        }

    def observe(self, context: Context) -> State:
        state: dict[str, Any] = {}
        for end in (self.end, self.peer):
            found = observe_end(context, end)
            if found is not None:
                if found["alias"] not in (None, link_alias(context.ownership.run_id)):
                    raise MachineError(f"link {end.name} in namespace {end.netns}: belongs to {found['alias']!r}")
                state.update({f"{end.netns}/{end.name} {setting}": value for setting, value in found.items()})
        return state

    def apply(self, context: Context, changes: Sequence[Change]) -> None:
        alias = link_alias(context.ownership.run_id)
        if lookup.index(context, self.end.netns, self.end.name) is None:
            context.ownership.intend("link", f"{self.end.netns}/{self.end.name}", link_container(self.end))
            self._create(context)
        context.connection.netlink(self.end.netns).transact([update_request(context, self.end, alias)])
        context.connection.netlink(self.peer.netns).transact([update_request(context, self.peer, alias)])

    def _create(self, context: Context) -> None:
        descriptor = None if self.peer.netns is None else context.connection.open_namespace(self.peer.netns)
        inside = None if self.peer.netns == self.end.netns else descriptor
        try:
            request = messages.veth_create(
                self.end.name, self.peer.name, inside, self.end.attributes(), self.peer.attributes()
            )
            context.connection.netlink(self.end.netns).transact([request])
        finally:
            if descriptor is not None:
                os.close(descriptor)

    def undo(self, context: Context) -> None:
        name = f"{self.end.netns}/{self.end.name}"
        item = context.ownership.find("link", name)
        if item is None:
            return
        try:
            socket = context.connection.netlink(self.end.netns)
            socket.transact([messages.link_delete(self.end.name)], ignore=frozenset({errno.ENODEV}))
        except NamespaceMissing:
            pass
        context.ownership.gone(item.number)


class LinkSettings(Task):
    """The administrative state of a link that is there anyway (such as lo): up unless told otherwise."""

    name = "bring link up"

    def __init__(self, node: str, netns: str | None, link: str, container: str | None = None, up: bool = True) -> None:
        super().__init__(node, container)
        self.netns = netns
        self.link = link
        self.up = up

    def wanted(self) -> State:
        return {f"{self.netns}/{self.link} up": self.up}

    def observe(self, context: Context) -> State:
        found = lookup.link(context, self.netns, self.link)
        return {} if found is None else {f"{self.netns}/{self.link} up": bool(found["flags"] & _IFF_UP)}

    def apply(self, context: Context, changes: Sequence[Change]) -> None:
        context.connection.netlink(self.netns).transact([messages.link_set(self.link, [], up=self.up)])

    def undo(self, context: Context) -> None:
        with contextlib.suppress(NamespaceMissing, NetlinkError):  # the link may be gone, and with it what was set
            context.connection.netlink(self.netns).transact([messages.link_set(self.link, [], up=not self.up)])
