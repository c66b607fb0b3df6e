"""A fabric on another host: the controller's side, and the agent's, which steers it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from harness.errors import UsageError
from harness.remote.caller import Caller
from harness.remote.parsed import Parsed, parsed
from harness.testbed import topology as names
from harness.testbed.steering import DRAIN_DEADLINE_NS, FabricControl, Steered

ANSWER_S = 5.0
"""Beside what the fabric may take by itself."""
AT_ONCE = ("steer", "inject_drain")
"""What a switchover waits for; nothing else that the agent is asked for holds it up."""
_DRAIN_MAX_NS = 2_000_000_000


@dataclass(frozen=True)
class _Sent:
    sent_ns: int


@dataclass(frozen=True)
class _Table:
    entries: list[tuple[str, str]]


@dataclass(frozen=True)
class _Owner:
    owner: str | None


class RemoteFabric:
    """`FabricControl` over the connection to the host of that title. offset_ns: CLOCK_MONOTONIC there less this host's,
    as it is known now."""

    def __init__(self, remote: Caller, title: str, offset_ns: Callable[[], int]) -> None:
        self._remote, self._title, self._offset_ns = remote, title, offset_ns

    def steer(self, to: str) -> Steered:
        read, offset_ns = self._ask(Steered, "steer", to=to), self._offset_ns()
        return replace(
            read,
            started_ns=read.started_ns - offset_ns,
            acknowledged_ns=read.acknowledged_ns - offset_ns,
            settled_ns=read.settled_ns - offset_ns,
        )

    def inject_drain(self, port_index: int, sequence: int, token: bytes, deadline_ns: int = DRAIN_DEADLINE_NS) -> int:
        asked = {"port_index": port_index, "sequence": sequence, "token": token.hex(), "deadline_ns": deadline_ns}
        return self._ask(_Sent, "inject_drain", **asked).sent_ns - self._offset_ns()

    def cut_management(self, node: str) -> None:
        self._remote.call("cut_management", ANSWER_S, node=node)

    def restore_management(self, node: str) -> None:
        self._remote.call("restore_management", ANSWER_S, node=node)

    def forwarding(self) -> list[tuple[str, str]]:
        return self._ask(_Table, "forwarding").entries

    def owner(self) -> str | None:
        return self._ask(_Owner, "owner").owner

    def _ask(self, kind: type[Parsed], call: str, **arguments: Any) -> Parsed:
        answer = self._remote.call(call, ANSWER_S + arguments.get("deadline_ns", 0) / 1e9, **arguments)
        return parsed(kind, answer, f"host {self._title}: {call}")


class FabricPart:
    """`fabric`: the one that stands now; HarnessError where none does."""

    def __init__(self, fabric: Callable[[], FabricControl]) -> None:
        self._fabric = fabric

    @property
    def calls(self) -> Mapping[str, Callable[..., dict[str, Any]]]:
        """By name."""
        return {
            "steer": self.steer,
            "inject_drain": self.inject_drain,
            "cut_management": self.cut_management,
            "restore_management": self.restore_management,
            "forwarding": self.forwarding,
            "owner": self.owner,
        }

    def steer(self, to: str) -> dict[str, Any]:
        """Give the VNF addresses to an instance."""
        return asdict(self._fabric().steer(to))

    def inject_drain(self, port_index: int, sequence: int, token: str, deadline_ns: int) -> dict[str, Any]:
        """Send a drain frame; token: in hexadecimal."""
        try:
            content = bytes.fromhex(token)
        except (TypeError, ValueError):
            raise UsageError("inject_drain: the token is not hexadecimal") from None
        last_ns = min(int(deadline_ns), _DRAIN_MAX_NS)
        return {"sent_ns": self._fabric().inject_drain(int(port_index), int(sequence), content, last_ns)}

    def cut_management(self, node: str) -> dict[str, Any]:
        """Stop forwarding to an instance's management address."""
        self._fabric().cut_management(_instance(node))
        return {}

    def restore_management(self, node: str) -> dict[str, Any]:
        """Forward to it again."""
        self._fabric().restore_management(_instance(node))
        return {}

    def forwarding(self) -> dict[str, Any]:
        """All static entries of the forwarding table."""
        return {"entries": self._fabric().forwarding()}

    def owner(self) -> dict[str, Any]:
        """Who has the VNF addresses."""
        return {"owner": self._fabric().owner()}


def _instance(node: object) -> str:
    if node not in names.INSTANCES:
        raise UsageError(f"{node!r:.40}: must be one of {', '.join(names.INSTANCES)}")
    return str(node)
