"""The control connection between the controller and an instance.

`ControlChannel` is one end of an authenticated connection. Bodies are bytes here; `ControllerChannel` speaks requests
and hears responses and notifications, the instance's end (harness.vei.control) does the opposite.
"""

from __future__ import annotations

import select
import socket
import threading
from collections import deque
from collections.abc import Sequence
from typing import TypeVar

from harness.errors import ProtocolError
from harness.migration.framing import FrameReader, encode_frame
from harness.migration.handshake import Kind, authenticate_client, authenticate_server
from harness.migration.messages import (
    AnyNotification,
    Notification,
    Refused,
    Request,
    Response,
    encode,
    parse_answer,
)
from harness.migration.tls import CONTROLLER, Tls
from harness.migration.transport import (
    Deadline,
    Stream,
    Tick,
    connect,
    hang_up,
    receive_ready,
    receive_some,
    send_all,
    wake,
)

_RECEIVE_BYTES = 1 << 16

R = TypeVar("R", bound=Response)


class RequestRefusedError(ProtocolError):
    """The instance refused a request; it changed nothing."""


class ControlChannel:
    """Authenticated frames in both directions; sending is safe from several threads, receiving from one.

    Raises ProtocolError once the peer closed or sent bytes that do not authenticate, DeadlineExceeded where a send or
    receive did not finish in time.
    """

    def __init__(self, sock: Stream, send_key: bytes, receive_key: bytes, peer: str) -> None:
        self.peer = peer
        self._sock = sock
        self._send_key = send_key
        self._send_sequence = 0
        self._send_lock = threading.Lock()
        self._reader = FrameReader(receive_key)
        self._buffer = memoryview(bytearray(_RECEIVE_BYTES))

    @classmethod
    def open(
        cls, address: str, port: int, secret: bytes, deadline: Deadline, peer: str, tls: Tls | None = None
    ) -> ControlChannel:
        """Connect and authenticate as the controller; `peer` is the name of the instance."""
        stream: Stream = connect(address, port, deadline, f"control connection to {peer}")
        try:
            if tls is not None:
                assert isinstance(stream, socket.socket)
                stream = tls.connect(stream, peer, deadline)
            keys = authenticate_client(stream, secret, Kind.CONTROL, 0, deadline)
        except BaseException:
            stream.close()
            raise
        return cls(stream, keys.to_server, keys.to_client, peer)

    @classmethod
    def serve(
        cls, sock: socket.socket, secret: bytes, deadline: Deadline, tick: Tick | None = None, tls: Tls | None = None
    ) -> ControlChannel:
        """Authenticate a connection that was just accepted; it is closed where that fails."""
        stream: Stream = sock if tls is None else tls.accept(sock, CONTROLLER, deadline, tick)
        try:
            keys = authenticate_server(stream, secret, Kind.CONTROL, 0, deadline, tick)
        except BaseException:
            stream.close()
            raise
        return cls(stream, keys.to_client, keys.to_server, CONTROLLER)

    def fileno(self) -> int:
        return self._sock.fileno()

    def send(self, body: bytes, deadline: Deadline) -> None:
        with self._send_lock:
            frame = encode_frame(self._send_key, self._send_sequence, body)
            self._send_sequence += 1
            send_all(self._sock, frame, deadline, f"sending to {self.peer}")

    def receive(self, deadline: Deadline, tick: Tick | None = None) -> bytes:
        """The next body."""
        while (body := self._reader.next_body()) is None:
            self._receive(deadline, tick)
        return body

    def receive_ready(self) -> bytes | None:
        """The next body if it is complete with what has already arrived, without waiting."""
        while (body := self._reader.next_body()) is None:
            received = receive_ready(self._sock, self._buffer, f"message from {self.peer}")
            if received is None:
                return None
            self._take(received)
        return body

    def wake(self) -> None:
        """End the connection, so that a thread waiting in `receive` returns with a ProtocolError."""
        wake(self._sock)

    def close(self) -> None:
        hang_up(self._sock)

    def _receive(self, deadline: Deadline, tick: Tick | None) -> None:
        self._take(receive_some(self._sock, self._buffer, deadline, f"message from {self.peer}", tick))

    def _take(self, received: int) -> None:
        if received == 0:
            raise ProtocolError(f"{self.peer} closed the control connection")
        self._reader.feed(self._buffer[:received])


class ControllerChannel:
    """The controller's end: requests with their responses, and the notifications that arrive in between."""

    def __init__(self, channel: ControlChannel) -> None:
        self.channel = channel
        self.peer = channel.peer
        self._next_id = 1
        self._notifications: deque[AnyNotification] = deque()

    @classmethod
    def open(
        cls, address: str, port: int, secret: bytes, deadline: Deadline, peer: str, tls: Tls | None = None
    ) -> ControllerChannel:
        return cls(ControlChannel.open(address, port, secret, deadline, peer, tls))

    def fileno(self) -> int:
        return self.channel.fileno()

    def request(self, message: Request, expected: type[R], deadline: Deadline) -> R:
        """Send `message` and wait for its response.

        Raises RequestRefusedError with the instance's reason, ProtocolError, DeadlineExceeded.
        """
        numbered = message.model_copy(update={"id": self._next_id})
        self._next_id += 1
        self.channel.send(encode(numbered), deadline)
        while True:
            answer = parse_answer(self.channel.receive(deadline))
            if isinstance(answer, Notification):
                self._notifications.append(answer)
            elif answer.id < numbered.id:
                continue  # the response to a request whose deadline had passed
            elif answer.id != numbered.id:
                raise ProtocolError(f"{self.peer} answered request {answer.id}, which was never sent")
            elif isinstance(answer, Refused):
                raise RequestRefusedError(f"{self.peer} refused: {answer.reason}")
            elif isinstance(answer, expected):
                return answer
            else:
                raise ProtocolError(f"{self.peer} answered with {type(answer).__name__}, not {expected.__name__}")

    def next_notification(self) -> AnyNotification | None:
        """A notification that has already arrived, or None."""
        if self._notifications:
            return self._notifications.popleft()
        while (body := self.channel.receive_ready()) is not None:
            answer = parse_answer(body)
            if isinstance(answer, Notification):
                return answer
        return None

    def close(self) -> None:
        self.channel.close()


def wait_for_notification(
    channels: Sequence[ControllerChannel], deadline: Deadline, awaited: str
) -> tuple[ControllerChannel, AnyNotification]:
    """The next notification of any of the channels. Raises DeadlineExceeded, ProtocolError."""
    poll = select.poll()
    for channel in channels:
        poll.register(channel, select.POLLIN)
    while True:
        for channel in channels:
            notification = channel.next_notification()
            if notification is not None:
                return channel, notification
        deadline.check(awaited)
        poll.poll(-(-deadline.remaining_ns() // 1_000_000))
