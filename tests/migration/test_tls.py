"""TLS under the transport functions: whole streams, ends and cuts told apart, several threads on one connection."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509

from harness.errors import DeadlineExceeded, ProtocolError, UsageError
from harness.migration.certificates import make_parties
from harness.migration.handshake import Kind, authenticate_client, authenticate_server
from harness.migration.tls import DESTINATION, SOURCE, Tls, TlsParty
from harness.migration.tls_stream import TlsStream, fingerprint
from harness.migration.transport import (
    Deadline,
    StreamEndError,
    end_sending,
    hang_up,
    receive_exactly,
    receive_ready,
    receive_some,
    send_all,
    wake,
)

PARTIES = make_parties((SOURCE, DESTINATION), 60.0)
SECRET = b"s" * 32


def soon() -> Deadline:
    return Deadline.after(10_000_000_000)


def tcp_pair() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = socket.create_connection(server.getsockname())
        accepted, _ = server.accept()
    for sock in (client, accepted):
        sock.setblocking(False)
    return client, accepted


class Ends:
    """Both ends of a TLS connection, and the TCP socket under the client's for what goes wrong below."""

    def __init__(self) -> None:
        client, server = tcp_pair()
        self.below = client.dup()
        with ThreadPoolExecutor(1) as executor:
            accepting = executor.submit(Tls(PARTIES[DESTINATION]).accept, server, SOURCE, soon())
            self.client: TlsStream = Tls(PARTIES[SOURCE]).connect(client, DESTINATION, soon())
            self.server: TlsStream = accepting.result()

    def close(self) -> None:
        for sock in (self.client, self.server, self.below):
            sock.close()


@pytest.fixture
def ends() -> Iterator[Ends]:
    made = Ends()
    yield made
    made.close()


def read_to_end(stream: TlsStream) -> bytes:
    buffer, data = memoryview(bytearray(100_000)), bytearray()
    while received := receive_some(stream, buffer, soon(), "everything"):
        data += buffer[:received]
    return bytes(data)


def test_a_stream_arrives_whole_and_its_end_is_told(ends: Ends) -> None:
    # Far more than the sockets hold: the sender has to wait, and to repeat what TLS would not take.
    sent = os.urandom(1 << 20) * 12
    with ThreadPoolExecutor(1) as executor:
        received = executor.submit(read_to_end, ends.server)
        send_all(ends.client, sent, soon(), "everything")
        end_sending(ends.client, soon(), "the end")
        assert received.result() == sent
    send_all(ends.server, b"still heard", soon(), "answer after the end")
    answer = memoryview(bytearray(11))
    receive_exactly(ends.client, answer, soon(), "answer after the end")
    assert bytes(answer) == b"still heard"


def test_a_connection_that_is_cut_is_an_error(ends: Ends) -> None:
    send_all(ends.client, b"half a wo", soon(), "word")
    ends.below.shutdown(socket.SHUT_WR)  # TCP ends in order, TLS has not said that it does
    with pytest.raises(StreamEndError, match=r"word: connection was cut \(no end in TLS\)"):
        receive_exactly(ends.server, memoryview(bytearray(10)), soon(), "word")


def test_the_end_may_be_told_to_a_peer_that_has_taken_all_and_gone(ends: Ends) -> None:
    send_all(ends.client, b"all", soon(), "stream")
    received = memoryview(bytearray(3))
    receive_exactly(ends.server, received, soon(), "stream")
    ends.server.wake()  # in TCP only, as a closing process does
    ends.server.close()
    end_sending(ends.client, soon(), "stream")
    assert bytes(received) == b"all"


def test_hanging_up_is_an_end_and_waking_is_a_cut(ends: Ends) -> None:
    hang_up(ends.client)
    assert receive_some(ends.server, memoryview(bytearray(10)), soon(), "end") == 0
    other = Ends()
    wake(other.client)
    with pytest.raises(StreamEndError):
        receive_some(other.server, memoryview(bytearray(10)), soon(), "end")
    other.close()


def test_altered_bytes_are_an_error(ends: Ends) -> None:
    ends.below.send(b"\x17\x03\x03\x00\x20" + bytes(32))
    with pytest.raises(ProtocolError, match=r"word: TLS failed \((decryption failed or )?bad record mac\)"):
        receive_some(ends.server, memoryview(bytearray(10)), soon(), "word")


def test_waiting_has_a_deadline_and_a_tick(ends: Ends) -> None:
    buffer = memoryview(bytearray(10))
    assert receive_ready(ends.server, buffer, "word") is None
    with pytest.raises(DeadlineExceeded, match=r"word: did not happen within 0.05 s"):
        receive_some(ends.server, buffer, Deadline.after(50_000_000), "word")
    with pytest.raises(DeadlineExceeded):
        send_all(ends.client, bytes(64 << 20), Deadline.after(200_000_000), "word")

    def give_up() -> None:
        raise InterruptedError("given up")

    with pytest.raises(InterruptedError):
        receive_some(ends.client, buffer, soon(), "word", give_up)


def test_one_thread_sends_while_another_receives(ends: Ends) -> None:
    """As on the control connection; nothing of one direction disturbs the other."""
    payload = os.urandom(3 << 20)

    def both(stream: TlsStream) -> bytes:
        view, failures = memoryview(bytearray(len(payload))), []

        def send() -> None:
            try:
                for at in range(0, len(payload), 7_001):
                    send_all(stream, payload[at : at + 7_001], soon(), "sending")
            except ProtocolError as error:
                failures.append(error)

        thread = threading.Thread(target=send)
        thread.start()
        receive_exactly(stream, view, soon(), "receiving")
        thread.join(10.0)
        assert not failures
        return bytes(view)

    with ThreadPoolExecutor(2) as executor:
        assert list(executor.map(both, (ends.client, ends.server))) == [payload, payload]


def test_waking_ends_a_wait_in_another_thread_without_plaintext_on_the_wire(ends: Ends) -> None:
    with ThreadPoolExecutor(1) as executor:
        waiting = executor.submit(receive_some, ends.client, memoryview(bytearray(10)), soon(), "word")
        wake(ends.client)
        with pytest.raises(ProtocolError):
            waiting.result(10.0)
    with pytest.raises(ProtocolError):
        send_all(ends.client, b"a secret", soon(), "sending")
    with pytest.raises(StreamEndError):
        receive_some(ends.server, memoryview(bytearray(10)), soon(), "word")


def test_the_authentication_inside_is_bound_to_both_certificates(ends: Ends) -> None:
    shown = [fingerprint(ssl.PEM_cert_to_DER_cert(PARTIES[name].certificate)) for name in (SOURCE, DESTINATION)]
    assert ends.client.binding == ends.server.binding == b"".join(shown)

    def authenticated() -> tuple[object, object]:
        with ThreadPoolExecutor(1) as executor:
            server = executor.submit(
                authenticate_server, ends.server, SECRET, Kind.SNAPSHOT, 1, Deadline.after(2_000_000_000)
            )
            return authenticate_client(ends.client, SECRET, Kind.SNAPSHOT, 1, soon()), server.result()

    client, server = authenticated()
    assert client == server
    ends.client.binding = bytes(64)  # as if another certificate had been shown to this side
    with pytest.raises(ProtocolError, match="does not hold the secret"):
        authenticate_client_while_served(ends)


def authenticate_client_while_served(ends: Ends) -> None:
    with ThreadPoolExecutor(1) as executor:
        serving = executor.submit(authenticate_server, ends.server, SECRET, Kind.SNAPSHOT, 1, soon())
        try:
            authenticate_client(ends.client, SECRET, Kind.SNAPSHOT, 1, soon())
        finally:
            hang_up(ends.client)
            with pytest.raises(ProtocolError):
                serving.result()


def limited(version: ssl.TLSVersion) -> Callable[[socket.socket], ssl.SSLSocket]:
    context = Tls(PARTIES[SOURCE])._clients[DESTINATION]
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    context.maximum_version = version
    return context.wrap_socket


def test_older_versions_of_tls_are_refused() -> None:
    client, server = tcp_pair()
    client.setblocking(True)
    with ThreadPoolExecutor(1) as executor:
        accepting = executor.submit(Tls(PARTIES[DESTINATION]).accept, server, SOURCE, soon())
        with pytest.raises(ssl.SSLError):
            limited(ssl.TLSVersion.TLSv1_2)(client)
        with pytest.raises(ProtocolError, match=r"TLS failed \(unsupported protocol\)"):
            accepting.result()
    client.close()


def test_nothing_is_left_to_resume_a_session_with() -> None:
    client, server = tcp_pair()
    client.setblocking(True)
    with ThreadPoolExecutor(1) as executor:
        accepting = executor.submit(Tls(PARTIES[DESTINATION]).accept, server, SOURCE, soon())
        secured = Tls(PARTIES[SOURCE])._clients[DESTINATION].wrap_socket(client)
        accepted = accepting.result()
        executor.submit(send_all, accepted, b"x", soon(), "word").result()
    assert secured.recv(1) == b"x"  # tickets would have come before it
    assert secured.version() == "TLSv1.3"
    assert secured.session is None or not secured.session.has_ticket
    secured.close()
    accepted.close()


def test_certificates_hold_for_the_run_and_name_their_node() -> None:
    certificate = x509.load_pem_x509_certificate(PARTIES[SOURCE].certificate.encode())
    now = datetime.now(UTC)
    assert now - timedelta(minutes=10) < certificate.not_valid_before_utc <= now
    assert now < certificate.not_valid_after_utc <= now + timedelta(seconds=60) + timedelta(minutes=5)
    assert "source" in certificate.subject.rfc4514_string()
    assert PARTIES[DESTINATION].peers == {SOURCE: PARTIES[SOURCE].certificate}


def open_files() -> set[tuple[str, str]]:
    """Number and target of what this process has open, but for what lists them."""
    with os.scandir("/proc/self/fd") as entries:
        found = [(entry.name, entry.path) for entry in entries]
    opened = set()
    for number, path in found:
        with contextlib.suppress(FileNotFoundError):  # the listing's own
            opened.add((number, os.readlink(path)))  # noqa: PTH115
    return opened


def test_the_key_is_shown_by_nothing_and_no_file_stays_open() -> None:
    party = PARTIES[SOURCE]
    before = open_files()
    Tls(party)
    assert open_files() <= before, "what others close meanwhile is no matter"
    assert "PRIVATE" not in repr(party)
    broken = TlsParty(party.certificate, party.key.replace("M", "!"), party.peers)
    with pytest.raises(UsageError) as raised:
        Tls(broken)
    assert "PRIVATE" not in str(raised.value)
    assert raised.value.__cause__ is None
