"""st_q_in: order, bounds with back pressure instead of loss, and its deepest."""

from __future__ import annotations

import threading

import pytest

from harness.errors import DeadlineExceeded
from harness.migration.segments import End, Segment
from harness.migration.transport import Deadline
from harness.vei.session import BrokenOffError
from harness.vei.statelet_queue import StateletQueue


def segment(first: int, count: int = 10, size: int = 100) -> Segment:
    return Segment(first, count, bytes(size))


def soon() -> Deadline:
    return Deadline.after(5_000_000_000)


def nothing() -> None:
    """A session that goes on."""


def test_segments_come_out_in_order_and_the_deepest_is_kept() -> None:
    queue = StateletQueue(1000, 10_000)
    for first in (0, 10, 20):
        queue.put(segment(first), soon(), nothing)
    assert [queue.take(soon(), nothing) for _ in range(2)] == [segment(0), segment(10)]
    queue.put(End(30), soon(), nothing)
    assert [queue.take_ready() for _ in range(3)] == [segment(20), End(30), None]
    assert (queue.max_packets, queue.max_bytes) == (30, 300)


@pytest.mark.parametrize(("packets", "size"), [(20, 10_000), (1000, 200)])
def test_a_full_queue_makes_the_producer_wait_and_loses_nothing(packets: int, size: int) -> None:
    queue = StateletQueue(packets, size)
    thread = threading.Thread(target=lambda: [queue.put(segment(10 * n), soon(), nothing) for n in range(50)])
    thread.start()
    taken = [queue.take(soon(), nothing) for _ in range(50)]
    thread.join(10.0)
    assert taken == [segment(10 * n) for n in range(50)]
    assert (queue.max_packets, queue.max_bytes) <= (20, 200)


def test_a_segment_larger_than_the_queue_passes_an_empty_one() -> None:
    queue = StateletQueue(5, 50)
    queue.put(segment(0), soon(), nothing)
    assert queue.take_ready() == segment(0)


def test_waiting_ends_at_the_deadline() -> None:
    queue = StateletQueue(10, 1000)
    with pytest.raises(DeadlineExceeded, match="next statelet segment"):
        queue.take(Deadline.after(10_000_000), nothing)
    queue.put(segment(0), soon(), nothing)
    with pytest.raises(DeadlineExceeded, match="room in st_q_in"):
        queue.put(segment(10), Deadline.after(10_000_000), nothing)


def test_waiting_ends_with_the_session() -> None:
    def over() -> None:
        raise BrokenOffError("over")

    queue = StateletQueue(10, 1000)
    with pytest.raises(BrokenOffError):
        queue.take(soon(), over)
    queue.put(segment(0), soon(), over)
    with pytest.raises(BrokenOffError):
        queue.put(segment(10), soon(), over)
