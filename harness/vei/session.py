"""What the source's and the destination's session of one migration have in common: being broken off from outside.

A session has one thread that does the work and, whatever happens, tidies up; every other thread (the control thread
with an abort request, a stream thread with an error) only says that it is over, by `break_off`.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from harness.errors import HarnessError
from harness.migration.messages import Notification
from harness.migration.transport import Stream, wake

log = logging.getLogger("harness.vei")

Notify = Callable[[Notification], None]
"""Sends a notification to the controller; it does not raise where there is none any more."""


class BrokenOffError(HarnessError):
    """The session was broken off; the message is the reason."""


class Session:
    """One migration, as one side sees it."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch
        self.ended = threading.Event()
        self._lock = threading.Lock()
        self._reason: str | None = None
        self._irrevocable = False
        self._sockets: list[Stream] = []

    @property
    def reason(self) -> str | None:
        """Why the session was broken off; None while it was not."""
        return self._reason

    def break_off(self, reason: str) -> bool:
        """End the session; the first reason counts. False where it is past the point of no return."""
        with self._lock:
            if self._irrevocable:
                return False
            if self._reason is None:
                self._reason = reason
                log.warning("epoch %d: broken off: %s", self.epoch, reason)
            for sock in self._sockets:
                wake(sock)
            return True

    def tick(self) -> None:
        """Raises BrokenOffError once the session was broken off; called in every longer wait."""
        if self._reason is not None:
            raise BrokenOffError(self._reason)

    def _pass_point_of_no_return(self) -> None:
        """From here on `break_off` is refused. Raises BrokenOffError where it was called before."""
        with self._lock:
            if self._reason is not None:
                raise BrokenOffError(self._reason)
            self._irrevocable = True

    def _adopt(self, sock: Stream) -> Stream:
        """Have `break_off` wake whoever waits on this socket; closed by `_close_sockets`."""
        with self._lock:
            self._sockets.append(sock)
            if self._reason is not None:
                wake(sock)
        return sock

    def _close_sockets(self) -> None:
        with self._lock:
            for sock in self._sockets:
                sock.close()
            self._sockets.clear()
