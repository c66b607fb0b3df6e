"""Authentication of connections: only holders of the secret, for this purpose and attempt, each time anew."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import DeadlineExceeded, HarnessError, ProtocolError
from harness.migration.handshake import (
    CHALLENGE_BYTES,
    HELLO_BYTES,
    Hello,
    Kind,
    SessionKeys,
    authenticate_client,
    authenticate_server,
    parse_challenge,
    parse_hello,
)
from harness.migration.transport import Deadline

SECRET = b"s" * 32
OTHER = b"o" * 32


class Server:
    """Runs the listening side in a thread; `result` is its keys or its error."""

    def __init__(self, secret: bytes = SECRET, kind: Kind = Kind.STATELET, epoch: int = 7) -> None:
        self.client, server = socket.socketpair()
        self.client.setblocking(False)
        server.setblocking(False)
        self._server = server
        self._result: SessionKeys | HarnessError | None = None
        self._thread = threading.Thread(target=self._run, args=(secret, kind, epoch))
        self._thread.start()

    def _run(self, secret: bytes, kind: Kind, epoch: int) -> None:
        try:
            self._result = authenticate_server(self._server, secret, kind, epoch, Deadline.after(5_000_000_000))
        except HarnessError as error:
            self._result = error
            self._server.close()

    def result(self) -> SessionKeys | HarnessError | None:
        self._thread.join(10.0)
        return self._result

    def close(self) -> None:
        self.client.close()
        self._thread.join(10.0)
        self._server.close()


@pytest.fixture
def make_server() -> Iterator[Callable[..., Server]]:
    made: list[Server] = []

    def make(**options: object) -> Server:
        made.append(Server(**options))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for server in made:
        server.close()


def attempt(server: Server, secret: bytes = SECRET, kind: Kind = Kind.STATELET, epoch: int = 7) -> SessionKeys:
    return authenticate_client(server.client, secret, kind, epoch, Deadline.after(5_000_000_000))


def test_both_sides_get_the_same_keys_and_other_connections_other_ones(make_server: Callable[..., Server]) -> None:
    first, second = make_server(), make_server()
    keys = attempt(first)
    assert first.result() == keys
    assert keys.to_server != keys.to_client
    assert attempt(second) != keys


@pytest.mark.parametrize(
    ("options", "client", "message"),
    [
        ({"secret": OTHER}, {}, "closed"),
        ({"kind": Kind.SNAPSHOT}, {}, "meant as statelet"),
        ({"epoch": 8}, {}, "epoch 7, expected 8"),
    ],
)
def test_the_wrong_secret_purpose_or_attempt_is_refused(
    make_server: Callable[..., Server], options: dict[str, object], client: dict[str, bytes], message: str
) -> None:
    server = make_server(**options)
    with pytest.raises(ProtocolError):
        attempt(server)
    server.client.close()
    result = server.result()
    assert isinstance(result, ProtocolError)
    assert message in str(result)


def test_a_client_without_the_secret_is_refused_by_the_server(make_server: Callable[..., Server]) -> None:
    server = make_server()
    server.client.setblocking(True)
    server.client.sendall(Hello(Kind.STATELET, 7, bytes(16)).pack())
    _, proof = parse_challenge(server.client.recv(CHALLENGE_BYTES, socket.MSG_WAITALL))
    server.client.sendall(proof)  # the server's own proof, reflected
    assert isinstance(server.result(), ProtocolError)


def test_a_recorded_connection_cannot_be_replayed(make_server: Callable[..., Server]) -> None:
    recorded = make_server()
    said: list[bytes] = []

    class Recorder:
        def __getattr__(self, name: str) -> object:
            return getattr(recorded.client, name)

        def send(self, data: bytes) -> int:
            said.append(bytes(data))
            return recorded.client.send(data)

        def recv_into(self, view: memoryview) -> int:
            return recorded.client.recv_into(view)

    authenticate_client(Recorder(), SECRET, Kind.STATELET, 7, Deadline.after(5_000_000_000))  # type: ignore[arg-type]
    assert isinstance(recorded.result(), SessionKeys)
    again = make_server()
    again.client.setblocking(True)
    again.client.sendall(b"".join(said))
    assert isinstance(again.result(), ProtocolError)


@pytest.mark.parametrize(
    ("position", "value", "message"), [(4, 2, "version 2"), (0, 0, "does not speak"), (5, 9, "kind")]
)
def test_other_versions_and_protocols_are_refused(
    make_server: Callable[..., Server], position: int, value: int, message: str
) -> None:
    hello = bytearray(Hello(Kind.STATELET, 7, bytes(16)).pack())
    hello[position] = value
    server = make_server()
    server.client.send(hello)
    result = server.result()
    assert isinstance(result, ProtocolError)
    assert message in str(result)


def test_silence_ends_at_the_deadline() -> None:
    client, server = socket.socketpair()
    with client, server:
        server.setblocking(False)
        with pytest.raises(DeadlineExceeded, match=r"within 0.05 s"):
            authenticate_server(server, SECRET, Kind.CONTROL, 0, Deadline.after(50_000_000))


def test_a_short_secret_is_refused() -> None:
    client, server = socket.socketpair()
    with client, server, pytest.raises(ProtocolError, match="32 are required"):
        authenticate_client(client, b"short", Kind.CONTROL, 0, Deadline.after(1))


@given(st.binary(max_size=HELLO_BYTES + 2))
def test_any_bytes_are_a_hello_or_refused(data: bytes) -> None:
    try:
        assert parse_hello(data).pack() == data
    except ProtocolError:
        return


@given(st.binary(min_size=CHALLENGE_BYTES - 1, max_size=CHALLENGE_BYTES + 1))
def test_any_bytes_are_a_challenge_or_refused(data: bytes) -> None:
    try:
        parse_challenge(data)
        assert data[:5] == b"SLIM\x01"
    except ProtocolError:
        return
