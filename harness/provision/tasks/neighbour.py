"""Permanent neighbour entries, in place of ARP."""

from __future__ import annotations

import errno
from collections.abc import Mapping, Sequence

from harness.provision import messages
from harness.provision.task import Change, Context, State, Task
from harness.provision.tasks import lookup


class Neighbours(Task):
    """Permanent neighbour entries (IPv4 address -> MAC) of a link, all set in one batch."""

    name = "set neighbour entries"

    def __init__(
        self, node: str, netns: str, link: str, entries: Mapping[str, str], container: str | None = None
    ) -> None:
        super().__init__(node, container)
        self.netns = netns
        self.link = link
        self.entries = entries

    def wanted(self) -> State:
        return {f"{self.link} {address}": mac for address, mac in self.entries.items()}

    def observe(self, context: Context) -> State:
        number = lookup.index(context, self.netns, self.link)
        if number is None:
            return {}
        found = context.connection.netlink(self.netns).dump(messages.neighbours_dump())
        return {
            f"{self.link} {item.get_attr('NDA_DST')}": item.get_attr("NDA_LLADDR")
            for item in found
            if item["ifindex"] == number and item["state"] & messages.NUD_PERMANENT
        }

    def apply(self, context: Context, changes: Sequence[Change]) -> None:
        number = lookup.required_index(context, self.netns, self.link)
        requests = [messages.neighbour_replace(number, address, mac) for address, mac in self.entries.items()]
        context.connection.netlink(self.netns).transact(requests)

    def undo(self, context: Context) -> None:
        number = lookup.index(context, self.netns, self.link)
        if number is None:
            return
        requests = [messages.neighbour_delete(number, address) for address in self.entries]
        context.connection.netlink(self.netns).transact(requests, ignore=frozenset({errno.ENOENT}))
