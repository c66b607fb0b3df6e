"""Queueing disciplines of a link: tbf as the meter, netem as the latency, or netem with tbf behind it."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from harness.provision import messages
from harness.provision.connections.errors import NamespaceMissing
from harness.provision.netlink import Request
from harness.provision.task import Change, Context, State, Task
from harness.provision.tasks import lookup

_ROOT_HANDLE = 0x10000
_CHILD_PARENT = 0x10001
_CHILD_HANDLE = 0x20000


@dataclass(frozen=True)
class Tbf:
    """Token bucket: `rate_bps` bit/s, bucket of `burst_bytes`, a queue of at most `limit_bytes`, the rest is
    dropped.
    """

    rate_bps: int
    burst_bytes: int
    limit_bytes: int

    def state(self) -> dict[str, int]:
        return {"rate_bps": self.rate_bps, "burst_ticks": self._burst_ticks(), "limit_bytes": self.limit_bytes}

    def _burst_ticks(self) -> int:
        return int(dict(self.options()["attrs"])["TCA_TBF_PARMS"]["buffer"])

    def options(self) -> dict[str, Any]:
        return messages.tbf_options(self.rate_bps, self.burst_bytes, self.limit_bytes)


@dataclass(frozen=True)
class Netem:
    """Constant delay for at most `limit_packets` packets at a time."""

    latency_ns: int
    limit_packets: int = 100_000

    def state(self) -> dict[str, int]:
        return {"latency_ticks": messages.ticks_of_ns(self.latency_ns), "limit_packets": self.limit_packets}

    def options(self) -> dict[str, Any]:
        return messages.netem_options(self.latency_ns, self.limit_packets)


def read_qdiscs(found: Sequence[Any], link_index: int) -> dict[int, dict[str, Any]]:
    """The queueing disciplines of a link by their parent, in the words of `state` with their `kind`."""
    result: dict[int, dict[str, Any]] = {}
    for item in found:
        if item["index"] != link_index:
            continue
        kind = item.get_attr("TCA_KIND")
        options = item.get_attr("TCA_OPTIONS")
        state: dict[str, Any] = {"kind": kind}
        if kind == "tbf":
            parameters = options.get_attr("TCA_TBF_PARMS")
            state.update(rate_bps=parameters["rate"] * 8, burst_ticks=parameters["buffer"])
            state.update(limit_bytes=parameters["limit"])
        elif kind == "netem":
            state.update(latency_ticks=options["delay"], limit_packets=options["limit"])
        result[int(item["parent"])] = state
    return result


class Qdiscs(Task):
    """Queueing disciplines at the egress of a link: the first at the root, a second one behind it."""

    name = "set queueing discipline"

    def __init__(
        self, node: str, netns: str, link: str, chain: Sequence[Tbf | Netem], container: str | None = None
    ) -> None:
        super().__init__(node, container)
        self.netns = netns
        self.link = link
        self.chain = tuple(chain)

    def wanted(self) -> State:
        state: dict[str, Any] = {}
        for position, item in enumerate(self.chain):
            kind = type(item).__name__.lower()
            state.update({f"{self.link} {position} {key}": value for key, value in item.state().items()})
            state[f"{self.link} {position} kind"] = kind
        return state

    def observe(self, context: Context) -> State:
        number = lookup.index(context, self.netns, self.link)
        if number is None:
            return {}
        found = read_qdiscs(context.connection.netlink(self.netns).dump(messages.qdiscs_dump()), number)
        state: dict[str, Any] = {}
        for position, parent in enumerate((messages.TC_H_ROOT, _CHILD_PARENT)):
            state.update({f"{self.link} {position} {key}": value for key, value in found.get(parent, {}).items()})
        return state

    def apply(self, context: Context, changes: Sequence[Change]) -> None:
        number = lookup.required_index(context, self.netns, self.link)
        context.connection.netlink(self.netns).transact(self.requests(number))

    def requests(self, link_index: int) -> list[Request]:
        """The requests that install the chain on the link of that index."""
        places = ((messages.TC_H_ROOT, _ROOT_HANDLE), (_CHILD_PARENT, _CHILD_HANDLE))
        return [
            messages.qdisc_replace(link_index, type(item).__name__.lower(), parent, handle, item.options())
            for item, (parent, handle) in zip(self.chain, places, strict=False)
        ]

    def undo(self, context: Context) -> None:
        number = lookup.index(context, self.netns, self.link)
        if number is None:
            return
        request = messages.qdisc_delete(number, messages.TC_H_ROOT)
        try:
            socket = context.connection.netlink(self.netns)
            socket.transact([request], ignore=frozenset({errno.ENOENT, errno.EINVAL}))
        except NamespaceMissing:
            pass
