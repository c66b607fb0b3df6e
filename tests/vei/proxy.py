"""A TCP relay that does what a bad network or a bad peer does: cuts, alters, or withholds what the source sends."""

from __future__ import annotations

import socket
from collections.abc import Callable

from harness.faults.relay import ByteFault, Relay

Fault = Callable[[], list[ByteFault]]
"""What happens to the bytes of one connection, made anew for each."""


def clean() -> list[ByteFault]:
    return []


def cut_at(limit: int) -> Fault:
    return lambda: [ByteFault("truncate", limit)]


def flip_at(position: int) -> Fault:
    return lambda: [ByteFault("corrupt", position, bit=6)]


def stall_at(limit: int) -> Fault:
    return lambda: [ByteFault("stop", limit, for_ns=30_000_000_000)]


class Proxy(Relay):
    """Relays one connection to `port`; `cut` ends it from outside."""

    def __init__(self, address: str, port: int, fault: Fault = clean) -> None:
        super().__init__(socket.create_server((address, 0)), lambda: socket.create_connection((address, port)), fault())
