"""Non-blocking sockets with deadlines: no wait of the migration is without one.

The sockets stay non-blocking and every wait is a poll, so that several threads may use one socket with deadlines of
their own (a socket's timeout would be shared between them). `tick` is called about every 20 ms of a longer wait, so
that the waiting thread can see that it should give up; it does so by raising.
"""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass

from harness.errors import DeadlineExceeded, ProtocolError

Tick = Callable[[], None]

TICK_NS = 20_000_000


class StreamEndError(ProtocolError):
    """The peer closed the connection before the awaited bytes."""


@dataclass(frozen=True, slots=True)
class Deadline:
    """A point on CLOCK_MONOTONIC, with the duration it was made from (for messages)."""

    at_ns: int
    duration_ns: int

    @classmethod
    def after(cls, duration_ns: int) -> Deadline:
        return cls(time.monotonic_ns() + duration_ns, duration_ns)

    def remaining_ns(self) -> int:
        """Nanoseconds left, 0 when it has passed."""
        return max(self.at_ns - time.monotonic_ns(), 0)

    def sooner(self, duration_ns: int) -> Deadline:
        """This deadline, or one `duration_ns` from now where that comes first."""
        other = Deadline.after(duration_ns)
        return other if other.at_ns < self.at_ns else self

    def check(self, awaited: str) -> None:
        """Raises DeadlineExceeded when it has passed."""
        if self.remaining_ns() == 0:
            raise self.exceeded(awaited)

    def exceeded(self, awaited: str) -> DeadlineExceeded:
        return DeadlineExceeded(f"{awaited}: did not happen within {self.duration_ns / 1e9:g} s")


def wait_ready(sock: socket.socket, events: int, deadline: Deadline, awaited: str, tick: Tick | None = None) -> None:
    """Wait until `sock` is ready for `events` (select.POLLIN, POLLOUT). Raises DeadlineExceeded."""
    poll = select.poll()
    poll.register(sock, events)
    while True:
        if tick is not None:
            tick()
        remaining_ns = deadline.remaining_ns()
        if remaining_ns == 0:
            raise deadline.exceeded(awaited)
        slice_ns = remaining_ns if tick is None else min(remaining_ns, TICK_NS)
        if poll.poll(-(-slice_ns // 1_000_000)):
            return


def receive_some(
    sock: socket.socket, view: memoryview, deadline: Deadline, awaited: str, tick: Tick | None = None
) -> int:
    """Read what is there, at least one byte, into `view`; returns the bytes read, 0 when the peer has closed.

    Raises DeadlineExceeded, and ProtocolError where the connection broke.
    """
    while True:
        try:
            return sock.recv_into(view)
        except (BlockingIOError, InterruptedError):
            wait_ready(sock, select.POLLIN, deadline, awaited, tick)
        except OSError as error:
            raise ProtocolError(f"{awaited}: connection broke ({error.strerror})") from error


def receive_exactly(
    sock: socket.socket, view: memoryview, deadline: Deadline, awaited: str, tick: Tick | None = None
) -> None:
    """Fill `view`. Raises StreamEndError, ProtocolError, DeadlineExceeded."""
    filled = 0
    while filled < len(view):
        received = receive_some(sock, view[filled:], deadline, awaited, tick)
        if received == 0:
            raise StreamEndError(f"{awaited}: peer closed after {filled} of {len(view)} bytes")
        filled += received


def send_all(
    sock: socket.socket, data: bytes | memoryview, deadline: Deadline, awaited: str, tick: Tick | None = None
) -> None:
    """Send all of `data`. Raises ProtocolError where the connection broke, DeadlineExceeded."""
    view = memoryview(data)
    while view:
        try:
            view = view[sock.send(view, socket.MSG_NOSIGNAL) :]
        except (BlockingIOError, InterruptedError):
            wait_ready(sock, select.POLLOUT, deadline, awaited, tick)
        except OSError as error:
            raise ProtocolError(f"{awaited}: connection broke ({error.strerror})") from error


def connect(address: str, port: int, deadline: Deadline, awaited: str, tick: Tick | None = None) -> socket.socket:
    """A connected TCP socket. Raises ProtocolError (refused, unreachable) and DeadlineExceeded."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            sock.connect((address, port))
        except BlockingIOError:
            wait_ready(sock, select.POLLOUT, deadline, awaited, tick)
        error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            raise OSError(error, _strerror(error))
    except OSError as error:
        sock.close()
        raise ProtocolError(f"{awaited}: cannot connect to {address}:{port} ({error.strerror})") from error
    except BaseException:
        sock.close()
        raise
    return sock


def listen(address: str, port: int = 0) -> socket.socket:
    """A TCP listener on exactly this address; port 0 lets the kernel choose.

    Raises ProtocolError where the address is not local or is the wildcard.
    """
    if address in ("", "0.0.0.0", "::"):
        raise ProtocolError(f"will not listen on every address ({address!r}): give the management address")
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((address, port))
        sock.listen(8)
    except OSError as error:
        sock.close()
        raise ProtocolError(f"cannot listen on {address}:{port} ({error.strerror})") from error
    return sock


def accept(listener: socket.socket, deadline: Deadline, awaited: str, tick: Tick | None = None) -> socket.socket:
    """The next connection, non-blocking. Raises DeadlineExceeded, and ProtocolError where the listener was closed."""
    while True:
        try:
            sock, _ = listener.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            wait_ready(listener, select.POLLIN, deadline, awaited, tick)
            continue
        except OSError as error:
            raise ProtocolError(f"{awaited}: listener failed ({error.strerror})") from error
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock


def wake(sock: socket.socket | None) -> None:
    """End both directions, so that a thread waiting on the socket returns. Only the thread that owns it closes it."""
    if sock is not None:
        try:
            sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            return


def _strerror(number: int) -> str:
    import os

    return os.strerror(number)
