"""The control server of an instance: one address, one authenticated controller at a time."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from harness.errors import DeadlineExceeded, ProtocolError
from harness.migration.messages import AnyRequest, AnyResponse, Message, encode, parse_request
from harness.migration.protocol import ControlChannel
from harness.migration.stream import HANDSHAKE_DEADLINE_NS
from harness.migration.transport import Deadline, accept, listen

SEND_DEADLINE_NS = 2_000_000_000
_IDLE_NS = 1_000_000_000

log = logging.getLogger(__name__)


class ControlServer:
    """Listens on exactly `address`; port 0 lets the kernel choose. Raises ProtocolError where it cannot."""

    def __init__(self, address: str, port: int, secret: bytes) -> None:
        self._listener = listen(address, port)
        self._secret = secret
        self._channel: ControlChannel | None = None
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self.refused = 0

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

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
        self._listener.close()

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
        sock = accept(self._listener, Deadline.after(_IDLE_NS), "controller", self._tick)
        try:
            channel = ControlChannel.serve(sock, self._secret, Deadline.after(HANDSHAKE_DEADLINE_NS))
        except (ProtocolError, DeadlineExceeded) as error:
            self.refused += 1
            log.warning("refused a control connection: %s", error)
            raise DeadlineExceeded("no controller yet") from error
        with self._lock:
            self._channel = channel
        return channel

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
