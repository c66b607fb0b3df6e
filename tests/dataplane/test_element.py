"""The element's loop on datagram socket pairs (no privileges needed): times, order, counters, change of conditions."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether

from harness.dataplane.element.counters import total
from harness.dataplane.element.element import DirectionConditions, Element, ElementSettings
from harness.errors import HarnessError

DEADLINE_S = 20.0
MS = 1_000_000


def frame(number: int, size: int = 100) -> bytes:
    packet = Ether(dst="02:00:00:00:01:00") / IP(dst="198.18.1.1") / UDP(dport=7) / number.to_bytes(4, "big")
    return bytes(packet).ljust(size, b"\0")


def number_of(received: bytes) -> int:
    return int.from_bytes(received[42:46], "big")


class Bench:
    """An element between two socket pairs: `outside[0]` is the outer side of its link."""

    def __init__(self, *conditions: DirectionConditions, **settings: Any) -> None:
        pairs = [socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM) for _ in range(2)]
        self.outside = [pair[0] for pair in pairs]
        for sock in self.outside:
            sock.settimeout(DEADLINE_S)
        for sock in [pair[1] for pair in pairs]:
            sock.setblocking(False)
        self.element = Element([pair[1] for pair in pairs], ElementSettings(seed=1, scheduler="other", **settings))
        for direction, each in enumerate(conditions):
            self.element.set_conditions(direction, each)
        self.element.start()

    def counted(self, name: str, direction: int = 0) -> int:
        counters = self.element.status()[direction]
        return total(counters, name) if isinstance(counters[name], tuple) else int(counters[name])

    def wait(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + DEADLINE_S
        while not condition():
            assert time.monotonic() < deadline, self.element.status()


@pytest.fixture
def make_bench() -> Iterator[Callable[..., Bench]]:
    made: list[Bench] = []

    def make(*conditions: DirectionConditions, **settings: Any) -> Bench:
        made.append(Bench(*conditions, **settings))
        return made[-1]

    yield make
    for bench in made:
        bench.element.close()
        for sock in bench.outside:
            sock.close()


def test_frames_pass_both_ways_unchanged_and_in_order(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench()
    sent = [frame(number, 60 + number) for number in range(50)]
    for each in sent:
        bench.outside[0].send(each)
        bench.outside[1].send(each)
    assert [bench.outside[1].recv(2000) for _ in sent] == sent
    assert [bench.outside[0].recv(2000) for _ in sent] == sent
    for direction in (0, 1):  # counted once the kernel has them
        bench.wait(partial(lambda way: bench.counted("sent", way) == 50, direction))
    assert bench.counted("tx_bytes") == sum(len(each) for each in sent)


def test_each_direction_has_its_own_latency(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench(DirectionConditions(2 * MS), DirectionConditions(30 * MS))
    for side, latency_ns in ((0, 2 * MS), (1, 30 * MS)):
        shortest_ns, until_ns = 1 << 62, time.monotonic_ns() + int(DEADLINE_S * 1e9)
        # The loop hands on half a tick early at most; late it is as often as the machine is busy.
        while shortest_ns >= latency_ns + 20 * MS:
            began_ns = time.monotonic_ns()
            assert began_ns < until_ns, f"never within {shortest_ns} ns"
            bench.outside[side].send(frame(0))
            bench.outside[1 - side].recv(2000)
            shortest_ns = min(shortest_ns, time.monotonic_ns() - began_ns)
            assert shortest_ns >= latency_ns - 100_000


def test_conditions_change_while_frames_flow(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench(DirectionConditions(MS), DirectionConditions())
    bench.outside[0].send(frame(0))
    assert number_of(bench.outside[1].recv(2000)) == 0
    before_ns = time.monotonic_ns()
    applied_ns = bench.element.set_conditions(0, DirectionConditions(loss=1.0))
    assert before_ns <= applied_ns <= time.monotonic_ns()
    bench.outside[0].send(frame(1))
    bench.wait(lambda: bench.counted("impaired") == 1)
    bench.element.set_conditions(0, DirectionConditions())
    bench.outside[0].send(frame(2))
    assert number_of(bench.outside[1].recv(2000)) == 2
    assert bench.counted("received") == 3


def test_a_change_ends_a_sleep_of_many_latencies(make_bench: Callable[..., Bench]) -> None:
    """While a frame of a long latency waits, the other direction still starts at once."""
    bench = make_bench(DirectionConditions(3_000 * MS), DirectionConditions(3_000 * MS))
    bench.outside[0].send(frame(0))
    bench.wait(lambda: bench.counted("depth") == 1)
    began = time.monotonic()
    bench.element.set_conditions(1, DirectionConditions())
    bench.outside[1].send(frame(1))
    assert number_of(bench.outside[0].recv(2000)) == 1
    assert time.monotonic() - began < 2.0, "it has slept for the latency of the other"


def test_every_frame_and_copy_is_counted_once(make_bench: Callable[..., Bench]) -> None:
    conditions = DirectionConditions(MS, 800_000, loss=0.2, duplication=0.2, reordering=0.2)
    bench = make_bench(conditions, burst_packets=16, queue_packets=64)

    def settled(sent: int) -> bool:
        ends = sum(bench.counted(name) for name in ("sent", "impaired", "refused", "meter", "failed"))
        return bench.counted("received") == sent and ends == sent + bench.counted("duplicated")

    arrived = 0
    bench.outside[1].setblocking(False)
    for number in range(400):
        bench.outside[0].send(frame(number))
        if number % 10 == 9:
            bench.wait(partial(settled, number + 1))
            with contextlib.suppress(BlockingIOError):
                while bench.outside[1].recv(2000):
                    arrived += 1
    assert arrived == bench.counted("sent")
    assert bench.counted("refused") == bench.counted("meter") == bench.counted("failed") == 0
    assert bench.counted("duplicated") > 30
    assert bench.counted("reordered") > 30


def test_what_cannot_be_sent_is_counted_by_its_reason(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench()
    bench.outside[1].close()
    bench.outside[0].send(frame(0))
    bench.wait(lambda: bench.counted("failed") == 1)
    assert bench.counted("sent") == bench.counted("meter") == 0


def test_a_frame_larger_than_a_slot_is_counted_and_not_passed_on(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench(slot_bytes=256)
    bench.outside[0].send(frame(0, 300))
    bench.outside[0].send(frame(1, 256))
    assert number_of(bench.outside[1].recv(2000)) == 1
    assert bench.counted("oversized") == 1


def test_the_status_page_is_there_for_others(make_bench: Callable[..., Bench], tmp_path: Any) -> None:
    path = tmp_path / "page"
    bench = make_bench(status_path=path)
    bench.outside[0].send(frame(0))
    bench.outside[1].recv(2000)
    bench.wait(lambda: bench.counted("sent") == 1)
    page = np.fromfile(path, np.int64)
    assert page.size == 512
    assert 1 in page


def test_after_its_end_conditions_are_refused(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench()
    bench.element.close()
    bench.element.close()
    with pytest.raises(HarnessError, match="closed"):
        bench.element.set_conditions(0, DirectionConditions())
