"""How the scheduler of a sweep and the worker on a host reach each other: by TCP where both can, else through SSH."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from harness.errors import ProtocolError
from harness.remote.forward import LOOPBACK, Entrance
from harness.remote.session import RemoteHost


@dataclass(frozen=True)
class Reach:
    """scheduler: its URL as seen from the host; address: the only one of the host that the worker listens on; contact:
    the URL by which it is reached (None: that of where it listens)."""

    scheduler: str
    address: str
    contact: str | None = None
    entrance: Entrance | None = None

    def complete(self, event: dict[str, Any]) -> None:
        """With what the worker has said once it listened. HarnessError where nothing leads to it."""
        if self.entrance is None:
            return
        port = event.get("port")
        if not isinstance(port, int) or not 0 < port < 1 << 16:
            raise ProtocolError(f"worker: {port!r:.40} is no port")
        self.entrance.lead_to(port)


def reach(session: RemoteHost, scheduler: str) -> Reach:
    """For the worker of a host that is open. Behind a jump host both ends are loopback addresses, one of each side.
    HarnessError."""
    if not session.host.jump:
        return Reach(scheduler, session.call("own_address")["address"])
    protocol, _, at = scheduler.partition("://")
    address, _, port = at.rpartition(":")
    there = session.forwards.to_here((address, int(port)))
    entrance = session.forwards.to_there()
    return Reach(f"{protocol}://{LOOPBACK}:{there}", LOOPBACK, f"{protocol}://{LOOPBACK}:{entrance.port}", entrance)


def scheduler_address(sessions: list[RemoteHost]) -> str:
    """The address of this machine that its hosts reach; loopback where all of them come through SSH. ConnectionLost."""
    direct = [session for session in sessions if not session.host.jump]
    return direct[0].local_address if direct else LOOPBACK
