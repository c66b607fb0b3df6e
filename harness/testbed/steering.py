"""What a fabric can be asked for while a run goes on, whichever host it is on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

DRAIN_DEADLINE_NS = 200_000_000


@dataclass(frozen=True)
class Steered:
    """A switchover: when the batch was handed to the kernel and when all of it was acknowledged (CLOCK_MONOTONIC ns).

    `settled_ns` is when no CPU could still be forwarding a frame by the table as it was before.
    """

    owner: str
    started_ns: int
    acknowledged_ns: int
    settled_ns: int
    requests: int

    @property
    def duration_ns(self) -> int:
        """From handing the batch over to its last acknowledgement."""
        return self.acknowledged_ns - self.started_ns


class FabricControl(Protocol):
    """All times are of this host's CLOCK_MONOTONIC. HarnessError where the fabric does not do it; where it is on
    another host and does not answer in time, it may have done it or may do it yet, but before what it is asked next.
    """

    def steer(self, to: str) -> Steered:
        """Give the VNF addresses to `to` ("source" or "destination") by one netlink batch.

        On return every frame forwarded by the table as it was before is in the queue of its port or beyond.
        """

    def inject_drain(self, port_index: int, sequence: int, token: bytes, deadline_ns: int = DRAIN_DEADLINE_NS) -> int:
        """Send a drain frame out of the port towards the source, behind all its queue holds; returns when (ns).

        Where frames overtake each other there, first wait until none can be left of those before the switchover.
        A full queue drops the frame, and a link that is down takes none; the kernel says so and it is sent again until
        `deadline_ns` from now has passed, which raises HarnessError: the frame then never left.
        """

    def cut_management(self, node: str) -> None:
        """Stop forwarding to the management address of an instance; nothing is flooded instead. Doing it twice is no
        error."""

    def restore_management(self, node: str) -> None:
        """Forward to it again. Doing it twice is no error."""

    def forwarding(self) -> list[tuple[str, str]]:
        """(MAC, port) of every static entry of the forwarding table."""

    def owner(self) -> str | None:
        """The node that owns the VNF addresses by the forwarding table; None when they have no common owner."""
