"""The two state streams between source and destination: opening, accepting and pacing them.

Each is authenticated (harness.migration.handshake) for its kind and the epoch of this attempt before a byte of state.
"""

from __future__ import annotations

import logging
import socket
import struct

from harness.errors import DeadlineExceeded, ProtocolError
from harness.migration.handshake import Kind, authenticate_client, authenticate_server
from harness.migration.transport import Deadline, Tick, accept, connect, listen

_SO_MAX_PACING_RATE = 47
_UNPACED = 2**64 - 1
HANDSHAKE_DEADLINE_NS = 2_000_000_000
"""Longest time a connection may take to authenticate: a silent stranger holds up the next one no longer."""

_log = logging.getLogger(__name__)


class StreamListener:
    """Listens on one address for one stream of one epoch; strangers are refused, counted and logged in one line."""

    def __init__(self, address: str, kind: Kind, epoch: int, secret: bytes) -> None:
        self._sock = listen(address)
        self._kind, self._epoch, self._secret = kind, epoch, secret
        self.refused = 0

    @property
    def port(self) -> int:
        return int(self._sock.getsockname()[1])

    def accept(self, deadline: Deadline, tick: Tick | None = None) -> socket.socket:
        """The authenticated stream. Raises DeadlineExceeded, ProtocolError (no listener), and what `tick` raises."""
        awaited = f"{self._kind.name.lower()} stream of the source"
        while True:
            sock = accept(self._sock, deadline, awaited, tick)
            peer = _peer_name(sock)
            try:
                within = deadline.sooner(HANDSHAKE_DEADLINE_NS)
                authenticate_server(sock, self._secret, self._kind, self._epoch, within, tick)
            except (ProtocolError, DeadlineExceeded) as error:
                sock.close()
                if tick is not None:
                    tick()
                self.refused += 1
                _log.warning("refused a connection from %s: %s", peer, error)
            except BaseException:
                sock.close()
                raise
            else:
                return sock

    def close(self) -> None:
        self._sock.close()


def open_stream(
    address: str,
    port: int,
    kind: Kind,
    epoch: int,
    secret: bytes,
    deadline: Deadline,
    tick: Tick | None = None,
    rate_bps: int = 0,
) -> socket.socket:
    """An authenticated stream to the destination, paced to `rate_bps` (0: unlimited).

    Raises ProtocolError (refused, unreachable, wrong secret) and DeadlineExceeded.
    """
    sock = connect(address, port, deadline, f"{kind.name.lower()} stream to the destination", tick)
    try:
        authenticate_client(sock, secret, kind, epoch, deadline, tick)
        if rate_bps:
            pace(sock, rate_bps)
    except BaseException:
        sock.close()
        raise
    return sock


def pace(sock: socket.socket, rate_bps: int) -> None:
    """Have the kernel's TCP send at most `rate_bps` (0: unlimited); it paces by itself where no fq qdisc does."""
    rate_bytes_per_s = max(rate_bps // 8, 1) if rate_bps else _UNPACED
    sock.setsockopt(socket.SOL_SOCKET, _SO_MAX_PACING_RATE, struct.pack("@Q", rate_bytes_per_s))


def _peer_name(sock: socket.socket) -> str:
    try:
        host, port = sock.getpeername()[:2]
    except OSError:
        return "a peer that left"
    return f"{host}:{port}"
