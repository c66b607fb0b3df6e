"""Non-blocking sockets with deadlines: no wait of the migration is without one.

The sockets stay non-blocking and every wait is a poll, so that several threads may use one socket with deadlines of
their own (a socket's timeout would be shared between them). `tick` is called about every 20 ms of a longer wait, so
that the waiting thread can see that it should give up; it does so by raising. A stream is a TCP socket, or TLS on
one (harness.migration.tls): the functions here treat them alike.
"""

from __future__ import annotations

import os
import select
import socket
import ssl
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from harness.errors import DeadlineExceeded, ProtocolError
from harness.migration.tls_stream import TlsStream

Tick = Callable[[], None]
Stream = socket.socket | TlsStream

TICK_NS = 20_000_000
BACKLOG = 128
"""Connections the kernel holds for a listener: a crowd of strangers must not use up the place of the peer."""
NOT_YET = (BlockingIOError, InterruptedError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
"""What a call on a non-blocking stream raises that has to be repeated later; see `wanted_events`."""


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


def wanted_events(error: OSError, otherwise: int = select.POLLIN) -> int:
    """What to wait for after one of NOT_YET: TLS may have to write in order to read, and the reverse."""
    if isinstance(error, ssl.SSLWantWriteError):
        return select.POLLOUT
    return select.POLLIN if isinstance(error, ssl.SSLWantReadError) else otherwise


def broken(awaited: str, error: Exception) -> ProtocolError:
    """What an error of a socket or of TLS means here, in one line that holds nothing of what was transmitted."""
    if isinstance(error, ssl.SSLEOFError):
        return StreamEndError(f"{awaited}: connection was cut (no end in TLS)")
    if isinstance(error, ssl.SSLCertVerificationError):
        return ProtocolError(f"{awaited}: certificate refused ({error.verify_message})")
    if isinstance(error, ssl.SSLError):
        return ProtocolError(f"{awaited}: TLS failed ({(error.reason or 'no reason given').lower().replace('_', ' ')})")
    reason = error.strerror if isinstance(error, OSError) else "it was closed"
    return ProtocolError(f"{awaited}: connection broke ({reason})")


def wait_ready(sock: Stream, events: int, deadline: Deadline, awaited: str, tick: Tick | None = None) -> None:
    """Wait until `sock` is ready for `events` (select.POLLIN, POLLOUT). Raises DeadlineExceeded."""
    _wait([(sock.fileno(), events)], deadline, awaited, tick)


def wait_readable(descriptors: Sequence[int], deadline: Deadline, awaited: str, tick: Tick | None = None) -> set[int]:
    """Wait until at least one of the descriptors can be read; returns those that can. Raises DeadlineExceeded."""
    return _wait([(descriptor, select.POLLIN) for descriptor in descriptors], deadline, awaited, tick)


def _wait(watched: Sequence[tuple[int, int]], deadline: Deadline, awaited: str, tick: Tick | None) -> set[int]:
    poll = select.poll()
    for descriptor, events in watched:
        if descriptor < 0:
            raise ProtocolError(f"{awaited}: connection broke (it was closed)")
        poll.register(descriptor, events)
    while True:
        if tick is not None:
            tick()
        remaining_ns = deadline.remaining_ns()
        if remaining_ns == 0:
            raise deadline.exceeded(awaited)
        slice_ns = remaining_ns if tick is None else min(remaining_ns, TICK_NS)
        if ready := poll.poll(-(-slice_ns // 1_000_000)):
            return {descriptor for descriptor, _ in ready}


def receive_some(sock: Stream, view: memoryview, deadline: Deadline, awaited: str, tick: Tick | None = None) -> int:
    """Read what is there, at least one byte, into `view`; returns the bytes read, 0 when the peer has closed.

    Raises DeadlineExceeded, and ProtocolError where the connection broke; TLS that ends without saying so is broken.
    """
    while True:
        try:
            return sock.recv_into(view)
        except NOT_YET as error:
            wait_ready(sock, wanted_events(error), deadline, awaited, tick)
        except (OSError, ValueError) as error:
            raise broken(awaited, error) from error


def receive_ready(sock: Stream, view: memoryview, awaited: str) -> int | None:
    """As `receive_some`, but None where nothing (or, of TLS, no whole record) has arrived yet."""
    try:
        return sock.recv_into(view)
    except NOT_YET:
        return None
    except (OSError, ValueError) as error:
        raise broken(awaited, error) from error


def receive_exactly(sock: Stream, view: memoryview, deadline: Deadline, awaited: str, tick: Tick | None = None) -> None:
    """Fill `view`. Raises StreamEndError, ProtocolError, DeadlineExceeded."""
    filled = 0
    while filled < len(view):
        received = receive_some(sock, view[filled:], deadline, awaited, tick)
        if received == 0:
            raise StreamEndError(f"{awaited}: peer closed after {filled} of {len(view)} bytes")
        filled += received


def send_all(
    sock: Stream, data: bytes | memoryview, deadline: Deadline, awaited: str, tick: Tick | None = None
) -> None:
    """Send all of `data`. Raises ProtocolError where the connection broke, DeadlineExceeded."""
    view = memoryview(data)
    while view:
        try:
            # No SIGPIPE comes of it: the interpreter ignores that signal.
            view = view[sock.send(view) :]
        except NOT_YET as error:
            wait_ready(sock, wanted_events(error, select.POLLOUT), deadline, awaited, tick)
        except (OSError, ValueError) as error:
            raise broken(awaited, error) from error


def end_sending(sock: Stream, deadline: Deadline, awaited: str, tick: Tick | None = None) -> None:
    """Tell the peer that nothing follows; receiving goes on. Raises ProtocolError, DeadlineExceeded."""
    while True:
        try:
            if isinstance(sock, TlsStream):
                sock.end_sending()
            else:
                sock.shutdown(socket.SHUT_WR)
            return
        except NOT_YET as error:
            wait_ready(sock, wanted_events(error, select.POLLOUT), deadline, awaited, tick)
        except (OSError, ValueError) as error:
            raise broken(awaited, error) from error


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
            raise OSError(error, os.strerror(error))
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
        sock.listen(BACKLOG)
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


def wake(sock: Stream | None) -> None:
    """End both directions, so that a thread waiting on the socket returns. Only the thread that owns it closes it."""
    try:
        if isinstance(sock, TlsStream):
            sock.wake()
        elif sock is not None:
            sock.shutdown(socket.SHUT_RDWR)
    except OSError:
        return


def hang_up(sock: Stream) -> None:
    """Close a connection in order: a peer that goes on reading can tell it from one that was cut."""
    if isinstance(sock, TlsStream):
        sock.farewell()
    wake(sock)
    sock.close()
