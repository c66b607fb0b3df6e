"""Who is kept out, of the control port and of both streams, with and without TLS: each stranger is counted and logged
in one line, and none of them keeps the peer out.
"""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import pytest

from harness.errors import HarnessError, ProtocolError
from harness.migration import handshake
from harness.migration.certificates import make_parties
from harness.migration.handshake import Kind
from harness.migration.protocol import ControlChannel
from harness.migration.stream import StreamListener, open_stream
from harness.migration.tls import CONTROLLER, DESTINATION, SOURCE, Tls
from harness.migration.transport import Deadline, Stream, hang_up, receive_some, send_all
from harness.vei.control import ControlServer

HERE = "127.0.0.31"
SECRET = b"s" * 32
EPOCH = 3
PARTIES = make_parties((CONTROLLER, SOURCE, DESTINATION), 600.0)
TLS = {name: Tls(party) for name, party in PARTIES.items()}
OTHER_TLS = {name: Tls(party) for name, party in make_parties((CONTROLLER, SOURCE, DESTINATION), 600.0).items()}
OTHER_KIND = {
    Kind.CONTROL: Kind.SNAPSHOT,
    Kind.STATELET: Kind.SNAPSHOT,
    Kind.SNAPSHOT: Kind.STATELET,
}


def soon() -> Deadline:
    return Deadline.after(10_000_000_000)


class Port:
    """A listening control server or stream listener of the destination, and what its peer says."""

    def __init__(self, kind: Kind, encrypted: bool) -> None:
        self.kind, self.encrypted = kind, encrypted
        self.peer = CONTROLLER if kind is Kind.CONTROL else SOURCE
        self.taken = threading.Event()
        own = TLS[DESTINATION] if encrypted else None
        self._server: ControlServer | None = None
        self._listener: StreamListener | None = None
        if kind is Kind.CONTROL:
            self._server = server = ControlServer(HERE, 0, SECRET, own)
            self.port = server.port
        else:
            self._listener = StreamListener(HERE, kind, EPOCH, SECRET, own)
            self.port = self._listener.port
        self._stream: object = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def refused(self) -> int:
        counting = self._server or self._listener
        assert counting is not None
        return counting.refused

    def _run(self) -> None:
        if self._server is not None:
            self._server.serve(lambda request: pytest.fail(f"{request}"), self.taken.set)
        elif self._listener is not None:
            with contextlib.suppress(HarnessError):
                self._stream = self._listener.accept(Deadline.after(30_000_000_000))
                self.taken.set()

    def open(
        self,
        secret: bytes = SECRET,
        tls: dict[str, Tls] | None = TLS,
        kind: Kind | None = None,
        epoch: int = EPOCH,
        port: int = 0,
    ) -> None:
        """Connect as its peer would, and hang up. Raises ProtocolError where that is refused."""
        kind = self.kind if kind is None else kind
        own = tls[self.peer] if tls is not None and self.encrypted else None
        if kind is Kind.CONTROL and epoch == EPOCH:
            ControlChannel.open(HERE, port or self.port, secret, soon(), DESTINATION, own).close()
        else:
            hang_up(open_stream(HERE, port or self.port, kind, epoch, secret, soon(), tls=own))

    def close(self) -> None:
        if self._server is not None:
            self._server.close()
        else:
            with contextlib.suppress(HarnessError):
                self.open()
        self._thread.join(10.0)
        assert not self._thread.is_alive()
        if self._listener is not None:
            self._listener.close()
        if self._stream is not None:
            self._stream.close()  # type: ignore[attr-defined]


class Relay:
    """Passes one connection on and keeps what the client said."""

    def __init__(self, port: int) -> None:
        self._listener = socket.create_server((HERE, 0))
        self.port = int(self._listener.getsockname()[1])
        self._target = port
        self.said = b""
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        client, _ = self._listener.accept()
        with client, socket.create_connection((HERE, self._target)) as server, contextlib.suppress(OSError):
            while True:
                for sock in select.select([client, server], [], [], 10.0)[0]:
                    data = sock.recv(65536)
                    if not data:
                        return
                    if sock is client:
                        self.said += data
                    (server if sock is client else client).sendall(data)

    def close(self) -> None:
        self._thread.join(10.0)
        self._listener.close()


@pytest.fixture(params=list(Kind), ids=lambda kind: kind.name.lower())
def kind(request: pytest.FixtureRequest) -> Kind:
    return Kind(request.param)


@pytest.fixture(params=[False, True], ids=["plain", "tls"])
def port(kind: Kind, request: pytest.FixtureRequest) -> Iterator[Port]:
    made = Port(kind, request.param)
    yield made
    made.close()


def wait_until(condition: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + 10.0
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.002)


def refusals(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if "refused a connection" in record.getMessage()]


def assert_refused(port: Port, caplog: pytest.LogCaptureFixture, count: int = 1) -> list[str]:
    """So many were counted and logged, each in one line without a secret, and the peer still gets in."""
    wait_until(lambda: port.refused == count, f"{count} refused, not {port.refused}")
    lines = refusals(caplog)
    assert len(lines) == count
    assert not any("\n" in line or SECRET.hex() in line or "PRIVATE" in line for line in lines)
    assert all("from 127.0.0.1:" in line or "a peer that left" in line for line in lines)
    port.open()
    assert port.taken.wait(10.0)
    return lines


class Refusal(NamedTuple):
    attempt: Callable[[Port], None]
    plain: str
    tls: str


def with_other_version(port: Port) -> None:
    original = handshake.VERSION
    hello = handshake.Hello(port.kind, EPOCH, bytes(16)).pack()
    assert hello[4] == original
    say(port, hello[:4] + bytes([original + 1]) + hello[5:])


def say(port: Port, data: bytes, inside: bool = True) -> None:
    """Connect, in TLS where the port wants it and `inside`, say this, and wait until the other side hangs up."""
    stream: Stream = _connected(port.port)
    if port.encrypted and inside:
        assert isinstance(stream, socket.socket)
        stream = TLS[port.peer].connect(stream, DESTINATION, soon())
    answer = memoryview(bytearray(4096))
    with contextlib.suppress(ProtocolError):
        send_all(stream, data, soon(), "what a stranger says")
        while receive_some(stream, answer, soon(), "the answer to a stranger"):
            pass
    stream.close()


def without_certificate(port: Port) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with (
        contextlib.suppress(OSError),
        socket.create_connection((HERE, port.port), 10.0) as raw,
        context.wrap_socket(raw) as secured,
    ):
        secured.recv(1)


def refused_opening(**options: object) -> Callable[[Port], None]:
    def attempt(port: Port) -> None:
        with pytest.raises(ProtocolError):
            port.open(**options)  # type: ignore[arg-type]

    return attempt


REFUSALS = {
    "wrong key": Refusal(
        # It is the stranger who finds out first: the port proves itself before it is told anything.
        refused_opening(secret=b"x" * 32),
        "peer closed after 0 of 32",
        "connection was cut (no end in TLS)",
    ),
    "wrong epoch": Refusal(refused_opening(epoch=EPOCH - 1), "epoch 2, expected", "epoch 2, expected"),
    "wrong version": Refusal(with_other_version, "version 2, this side 1", "version 2, this side 1"),
    "garbage": Refusal(
        lambda port: say(port, bytes(range(256)) * 8, inside=False), "does not speak this protocol", "TLS failed"
    ),
    "garbage inside": Refusal(
        lambda port: say(port, bytes(range(256)) * 8), "does not speak this protocol", "does not speak this protocol"
    ),
    "plaintext": Refusal(
        lambda port: say(port, handshake.Hello(port.kind, EPOCH, bytes(16)).pack() + bytes(32), inside=False),
        "does not hold the secret",
        "TLS failed",
    ),
    "TLS without certificate": Refusal(without_certificate, "does not speak this protocol", "TLS failed"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_a_stranger_is_counted_and_logged_and_the_peer_gets_in(
    port: Port, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    refusal = REFUSALS[name]
    refusal.attempt(port)
    (line,) = assert_refused(port, caplog)
    assert (refusal.tls if port.encrypted else refusal.plain) in line


def test_a_connection_for_another_purpose_is_refused(port: Port, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(ProtocolError):
        port.open(kind=OTHER_KIND[port.kind], epoch=EPOCH - 1)
    (line,) = assert_refused(port, caplog)
    assert f"meant as {OTHER_KIND[port.kind].name.lower()}" in line


def test_a_certificate_of_another_run_or_role_is_refused(kind: Kind, caplog: pytest.LogCaptureFixture) -> None:
    port = Port(kind, True)
    with pytest.raises(ProtocolError, match="certificate refused"):
        port.open(tls=OTHER_TLS)
    mixed = {CONTROLLER: TLS[SOURCE], SOURCE: TLS[CONTROLLER]}  # of this run, but not who belongs here
    with pytest.raises(ProtocolError):
        port.open(tls=mixed)
    assert_refused(port, caplog, 2)
    port.close()


def test_a_recorded_connection_proves_nothing(port: Port, caplog: pytest.LogCaptureFixture) -> None:
    recorded = Port(port.kind, port.encrypted)
    relay = Relay(recorded.port)
    recorded.open(port=relay.port)
    relay.close()
    recorded.close()
    assert len(relay.said) >= handshake.HELLO_BYTES + handshake.PROOF_BYTES
    caplog.clear()
    say(port, relay.said, inside=False)
    (line,) = assert_refused(port, caplog)
    assert ("TLS" if port.encrypted else "does not hold the secret") in line


def test_a_silent_stranger_does_not_keep_the_peer_waiting(port: Port) -> None:
    with contextlib.ExitStack() as silent:
        for _ in range(3):
            silent.enter_context(socket.create_connection((HERE, port.port)))
        started = time.monotonic()
        port.open()
        assert port.taken.wait(10.0)
        # One after the other they would have had two seconds each.
        assert time.monotonic() - started < 5.0
    wait_until(lambda: port.refused == 3, "3 refused")


def test_a_crowd_of_strangers_does_not_keep_the_peer_out(port: Port, caplog: pytest.LogCaptureFixture) -> None:
    crowd = [socket.create_connection((HERE, port.port)) for _ in range(100)]
    for number, sock in enumerate(crowd):
        if number % 2:
            sock.sendall(b"\x16\x03\x01" + bytes(20))
    port.open()
    assert port.taken.wait(10.0)
    for sock in crowd:
        sock.close()
    wait_until(lambda: port.refused == 100, f"100 refused, not {port.refused}")
    assert len(refusals(caplog)) == 100


def test_tls_to_a_plain_port_is_refused(kind: Kind, caplog: pytest.LogCaptureFixture) -> None:
    port = Port(kind, False)
    own = TLS[port.peer]
    with pytest.raises(ProtocolError, match="TLS"):
        own.connect(_connected(port.port), DESTINATION, soon())
    (line,) = assert_refused(port, caplog)
    assert "does not speak this protocol" in line
    port.close()


def _connected(port: int) -> socket.socket:
    sock = socket.create_connection((HERE, port))
    sock.setblocking(False)
    return sock
