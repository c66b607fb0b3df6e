"""The two state streams between source and destination: opening, accepting and pacing them.

Each is authenticated (harness.migration.handshake) for its kind and the epoch of this attempt before a byte of state,
inside TLS where the run encrypts.
"""

from __future__ import annotations

import socket
import struct

from harness.migration.handshake import Kind, authenticate_client, authenticate_server
from harness.migration.reception import Reception
from harness.migration.tls import DESTINATION, SOURCE, Tls
from harness.migration.transport import Deadline, Stream, Tick, connect, listen

_SO_MAX_PACING_RATE = 47
_UNPACED = 2**64 - 1
_TCP_INFO_BYTES = 136
_BYTES_RECEIVED_AT = 128


class StreamListener:
    """Listens on one address for one stream of one epoch; strangers are refused, counted and logged in one line."""

    def __init__(self, address: str, kind: Kind, epoch: int, secret: bytes, tls: Tls | None = None) -> None:
        self._kind, self._epoch, self._secret, self._tls = kind, epoch, secret, tls
        self._reception = Reception(listen(address), self._admit)

    @property
    def port(self) -> int:
        return self._reception.port

    @property
    def refused(self) -> int:
        """Connections that were not the stream."""
        return self._reception.refused

    def accept(self, deadline: Deadline, tick: Tick | None = None) -> Stream:
        """The authenticated stream; nobody else is listened to any more.

        Raises DeadlineExceeded, ProtocolError (no listener), and what `tick` raises.
        """
        stream = self._reception.next(deadline, f"{self._kind.name.lower()} stream of the source", tick)
        self._reception.stop_listening()
        return stream

    def close(self) -> None:
        """Stop listening; the accepted stream stays open."""
        self._reception.close()

    def _admit(self, sock: socket.socket, deadline: Deadline, tick: Tick) -> Stream:
        stream: Stream = sock if self._tls is None else self._tls.accept(sock, SOURCE, deadline, tick)
        try:
            authenticate_server(stream, self._secret, self._kind, self._epoch, deadline, tick)
        except BaseException:
            stream.close()
            raise
        return stream


def open_stream(
    address: str,
    port: int,
    kind: Kind,
    epoch: int,
    secret: bytes,
    deadline: Deadline,
    tick: Tick | None = None,
    rate_bps: int = 0,
    tls: Tls | None = None,
) -> Stream:
    """An authenticated stream to the destination, paced to `rate_bps` (0: unlimited).

    Raises ProtocolError (refused, unreachable, wrong secret) and DeadlineExceeded.
    """
    stream: Stream = connect(address, port, deadline, f"{kind.name.lower()} stream to the destination", tick)
    try:
        if tls is not None:
            assert isinstance(stream, socket.socket)
            stream = tls.connect(stream, DESTINATION, deadline, tick)
        authenticate_client(stream, secret, kind, epoch, deadline, tick)
        if rate_bps:
            pace(stream, rate_bps)
    except BaseException:
        stream.close()
        raise
    return stream


def pace(sock: Stream, rate_bps: int) -> None:
    """Have the kernel's TCP send at most `rate_bps` (0: unlimited); it paces by itself where no fq qdisc does."""
    rate_bytes_per_s = max(rate_bps // 8, 1) if rate_bps else _UNPACED
    sock.setsockopt(socket.SOL_SOCKET, _SO_MAX_PACING_RATE, struct.pack("@Q", rate_bytes_per_s))


def received_wire_bytes(sock: Stream) -> int:
    """Bytes TCP has received on this connection, authentication and TLS included (tcpi_bytes_received)."""
    info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_BYTES)
    (received,) = struct.unpack_from("@Q", info, _BYTES_RECEIVED_AT)
    return int(received)
