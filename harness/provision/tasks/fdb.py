"""Static forwarding entries of a bridge."""

from __future__ import annotations

import errno
from collections.abc import Mapping, Sequence

from harness.provision import messages
from harness.provision.connections.errors import NamespaceMissing
from harness.provision.task import Change, Context, State, Task
from harness.provision.tasks import lookup


def read_entries(context: Context, netns: str) -> dict[str, str]:
    """Static forwarding entries (MAC -> port name) of the bridges of a namespace."""
    try:
        found = context.connection.netlink(netns).dump(messages.fdb_dump())
    except NamespaceMissing:
        return {}
    names = lookup.names_by_index(context, netns)
    return {
        str(item.get_attr("NDA_LLADDR")): names.get(item["ifindex"], str(item["ifindex"]))
        for item in found
        if item["state"] & messages.NUD_NOARP and item.get_attr("NDA_MASTER")
    }


class ForwardingEntries(Task):
    """Static forwarding entries (MAC -> port), all set in one batch."""

    name = "set forwarding entries"

    def __init__(self, node: str, netns: str, entries: Mapping[str, str], container: str | None = None) -> None:
        super().__init__(node, container)
        self.netns = netns
        self.entries = entries

    def wanted(self) -> State:
        return dict(self.entries)

    def observe(self, context: Context) -> State:
        return read_entries(context, self.netns)

    def apply(self, context: Context, changes: Sequence[Change]) -> None:
        requests = [
            messages.fdb_replace(change.subject, lookup.required_index(context, self.netns, change.after))
            for change in changes
        ]
        context.connection.netlink(self.netns).transact(requests)

    def undo(self, context: Context) -> None:
        indices = {name: number for number, name in lookup.names_by_index(context, self.netns).items()}
        requests = [messages.fdb_delete(mac, indices[port]) for mac, port in self.entries.items() if port in indices]
        if requests:
            context.connection.netlink(self.netns).transact(requests, ignore=frozenset({errno.ENOENT}))
