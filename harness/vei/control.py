"""The control server of an instance: one address, one authenticated controller at a time."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable

from harness.errors import DeadlineExceeded, ProtocolError
from harness.migration.messages import AnyRequest, AnyResponse, Message, encode, parse_request
from harness.migration.protocol import ControlChannel
from harness.migration.reception import Reception
from harness.migration.tls import Tls
from harness.migration.transport import Deadline, Tick, listen

SEND_DEADLINE_NS = 2_000_000_000
_IDLE_NS = 1_000_000_000

log = logging.getLogger(__name__)


class ControlServer:
    """Listens on exactly `address`; port 0 lets the kernel choose. Raises ProtocolError where it cannot."""

    def __init__(self, address: str, port: int, secret: bytes, tls: Tls | None = None) -> None:
        self._reception = Reception(listen(address, port), self._admit)
        self._secret, self._tls = secret, tls
        self._channel: ControlChannel | None = None
        self._lock = threading.Lock()
        self._closing = threading.Event()

    @property
    def port(self) -> int:
        return self._reception.port

    @property
    def refused(self) -> int:
        """Connections that were not of the controller."""
        return self._reception.refused

    def serve(self, handle: Callable[[AnyRequest], AnyResponse], lost: Callable[[], None]) -> None:
        """Serve one controller after another until `close`; `lost` is called whenever one has left."""
        while not self._closing.is_set():
            try:
                channel = self._next_controller()
            except DeadlineExceeded:
                continue
            try:
                self._serve(channel, handle)
            except ProtocolError as error:
                if not self._closing.is_set():
                    log.warning("control connection ended: %s", error)
            finally:
                with self._lock:
                    self._channel = None
                lost()
                channel.close()
        self._reception.close()

    def notify(self, message: Message) -> None:
        """Send to the controller. Where there is none, or it does not read, the message is lost and logged."""
        with self._lock:
            channel = self._channel
        if channel is None:
            log.warning("no controller for %s", type(message).__name__)
            return
        try:
            channel.send(encode(message), Deadline.after(SEND_DEADLINE_NS))
        except (ProtocolError, DeadlineExceeded) as error:
            log.warning("%s not sent: %s", type(message).__name__, error)
            channel.wake()

    def close(self) -> None:
        """Have `serve` return; the connection is closed with what was already sent on it delivered."""
        self._closing.set()

    def _next_controller(self) -> ControlChannel:
        channel = self._reception.next(Deadline.after(_IDLE_NS), "controller", self._tick)
        with self._lock:
            self._channel = channel
        return channel

    def _admit(self, sock: socket.socket, deadline: Deadline, tick: Tick) -> ControlChannel:
        return ControlChannel.serve(sock, self._secret, deadline, tick, self._tls)

    def _serve(self, channel: ControlChannel, handle: Callable[[AnyRequest], AnyResponse]) -> None:
        while not self._closing.is_set():
            try:
                body = channel.receive(Deadline.after(_IDLE_NS), self._tick)
            except DeadlineExceeded:
                continue
            channel.send(encode(handle(parse_request(body))), Deadline.after(SEND_DEADLINE_NS))

    def _tick(self) -> None:
        if self._closing.is_set():
            raise DeadlineExceeded("the control server is closing")
