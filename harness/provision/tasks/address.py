"""IPv4 addresses of a link."""

from __future__ import annotations

import errno
from collections.abc import Sequence

from harness.provision import messages
from harness.provision.task import Change, Context, State, Task
from harness.provision.tasks import lookup


class Addresses(Task):
    """Give a link an IPv4 address, written with its prefix length ("192.0.2.1/24")."""

    name = "set address"

    def __init__(self, node: str, netns: str, link: str, address: str, container: str | None = None) -> None:
        super().__init__(node, container)
        self.netns = netns
        self.link = link
        self.address, _, prefix = address.partition("/")
        self.prefix_length = int(prefix)

    def wanted(self) -> State:
        return {f"{self.link} {self.address}/{self.prefix_length}": "present"}

    def observe(self, context: Context) -> State:
        number = lookup.index(context, self.netns, self.link)
        if number is None:
            return {}
        found = context.connection.netlink(self.netns).dump(messages.addresses_dump())
        return {
            f"{self.link} {item.get_attr('IFA_LOCAL')}/{item['prefixlen']}": "present"
            for item in found
            if item["index"] == number
        }

    def apply(self, context: Context, changes: Sequence[Change]) -> None:
        number = lookup.required_index(context, self.netns, self.link)
        request = messages.address_add(number, self.address, self.prefix_length)
        context.connection.netlink(self.netns).transact([request])

    def undo(self, context: Context) -> None:
        number = lookup.index(context, self.netns, self.link)
        if number is None:
            return
        request = messages.address_delete(number, self.address, self.prefix_length)
        context.connection.netlink(self.netns).transact([request], ignore=frozenset({errno.EADDRNOTAVAIL}))
