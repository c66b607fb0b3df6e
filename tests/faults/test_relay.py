"""The relay between two real sockets: every byte as it was, but for the one fault."""

from __future__ import annotations

import random
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from harness.faults.relay import ByteFault, Relay
from harness.faults.schedule import Fault
from harness.faults.streams import Relays
from harness.migration.phases import ControllerPhase

DEADLINE_S = 20.0
DATA = random.Random(7).randbytes(300_000)


class Sink:
    """Accepts one connection, keeps what it receives, answers its end with "done"."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self.received = bytearray()
        self.ended = threading.Event()
        self.changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            sock, _ = self._listener.accept()
        except OSError:
            return
        with sock:
            sock.settimeout(DEADLINE_S)
            try:
                while data := sock.recv(65536):
                    with self.changed:
                        self.received += data
                        self.changed.notify_all()
                sock.sendall(b"done")
            except OSError:
                pass
        self.ended.set()

    def wait_for(self, nbytes: int) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.received) >= nbytes, DEADLINE_S), len(self.received)

    def close(self) -> None:
        self._listener.close()
        self._thread.join(DEADLINE_S)


@pytest.fixture
def sink() -> Iterator[Sink]:
    made = Sink()
    yield made
    made.close()


def send(port: int, data: bytes) -> bytes:
    """Send everything, end, and return the answer."""
    with socket.create_connection(("127.0.0.1", port), DEADLINE_S) as sock:
        try:
            sock.sendall(data)
            sock.shutdown(socket.SHUT_WR)
            return sock.recv(100)
        except OSError:
            return b""


def relay_to(sink: Sink, *faults: ByteFault) -> Relay:
    return Relay(
        socket.create_server(("127.0.0.1", 0)), lambda: socket.create_connection(("127.0.0.1", sink.port)), faults
    )


def test_without_a_fault_every_byte_passes_and_each_end_hears_of_the_others(sink: Sink) -> None:
    relay = relay_to(sink)
    assert send(relay.port, DATA) == b"done"
    assert sink.ended.wait(DEADLINE_S)
    assert bytes(sink.received) == DATA
    assert relay.passed_bytes == len(DATA)
    relay.close()
    relay.close()


@pytest.mark.parametrize("at", [0, 1, 65_535, 65_536, 123_457, len(DATA) - 1])
def test_one_bit_of_one_byte_is_turned(sink: Sink, at: int) -> None:
    told: list[str] = []
    relay = relay_to(sink, ByteFault("corrupt", at, bit=5, begun=told.append))
    assert send(relay.port, DATA) == b"done"
    assert sink.ended.wait(DEADLINE_S)
    expected = bytearray(DATA)
    expected[at] ^= 1 << 5
    assert sink.received == expected
    assert told == [f"byte {at}"]
    relay.close()


@pytest.mark.parametrize("at", [0, 1, 70_000, len(DATA) - 1])
def test_a_stream_ends_before_that_byte(sink: Sink, at: int) -> None:
    relay = relay_to(sink, ByteFault("truncate", at))
    assert send(relay.port, DATA) == b""
    assert sink.ended.wait(DEADLINE_S)
    assert bytes(sink.received) == DATA[:at]
    relay.close()


def test_what_is_held_up_comes_later_and_complete(sink: Sink) -> None:
    told: list[tuple[str, int]] = []
    fault = ByteFault(
        "stop",
        1000,
        for_ns=200_000_000,
        begun=lambda _: told.append(("begun", len(sink.received))),
        over=lambda _: told.append(("over", time.monotonic_ns())),
    )
    relay = relay_to(sink, fault)
    started_ns = time.monotonic_ns()
    assert send(relay.port, DATA) == b"done"
    assert time.monotonic_ns() - started_ns >= 200_000_000
    assert sink.ended.wait(DEADLINE_S)
    assert bytes(sink.received) == DATA
    assert [what for what, _ in told] == ["begun", "over"]
    assert told[0][1] <= 1000
    relay.close()


def test_several_faults_happen_in_the_order_of_their_bytes(sink: Sink) -> None:
    relay = relay_to(sink, ByteFault("truncate", 9), ByteFault("corrupt", 4), ByteFault("corrupt", 8, bit=1))
    assert send(relay.port, DATA) == b""
    assert sink.ended.wait(DEADLINE_S)
    expected = bytearray(DATA[:9])
    expected[4] ^= 1
    expected[8] ^= 2
    assert sink.received == expected
    relay.close()


def test_a_relay_that_is_closed_ends_the_connection(sink: Sink) -> None:
    relay = relay_to(sink)
    with socket.create_connection(("127.0.0.1", relay.port), DEADLINE_S) as sock:
        sock.sendall(b"x")
        sink.wait_for(1)
        relay.close()
        assert sock.recv(10) == b""
    assert sink.ended.wait(DEADLINE_S)


def test_bytes_count_from_when_the_fault_begins_and_a_new_attempt_from_its_first(sink: Sink) -> None:
    relays = Relays("127.0.0.1", lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM))
    begun: list[str] = []
    other = Sink()
    address, statelet_port, snapshot_port = relays.between("127.0.0.1", sink.port, other.port)
    assert address == "127.0.0.1"
    assert send(snapshot_port, b"snapshot") == b"done"
    assert bytes(other.received) == b"snapshot"
    fault = Fault("statelet_stream", "corrupt", ControllerPhase.SNAPSHOT, offset_bytes=3)
    with socket.create_connection(("127.0.0.1", statelet_port), DEADLINE_S) as sock:
        sock.sendall(b"aaaa")
        sink.wait_for(4)
        relays.arm(fault, begun.append, begun.append)
        sock.sendall(b"bbbbbb")
        sink.wait_for(10)
        assert bytes(sink.received) == b"aaaabbb" + bytes([ord("b") ^ 1]) + b"bb"
    assert begun == ["byte 7"]
    late = Fault("snapshot_stream", "corrupt", ControllerPhase.SNAPSHOT, offset_bytes=2)
    relays.arm(late, begun.append, begun.append)
    third = Sink()
    _, _, port = relays.between("127.0.0.1", 1, third.port)
    assert send(port, b"cccc") == b"done"
    assert bytes(third.received) == b"cc" + bytes([ord("c") ^ 1]) + b"c"
    relays.close()
    for made in (other, third):
        made.close()
