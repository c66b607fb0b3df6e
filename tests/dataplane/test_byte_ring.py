"""The statelet ring: everything put comes out once, in order and whole, whatever the sizes and the memory's end."""

from __future__ import annotations

import threading
from collections import deque

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.dataplane.byte_ring import DEPTH_MAX, has_room, make_byte_ring, put, reset_ring, take


def record(number: int, payload_bytes: int) -> np.ndarray:
    data = np.full(4 + payload_bytes, number % 251, np.uint8)
    data[0:2] = (number % 0xFF00) >> 8, number & 0xFF
    data[2:4] = payload_bytes >> 8, payload_bytes & 0xFF
    return data


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(st.integers(0, 1600), st.none()), max_size=300))
def test_records_leave_in_the_order_they_came(steps: list[int | None]) -> None:
    ring = make_byte_ring(8192, 1000)
    out, result = np.zeros(20_000, np.uint8), np.zeros(2, np.int64)
    waiting: deque[bytes] = deque()
    taken = number = 0
    for step in [*steps, None]:
        if step is None:
            moved = take(ring, out, out.size, result)
            assert result[1] == taken
            assert out[:moved].tobytes() == b"".join(waiting)
            assert result[0] == len(waiting)
            taken += len(waiting)
            waiting.clear()
        elif has_room(ring, 4 + step):
            data = record(number, step)
            put(ring, data, data.size)
            waiting.append(data.tobytes())
            number += 1


def test_room_ends_at_the_record_limit() -> None:
    ring = make_byte_ring(1 << 20, 3)
    for number in range(3):
        assert has_room(ring, 20)
        put(ring, record(number, 16), 20)
    assert not has_room(ring, 20)
    assert ring.state[DEPTH_MAX] == 3


def test_take_moves_only_whole_records() -> None:
    ring = make_byte_ring(8192, 100)
    for number in range(4):
        put(ring, record(number, 16), 20)
    out, result = np.zeros(100, np.uint8), np.zeros(2, np.int64)
    assert take(ring, out, 59, result) == 40
    assert result.tolist() == [2, 0]
    assert take(ring, out, 100, result) == 40
    assert result.tolist() == [2, 2]


def test_reset_empties() -> None:
    ring = make_byte_ring(8192, 100)
    put(ring, record(0, 16), 20)
    reset_ring(ring)
    assert take(ring, np.zeros(100, np.uint8), 100, np.zeros(2, np.int64)) == 0


def test_a_ring_too_small_for_a_record_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 8192"):
        make_byte_ring(100, 10)


def test_producer_and_consumer_in_two_threads_lose_nothing() -> None:
    ring = make_byte_ring(16_384, 500)
    total = 20_000
    received = bytearray()
    count = 0

    def consume() -> None:
        nonlocal count
        out, result = np.zeros(8192, np.uint8), np.zeros(2, np.int64)
        while count < total:
            moved = take(ring, out, out.size, result)
            received.extend(out[:moved].tobytes())
            count += int(result[0])

    consumer = threading.Thread(target=consume)
    consumer.start()
    sent = bytearray()
    for number in range(total):
        data = record(number, number % 40)
        while not has_room(ring, data.size):
            pass
        put(ring, data, data.size)
        sent.extend(data.tobytes())
    consumer.join(60)
    assert not consumer.is_alive()
    assert received == sent
