"""When frames are handed on: exactly where they are sparse, at most half a tick early where they are dense."""

from __future__ import annotations

import socket
import time
from contextlib import ExitStack

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.dataplane.instance import MODE_ACTIVE, Instance, InstanceSettings
from harness.dataplane.libc import scratch_timespec
from harness.dataplane.tick import DENSE_FRAMES, ahead_ns, present_tick_ns, sleep_towards_ns
from tests.dataplane.images import counting_image
from tests.dataplane.test_instance import frame

TICK_NS, LATENCY_NS = 200_000, 2_500_000
DENSE_WAITING = DENSE_FRAMES * LATENCY_NS // TICK_NS
SO_TIMESTAMPNS = 35


def test_the_tick_shrinks_with_the_frames_that_wait() -> None:
    ticks = [present_tick_ns(waiting, LATENCY_NS, TICK_NS) for waiting in range(DENSE_WAITING + 10)]
    assert ticks[0] == 0
    assert ticks == sorted(ticks)
    assert ticks[DENSE_WAITING // 2] == pytest.approx(TICK_NS / 2, rel=0.01)
    assert set(ticks[DENSE_WAITING:]) == {TICK_NS}
    assert present_tick_ns(0, 0, TICK_NS) == TICK_NS


@given(
    st.integers(0, 1 << 20), st.integers(0, 60_000_000_000), st.integers(1_000, 10_000_000), st.integers(0, 10_000_000)
)
def test_no_frame_is_handed_on_more_than_half_a_tick_early(
    waiting: int, latency_ns: int, tick_ns: int, lead_ns: int
) -> None:
    present_ns = present_tick_ns(waiting, latency_ns, tick_ns)
    assert 0 <= present_ns <= tick_ns
    ahead = ahead_ns(present_ns, min(lead_ns, tick_ns // 4), latency_ns)
    assert 0 <= ahead <= tick_ns // 2
    assert ahead <= latency_ns // 8


def test_the_lead_grows_and_shrinks_with_what_waking_up_takes() -> None:
    lead, scratch = np.array([TICK_NS // 4], np.int64), scratch_timespec()
    now_ns = time.monotonic_ns()
    sleep_towards_ns(now_ns, lead, 0, TICK_NS, scratch)
    assert lead[0] == TICK_NS // 4  # its time had come before it slept: nothing was learnt
    lead[0] = 0
    end_ns = time.monotonic_ns() + 10_000_000_000
    for learnt_ns in (1_000, 2_000, 3_000):  # no wake-up takes no time
        while lead[0] == learnt_ns - 1_000:  # held up before it slept, it learns nothing
            assert time.monotonic_ns() < end_ns
            sleep_towards_ns(time.monotonic_ns() + 300_000, lead, 0, TICK_NS, scratch)
        assert lead[0] == learnt_ns
    lead[0] = most_ns = 100_000_000
    while lead[0] == most_ns:  # unless the machine held it up for so long, it came earlier than that
        assert time.monotonic_ns() < end_ns
        sleep_towards_ns(time.monotonic_ns() + most_ns + 100_000, lead, 0, 4 * most_ns, scratch)
    assert lead[0] == most_ns - 1_000


def wall_minus_monotonic_ns() -> int:
    """From the reading of both clocks that was held up least."""
    readings = []
    for _ in range(20):
        before_ns, wall_ns, after_ns = time.monotonic_ns(), time.time_ns(), time.monotonic_ns()
        readings.append((after_ns - before_ns, wall_ns - (before_ns + after_ns) // 2))
    return min(readings)[1]


def link() -> tuple[socket.socket, socket.socket]:
    """Two ends on which the kernel stamps arrivals, as it does on a port; the second does not block."""
    ends = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2)]
    for end in ends:
        end.bind(("127.0.0.1", 0))
        end.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    for one, other in (ends, ends[::-1]):
        one.connect(other.getsockname())
    ends[0].settimeout(10.0)
    ends[1].setblocking(False)
    return ends[0], ends[1]


def test_dense_frames_come_early_as_well_as_late_never_by_more_than_half_a_tick_and_in_order() -> None:
    latency_ns, tick_ns, count = 80_000_000, 10_000_000, 150
    with ExitStack() as stack:
        (near, near_port), (far, far_port) = (link() for _ in range(2))
        for sock in (near, near_port, far, far_port):
            stack.enter_context(sock)
        settings = InstanceSettings(scheduler="other", latency_ns=latency_ns, tick_ns=tick_ns)
        instance = Instance(counting_image(), [near_port, far_port], settings)
        instance.start()
        stack.callback(instance.close)
        instance.set_mode(MODE_ACTIVE)
        sent_ns, took_ns = [], []
        for number in range(count):
            sent_ns.append(time.monotonic_ns())
            near.send(frame(number))
            while time.monotonic_ns() < sent_ns[-1] + 1_000_000:
                pass
        ahead_ns = wall_minus_monotonic_ns()
        for number in range(count):
            data, ancillary, _, _ = far.recvmsg(2_000, 100)
            assert data == frame(number)
            seconds, nanoseconds = np.frombuffer(ancillary[0][2], np.int64)
            arrived_ns = int(seconds) * 1_000_000_000 + int(nanoseconds) - ahead_ns
            took_ns.append(arrived_ns - sent_ns[number])
    assert min(took_ns) >= latency_ns - tick_ns // 2 - 1_000_000  # of two clocks that are not read in one instant
    assert min(took_ns) < latency_ns
