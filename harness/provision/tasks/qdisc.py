"""Queueing disciplines of a link: tbf as the meter, netem for latency and impairments with tbf behind it, or none."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from harness.provision import messages
from harness.provision.connections.errors import NamespaceMissing
from harness.provision.netem import netem_replace, netem_state
from harness.provision.netlink import Request
from harness.provision.task import Change, Context, State, Task
from harness.provision.tasks import lookup

_ROOT_HANDLE = 0x10000
_CHILD_PARENT = 0x10001
_CHILD_HANDLE = 0x20000
_NO_QUEUE = "noqueue"
"""What a veth has until it is given a queueing discipline."""


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

    def request(self, link_index: int, parent: int, handle: int) -> Request:
        """Install it, or change one that is there without dropping what waits in it."""
        return messages.qdisc_replace(link_index, "tbf", parent, handle, self.options())


@dataclass(frozen=True)
class Netem:
    """Delay and impairments (tc-netem(8)) for at most `limit_packets` packets at a time; probabilities are from 0 to 1.

    `distribution` None is uniform. Name "uniform" instead where the distribution may have been another one before.
    """

    latency_ns: int
    limit_packets: int = 100_000
    ipdv_ns: int = 0
    distribution: str | None = None
    loss: float = 0.0
    duplication: float = 0.0
    reordering: float = 0.0
    corruption: float = 0.0

    def state(self) -> dict[str, int]:
        return netem_state(
            self.latency_ns,
            self.ipdv_ns,
            limit_packets=self.limit_packets,
            loss=self.loss,
            duplication=self.duplication,
            reordering=self.reordering,
            corruption=self.corruption,
        )

    def request(self, link_index: int, parent: int, handle: int) -> Request:
        """Install it, or change one that is there; what waits in it keeps its time."""
        return netem_replace(link_index, parent, handle, self.state(), self.distribution)


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
            state.update(_netem_state(options))
        result[int(item["parent"])] = state
    return result


def _netem_state(options: Any) -> dict[str, int]:
    reorder = options.get_attr("TCA_NETEM_REORDER")
    corrupt = options.get_attr("TCA_NETEM_CORRUPT")
    return {
        "latency_ticks": options["delay"],
        "limit_packets": options["limit"],
        "loss": options["loss"],
        "gap": options["gap"],
        "duplication": options["duplicate"],
        "ipdv_ticks": options["jitter"],
        "reordering": reorder["prob_reorder"] if reorder else 0,
        "corruption": corrupt["prob_corrupt"] if corrupt else 0,
    }


class Qdiscs(Task):
    """Queueing disciplines at the egress of a link: the first at the root, a second one behind it; none if there is
    none.
    """

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
        return state or {f"{self.link} 0 kind": _NO_QUEUE}

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
        absent = frozenset() if self.chain else frozenset({errno.ENOENT, errno.EINVAL})
        context.connection.netlink(self.netns).transact(self.requests(number), ignore=absent)

    def requests(self, link_index: int) -> list[Request]:
        """The requests that install the chain on the link of that index."""
        if not self.chain:
            return [messages.qdisc_delete(link_index, messages.TC_H_ROOT)]
        places = ((messages.TC_H_ROOT, _ROOT_HANDLE), (_CHILD_PARENT, _CHILD_HANDLE))
        return [
            item.request(link_index, parent, handle) for item, (parent, handle) in zip(self.chain, places, strict=False)
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
