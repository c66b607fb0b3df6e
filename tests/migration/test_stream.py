"""State streams: who gets in, on which address, and how fast they are sent."""

from __future__ import annotations

import socket
import threading
import time

import pytest

from harness.errors import DeadlineExceeded, ProtocolError
from harness.migration.handshake import Kind
from harness.migration.stream import StreamListener, open_stream, pace
from harness.migration.transport import Deadline, listen

SECRET = b"s" * 32
HERE, ELSEWHERE = "127.0.0.21", "127.0.0.22"


def soon() -> Deadline:
    return Deadline.after(5_000_000_000)


class Accepting:
    """Accepts one stream in a thread."""

    def __init__(self, epoch: int = 3) -> None:
        self.listener = StreamListener(HERE, Kind.STATELET, epoch, SECRET)
        self.sock: socket.socket | None = None
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        self.sock = self.listener.accept(soon())

    def join(self) -> socket.socket:
        self._thread.join(10.0)
        assert self.sock is not None
        return self.sock

    def close(self) -> None:
        self._thread.join(10.0)
        self.listener.close()
        if self.sock is not None:
            self.sock.close()


def test_strangers_are_counted_and_logged_and_do_not_keep_the_source_out(caplog: pytest.LogCaptureFixture) -> None:
    accepting = Accepting()
    port = accepting.listener.port
    with pytest.raises(ProtocolError):
        open_stream(HERE, port, Kind.STATELET, 3, b"x" * 32, soon())
    with pytest.raises(ProtocolError):
        open_stream(HERE, port, Kind.SNAPSHOT, 3, SECRET, soon())
    with pytest.raises(ProtocolError):
        open_stream(HERE, port, Kind.STATELET, 2, SECRET, soon())
    with socket.create_connection((HERE, port)) as stranger:
        stranger.sendall(b"GET / HTTP/1.1\r\nHost: somewhere\r\n\r\n")
    with socket.create_connection((HERE, port)):
        pass
    open_stream(HERE, port, Kind.STATELET, 3, SECRET, soon()).close()
    accepting.close()
    assert accepting.listener.refused == 5
    refusals = [record.getMessage() for record in caplog.records if "refused a connection" in record.getMessage()]
    assert len(refusals) == 5
    assert all(line.count("\n") == 0 for line in refusals)
    assert any("epoch 2, expected 3" in line for line in refusals)


def test_listeners_hear_only_the_address_they_were_given() -> None:
    listener = StreamListener(HERE, Kind.SNAPSHOT, 1, SECRET)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((ELSEWHERE, listener.port))
    listener.close()


@pytest.mark.parametrize("address", ["", "0.0.0.0", "203.0.113.77"])
def test_listening_on_every_or_a_foreign_address_is_refused(address: str) -> None:
    with pytest.raises(ProtocolError, match="listen on"):
        listen(address)


def test_waiting_for_the_source_has_a_deadline() -> None:
    listener = StreamListener(HERE, Kind.SNAPSHOT, 1, SECRET)
    with pytest.raises(DeadlineExceeded, match=r"snapshot stream of the source: did not happen within 0.03 s"):
        listener.accept(Deadline.after(30_000_000))
    listener.close()


def send_time_s(rate_bps: int, size: int) -> float:
    """Seconds from the first byte received to the last of `size`, over loopback."""
    with socket.create_server((HERE, 0)) as server:
        client = socket.create_connection(server.getsockname())
        pace(client, rate_bps)
        receiver, _ = server.accept()
        sender = threading.Thread(target=client.sendall, args=(bytes(size),))
        with client, receiver:
            sender.start()
            received = len(receiver.recv(1 << 16))
            started = time.monotonic()
            while received < size:
                received += len(receiver.recv(1 << 16))
            elapsed = time.monotonic() - started
            sender.join(10.0)
    return elapsed


def test_the_kernel_paces_without_a_fair_queue() -> None:
    # 1.5 MB at 40 Mbit/s take 0.3 s; TCP lets its first ten segments (64 KB each on loopback) go unpaced.
    paced_s = min(send_time_s(40_000_000, 1_500_000) for _ in range(3))
    assert 0.15 < paced_s < 1.5
    # The quickest of several: a busy machine may hold up any of them.
    assert min(send_time_s(0, 1_500_000) for _ in range(5)) < paced_s / 2
