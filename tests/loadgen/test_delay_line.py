from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.dataplane.libc import scratch_timespec
from harness.dataplane.port import make_vectors
from loadgen.clock import arrival_ns, monotonic_minus_realtime_ns
from loadgen.delay_line import FREE, HEAD, TAIL, fill, held_frames, make_delay_line, next_due_ns, release

LATENCY_NS = 50_000_000
SCRATCH = scratch_timespec()


@pytest.fixture
def link() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Two ends of a link on which the kernel stamps arrivals, as it does on a port."""
    receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with receiver, sender:
        receiver.bind(("127.0.0.1", 0))
        receiver.setsockopt(socket.SOL_SOCKET, 35, 1)  # SO_TIMESTAMPNS
        sender.connect(receiver.getsockname())
        yield sender, receiver


def test_frames_mature_one_latency_after_their_arrival_and_not_after_being_read(
    link: tuple[socket.socket, socket.socket],
) -> None:
    sender, receiver = link
    line, vectors = make_delay_line(8), make_vectors(8)
    # The kernel switches its timestamps on a moment after the first socket asked for them; until then it stamps what is
    # read when it is read. A line that went by the time of reading would be off by the pause every time.
    end_ns = time.monotonic_ns() + 10_000_000_000
    while True:
        before_ns = time.monotonic_ns()
        sender.send(b"probe")
        after_ns = time.monotonic_ns()
        while time.monotonic_ns() < after_ns + 5_000_000:
            pass
        assert fill(receiver.fileno(), LATENCY_NS, 8, line, vectors, SCRATCH) == 1
        arrived_ns = next_due_ns(line) - LATENCY_NS
        assert arrived_ns >= before_ns - 1_000_000
        if arrived_ns <= after_ns + 1_000_000:
            break
        assert time.monotonic_ns() < end_ns
        release(int(line.held[line.cursor[HEAD] & 7]), line)
        line.cursor[HEAD] += 1


def test_slots_in_use_are_never_received_into_and_frames_leave_in_order(
    link: tuple[socket.socket, socket.socket],
) -> None:
    sender, receiver = link
    rng = np.random.default_rng(1)
    line, vectors = make_delay_line(8), make_vectors(8)
    sent, received = 0, 0
    while received < 300:
        for _ in range(int(rng.integers(0, 6))):
            sender.send(sent.to_bytes(4, "big"))
            sent += 1
        before = held_frames(line)
        n = fill(receiver.fileno(), 0, 8, line, vectors, SCRATCH)
        assert held_frames(line) == before + n <= 8
        places = [place & 7 for place in range(line.cursor[HEAD], line.cursor[TAIL])]
        slots = line.held[places].tolist()
        assert len(set(slots + line.free[: line.cursor[FREE]].tolist())) == 8
        for place, slot in list(zip(places, slots, strict=True))[: int(rng.integers(0, 6))]:
            assert line.length[place] == 4
            assert int.from_bytes(line.frames[slot, :4].tobytes(), "big") == received
            received += 1
            line.cursor[HEAD] += 1
            release(slot, line)


def test_full_line_reads_nothing_and_an_empty_one_is_never_due(link: tuple[socket.socket, socket.socket]) -> None:
    sender, receiver = link
    line, vectors = make_delay_line(2), make_vectors(8)
    assert next_due_ns(line) == 2**63 - 1
    for value in b"abc":
        sender.send(bytes([value]))
    assert fill(receiver.fileno(), 0, 8, line, vectors, SCRATCH) == 2
    assert fill(receiver.fileno(), 0, 8, line, vectors, SCRATCH) == 0
    assert receiver.recv(10) == b"c"


@pytest.mark.parametrize("frames", [0, 3, 100])
def test_size_must_be_a_power_of_two(frames: int) -> None:
    with pytest.raises(ValueError, match="power of two"):
        make_delay_line(frames)


def test_difference_of_the_clocks_is_what_the_kernel_says() -> None:
    before = time.time_ns() - time.monotonic_ns()
    difference = -monotonic_minus_realtime_ns(SCRATCH)
    after = time.time_ns() - time.monotonic_ns()
    slack_ns = 5_000_000
    assert min(before, after) - slack_ns <= difference <= max(before, after) + slack_ns


NOW_NS = 1_000_000_000_000


@given(st.integers(-(10**18), 10**18))
def test_arrival_lies_in_the_last_minute_or_is_taken_to_be_now(offset_ns: int) -> None:
    arrived = arrival_ns(NOW_NS + offset_ns + 7, -7, NOW_NS)
    assert arrived == (NOW_NS + offset_ns if -60_000_000_000 <= offset_ns <= 0 else NOW_NS)


def test_missing_timestamp_is_now() -> None:
    assert arrival_ns(0, NOW_NS, NOW_NS) == NOW_NS
