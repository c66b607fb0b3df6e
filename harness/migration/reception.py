"""Who may come in at a listener: every connection proves itself on a thread of its own; the first that can is taken.

Side by side, so that a stranger who says nothing holds up nobody; at most PENDING_MAX at a time, and a newer one
displaces the oldest: a crowd of silent strangers does not keep the peer out either.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections import deque
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from harness.errors import DeadlineExceeded, ProtocolError
from harness.migration.transport import Deadline, Tick, accept, wait_readable

HANDSHAKE_DEADLINE_NS = 2_000_000_000
"""Longest time a connection may take to prove itself."""
PENDING_MAX = 64

_log = logging.getLogger(__name__)


class _Closable(Protocol):
    def close(self) -> None: ...


Admitted = TypeVar("Admitted", bound=_Closable)
Admission = Callable[[socket.socket, Deadline, Tick], Admitted]
"""(fresh connection, deadline, tick) -> what it becomes. Raises ProtocolError and DeadlineExceeded where the peer is
not the right one."""


class _Guest:
    """A connection that has yet to prove itself; `dismissed` says why it need not any more."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.name = _peer_name(sock)
        self.dismissed = ""

    def tick(self) -> None:
        if self.dismissed:
            raise ProtocolError(self.dismissed)


class Reception(Generic[Admitted]):
    """Takes over `listener`. `refused` counts the connections that did not prove themselves, each logged in a line."""

    def __init__(self, listener: socket.socket, admit: Admission[Admitted]) -> None:
        self._listener, self._admit = listener, admit
        self._lock = threading.Lock()
        self._guests: dict[threading.Thread, _Guest] = {}
        self._admitted: deque[Admitted] = deque()
        self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._is_closed = False
        self.refused = 0

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    def next(self, deadline: Deadline, awaited: str, tick: Tick | None = None) -> Admitted:
        """The next that has proved itself. Raises DeadlineExceeded, ProtocolError (no listener), what `tick` raises."""
        while True:
            with self._lock:
                if self._admitted:
                    return self._admitted.popleft()
            ready = wait_readable((self._listener.fileno(), self._bell), deadline, awaited, tick)
            if self._bell in ready:
                os.eventfd_read(self._bell)
            if self._listener.fileno() in ready:
                self._receive(accept(self._listener, deadline, awaited, tick))

    def stop_listening(self) -> None:
        """Nobody else comes in: those who are not admitted by now are refused."""
        self._listener.close()
        self._dismiss_all("another connection was taken")

    def close(self) -> None:
        """Stop listening and wait for the threads; what was admitted and never taken is closed. Twice is no error."""
        if self._is_closed:
            return
        self._is_closed = True
        self._listener.close()
        self._dismiss_all("the listener was closed")
        for thread in list(self._guests):
            thread.join()
        for admitted in self._admitted:
            admitted.close()
        os.close(self._bell)

    def _receive(self, sock: socket.socket) -> None:
        guest = _Guest(sock)
        thread = threading.Thread(target=self._examine, args=(guest,), name="admission", daemon=True)
        with self._lock:
            waiting = [other for other in self._guests.values() if not other.dismissed]
            if len(waiting) >= PENDING_MAX:
                waiting[0].dismissed = f"had not authenticated when {PENDING_MAX} others waited"
            self._guests[thread] = guest
        thread.start()

    def _examine(self, guest: _Guest) -> None:
        try:
            admitted = self._admit(guest.sock, Deadline.after(HANDSHAKE_DEADLINE_NS), guest.tick)
        except Exception as error:
            guest.sock.close()
            if not isinstance(error, ProtocolError | DeadlineExceeded):
                _log.exception("a defect in the admission")
            _log.warning("refused a connection from %s: %s", guest.name, error or type(error).__name__)
            with self._lock:
                self.refused += 1
        else:
            with self._lock:
                self._admitted.append(admitted)
            os.eventfd_write(self._bell, 1)
        finally:
            with self._lock:
                del self._guests[threading.current_thread()]

    def _dismiss_all(self, reason: str) -> None:
        with self._lock:
            for guest in self._guests.values():
                guest.dismissed = guest.dismissed or reason


def _peer_name(sock: socket.socket) -> str:
    try:
        host, port = sock.getpeername()[:2]
    except OSError:
        return "a peer that left"
    return f"{host}:{port}"
