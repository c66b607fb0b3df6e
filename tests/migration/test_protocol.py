"""Control channels over real sockets: requests, notifications in between, deadlines, broken and hostile peers."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from harness.errors import DeadlineExceeded, ProtocolError
from harness.migration.handshake import Kind
from harness.migration.messages import (
    Accepted,
    ActivateRequest,
    AnyAnswer,
    AnyRequest,
    Drained,
    Prepared,
    Refused,
    StatusRequest,
    encode,
    parse_request,
)
from harness.migration.protocol import (
    ControlChannel,
    ControllerChannel,
    RequestRefusedError,
    wait_for_notification,
)
from harness.migration.transport import Deadline

SECRET = b"s" * 32
Script = Callable[[AnyRequest], list[AnyAnswer]]


def soon() -> Deadline:
    return Deadline.after(5_000_000_000)


class Instance:
    """The other end: answers each request with what the script says."""

    def __init__(self, script: Script, secret: bytes = SECRET) -> None:
        client, server = socket.socketpair()
        client.setblocking(False)
        server.setblocking(False)
        self._server, self._secret, self._script = server, secret, script
        self.served: ControlChannel | None = None
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()
        from harness.migration.handshake import authenticate_client

        keys = authenticate_client(client, SECRET, Kind.CONTROL, 0, soon())
        self.raw = client
        self.channel = ControllerChannel(ControlChannel(client, keys.to_server, keys.to_client, "source"))

    def _serve(self) -> None:
        self.served = ControlChannel.serve(self._server, self._secret, soon())
        while True:
            try:
                request = parse_request(self.served.receive(soon()))
            except ProtocolError:
                return
            for answer in self._script(request):
                self.served.send(encode(answer), soon())

    def close(self) -> None:
        self.channel.close()
        self._thread.join(10.0)
        assert self.served is not None
        self.served.close()


@pytest.fixture
def make_instance() -> Iterator[Callable[[Script], Instance]]:
    made: list[Instance] = []

    def make(script: Script) -> Instance:
        made.append(Instance(script))
        return made[-1]

    yield make
    for instance in made:
        instance.close()


def test_a_request_gets_its_response_and_notifications_wait(make_instance: Callable[[Script], Instance]) -> None:
    instance = make_instance(lambda request: [Drained(epoch=1, ports_ns=(1, 2)), Accepted(id=request.id)])
    assert instance.channel.request(ActivateRequest(), Accepted, soon()).id == 1
    assert instance.channel.request(ActivateRequest(), Accepted, soon()).id == 2
    for _ in range(2):
        channel, notification = wait_for_notification([instance.channel], soon(), "drain")
        assert channel is instance.channel
        assert notification == Drained(epoch=1, ports_ns=(1, 2))
    assert instance.channel.next_notification() is None


def test_a_refusal_is_raised_with_its_reason(make_instance: Callable[[Script], Instance]) -> None:
    instance = make_instance(lambda request: [Refused(id=request.id, reason="not now")])
    with pytest.raises(RequestRefusedError, match="source refused: not now"):
        instance.channel.request(ActivateRequest(), Accepted, soon())


def test_a_response_of_the_wrong_kind_or_to_nothing_is_an_error(make_instance: Callable[[Script], Instance]) -> None:
    instance = make_instance(lambda request: [Accepted(id=request.id)])
    with pytest.raises(ProtocolError, match="Accepted, not Prepared"):
        instance.channel.request(StatusRequest(), Prepared, soon())
    instance = make_instance(lambda request: [Accepted(id=request.id + 5)])
    with pytest.raises(ProtocolError, match="request 6, which was never sent"):
        instance.channel.request(StatusRequest(), Accepted, soon())


def test_a_response_that_came_too_late_is_not_taken_for_the_next(make_instance: Callable[[Script], Instance]) -> None:
    instance = make_instance(lambda request: [Accepted(id=request.id)] if request.id > 1 else [])
    with pytest.raises(DeadlineExceeded, match=r"message from source: did not happen within 0.05 s"):
        instance.channel.request(StatusRequest(), Accepted, Deadline.after(50_000_000))
    assert instance.served is not None
    instance.served.send(encode(Accepted(id=1)), soon())
    assert instance.channel.request(ActivateRequest(), Accepted, soon()).id == 2


def test_waiting_for_a_notification_has_a_deadline(make_instance: Callable[[Script], Instance]) -> None:
    instance = make_instance(lambda request: [])
    with pytest.raises(DeadlineExceeded, match=r"redirect: did not happen within 0.02 s"):
        wait_for_notification([instance.channel], Deadline.after(20_000_000), "redirect")


def test_a_peer_that_leaves_is_an_error(make_instance: Callable[[Script], Instance]) -> None:
    instance = make_instance(lambda request: [])
    instance._server.shutdown(socket.SHUT_RDWR)
    with pytest.raises(ProtocolError, match=r"closed the control connection|connection broke"):
        instance.channel.request(StatusRequest(), Accepted, soon())


def test_bytes_from_elsewhere_are_refused(make_instance: Callable[[Script], Instance]) -> None:
    instance = make_instance(lambda request: [])
    instance._server.send(b"SLIM" + bytes(60))
    with pytest.raises(ProtocolError, match="version 0"):
        instance.channel.request(StatusRequest(), Accepted, soon())


def test_opening_without_a_listener_is_one_line() -> None:
    with pytest.raises(ProtocolError, match=r"control connection to source: cannot connect to 127\.0\.0\.23:1"):
        ControllerChannel.open("127.0.0.23", 1, SECRET, soon(), "source")


def test_many_threads_may_send(make_instance: Callable[[Script], Instance]) -> None:
    instance = make_instance(lambda request: [Accepted(id=request.id)])
    instance.channel.request(StatusRequest(), Accepted, soon())
    served = instance.served
    assert served is not None

    def notify() -> None:
        for _ in range(200):
            served.send(encode(Drained(epoch=1, ports_ns=(0, 0))), soon())

    threads = [threading.Thread(target=notify) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(800):
        wait_for_notification([instance.channel], soon(), "notifications")
    for thread in threads:
        thread.join(10.0)
    assert instance.channel.next_notification() is None
