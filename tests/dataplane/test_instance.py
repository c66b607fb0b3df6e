"""The engine on datagram socket pairs (no privileges needed): modes, announcing, pkt_q, drain, counters, trace."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether

from harness.dataplane.instance import (
    MODE_ACTIVE,
    MODE_BUFFERING,
    MODE_STANDBY,
    MODE_STOPPED,
    UPDATES_DUPLICATION,
    UPDATES_STATELET,
    Instance,
    InstanceSettings,
)
from harness.dataplane.replay import read_trace, replay
from harness.dataplane.table_check import dump
from harness.errors import HarnessError
from tests.dataplane.images import REFUSED_MARK, counting_image

DEADLINE_S = 20.0
TOKEN = bytes(range(16))


def frame(number: int, size: int = 100) -> bytes:
    packet = Ether(dst="02:00:00:00:01:00") / IP(dst="198.18.1.1") / UDP(dport=7) / number.to_bytes(4, "big")
    return bytes(packet).ljust(size, b"\0")


def drain(port: int, token: bytes = TOKEN) -> bytes:
    return bytes(Ether(dst="02:00:00:00:01:00", type=0x88B5) / (b"DRAIN\x01" + bytes([port, 0]) + token)).ljust(
        60, b"\0"
    )


class Bench:
    """An instance between two socket pairs."""

    def __init__(self, settings: InstanceSettings) -> None:
        pairs = [socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM) for _ in range(2)]
        self.outside = [pair[0] for pair in pairs]
        for sock in self.outside:
            sock.settimeout(DEADLINE_S)
        for sock in [pair[1] for pair in pairs]:
            sock.setblocking(False)
        self.instance = Instance(counting_image(), [pair[1] for pair in pairs], settings)
        self.instance.set_drain_token(TOKEN)
        self.instance.start()

    def wait(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + DEADLINE_S
        while not condition():
            assert time.monotonic() < deadline, self.instance.status()

    def port(self, port: int, name: str) -> int:
        return int(self.instance.status()["ports"][port][name])


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench(InstanceSettings(scheduler="other", pkt_q_packets=64, st_q_out_packets=50))
    yield made
    made.instance.close()


def test_standby_is_silent_and_counts(bench: Bench) -> None:
    for number in range(10):
        bench.outside[0].send(frame(number))
    bench.wait(lambda: bench.port(0, "not_ready") == 10)
    assert bench.port(1, "tx_frames") == 0


def test_active_passes_both_ways_in_order(bench: Bench) -> None:
    bench.instance.set_mode(MODE_ACTIVE)
    for number in range(20):
        bench.outside[0].send(frame(number))
        bench.outside[1].send(frame(1000 + number))
    assert [bench.outside[1].recv(2000) for _ in range(20)] == [frame(number) for number in range(20)]
    assert [bench.outside[0].recv(2000) for _ in range(20)] == [frame(1000 + number) for number in range(20)]


def test_a_refused_packet_is_counted_by_its_reason(bench: Bench) -> None:
    bench.instance.set_mode(MODE_ACTIVE)
    bad = bytearray(frame(1))
    bad[14] = REFUSED_MARK
    bench.outside[0].send(bad)
    bench.outside[0].send(b"short")
    bench.wait(lambda: bench.instance.status()["reasons"] == {"marked": 1, "short": 1})
    assert bench.port(0, "refused") == 2


def test_buffered_frames_leave_first_and_in_order_when_activated(bench: Bench) -> None:
    bench.instance.set_mode(MODE_BUFFERING)
    for number in range(30):
        bench.outside[0].send(frame(number))
    bench.wait(lambda: bench.port(0, "pkt_q_depth") == 30)
    bench.instance.set_mode(MODE_ACTIVE)
    for number in range(30, 40):
        bench.outside[0].send(frame(number))
    assert [bench.outside[1].recv(2000) for _ in range(40)] == [frame(number) for number in range(40)]
    assert bench.port(0, "pkt_q_depth_max") >= 30


def test_pkt_q_drops_at_its_tail_and_counts(bench: Bench) -> None:
    bench.instance.set_mode(MODE_BUFFERING)
    sent = 0
    while sent < 100:
        bench.outside[0].send(frame(sent))
        sent += 1
    bench.wait(lambda: bench.port(0, "pkt_q_overflow") == 36)
    assert bench.port(0, "pkt_q_depth_max") == 64


def test_standby_forgets_what_waits_in_pkt_q(bench: Bench) -> None:
    bench.instance.set_mode(MODE_BUFFERING)
    for number in range(10):
        bench.outside[0].send(frame(number))
    bench.wait(lambda: bench.port(0, "pkt_q_depth") == 10)
    bench.instance.set_mode(MODE_STANDBY)
    bench.wait(lambda: bench.port(0, "not_ready") == 10)
    bench.instance.set_mode(MODE_ACTIVE)
    bench.outside[0].send(frame(99))
    assert bench.outside[1].recv(2000) == frame(99)


def test_statelets_start_where_the_freeze_happened(bench: Bench) -> None:
    instance = bench.instance
    instance.set_mode(MODE_ACTIVE)
    for number in range(5):
        bench.outside[0].send(frame(number))
        bench.outside[1].recv(2000)
    instance.freeze_and_announce(UPDATES_STATELET)
    for number in range(7):
        bench.outside[0].send(frame(number))
        bench.outside[1].recv(2000)
    data = np.zeros(4096, np.uint8)
    nbytes, count, first = instance.take_statelets(data, 4096)
    assert (nbytes, count, first) == (35, 7, 0)
    other = counting_image()
    destination = Bench(InstanceSettings(scheduler="other"))
    try:
        assert destination.instance.install_statelets(data, nbytes) == (7, 0)
        assert dump(destination.instance.tables) != dump(other.tables)
    finally:
        destination.instance.close()


def test_duplicates_bring_another_instance_to_the_same_state(bench: Bench) -> None:
    instance = bench.instance
    instance.set_mode(MODE_ACTIVE)
    instance.freeze_and_announce(UPDATES_DUPLICATION)
    for number in range(9):
        bench.outside[number % 2].send(frame(number))
        bench.outside[1 - number % 2].recv(2000)
    data = np.zeros(1 << 16, np.uint8)
    nbytes, count, _ = instance.take_statelets(data, data.size)
    assert count == 9
    destination = Bench(InstanceSettings(scheduler="other"))
    try:
        assert destination.instance.install_duplicates(data, nbytes) == (9, 0)
        instance.unfreeze()
        assert dump(destination.instance.tables) == dump(instance.tables)
    finally:
        destination.instance.close()


@pytest.mark.parametrize("cut", [1, 3, 4, 6])
def test_a_cut_segment_is_an_error_and_installs_what_was_whole(bench: Bench, cut: int) -> None:
    data = np.array([0, 1, 0, 1, 0, 0, 1, 0, 1, 1], np.uint8)
    installed, error = bench.instance.install_statelets(data, data.size - cut)
    assert installed == (1 if cut < 5 else 0)
    assert error < 0


def test_overflow_before_the_commit_ends_announcing_and_loses_no_packet(bench: Bench) -> None:
    instance = bench.instance
    instance.set_mode(MODE_ACTIVE)
    instance.freeze_and_announce(UPDATES_STATELET)
    for number in range(60):
        bench.outside[0].send(frame(number))
        assert bench.outside[1].recv(2000) == frame(number)
    assert instance.announcing_overflowed
    with pytest.raises(HarnessError, match="commit refused"):
        instance.commit()


def test_overflow_after_the_commit_drops_the_packet_unprocessed(bench: Bench) -> None:
    instance = bench.instance
    instance.set_mode(MODE_ACTIVE)
    instance.freeze_and_announce(UPDATES_STATELET)
    instance.commit()
    for number in range(60):
        bench.outside[0].send(frame(number))
    bench.wait(lambda: bench.port(0, "st_q_out_overflow") == 10)
    assert bench.port(0, "processed") == 50
    assert not instance.announcing_overflowed


def test_the_second_drain_packet_stops_the_source_and_closes_the_stream(bench: Bench) -> None:
    instance = bench.instance
    instance.set_mode(MODE_ACTIVE)
    instance.freeze_and_announce(UPDATES_STATELET)
    instance.commit()
    bench.outside[0].send(drain(0, bytes(16)))
    bench.outside[0].send(drain(1))
    bench.outside[0].send(drain(0))
    bench.wait(lambda: instance.drained[0] > 0)
    assert instance.status()["mode"] == MODE_ACTIVE
    bench.outside[1].send(frame(1))
    assert bench.outside[0].recv(2000) == frame(1)
    bench.outside[1].send(drain(1))
    bench.wait(lambda: instance.status()["mode"] == MODE_STOPPED)
    assert not instance.statelets_closed
    instance.take_statelets(np.zeros(100, np.uint8), 100)
    assert instance.statelets_closed
    bench.outside[0].send(frame(2))
    bench.wait(lambda: bench.port(0, "stopped") == 1)


def test_drain_packets_without_a_commit_stop_nothing(bench: Bench) -> None:
    bench.instance.set_mode(MODE_ACTIVE)
    bench.outside[0].send(drain(0))
    bench.outside[1].send(drain(1))
    bench.outside[0].send(frame(1))
    assert bench.outside[1].recv(2000) == frame(1)
    assert bench.instance.status()["mode"] == MODE_ACTIVE


def test_latency_is_kept_by_the_delay_line() -> None:
    bench = Bench(InstanceSettings(scheduler="other", latency_ns=20_000_000))
    try:
        bench.instance.set_mode(MODE_ACTIVE)
        start_ns = time.monotonic_ns()
        bench.outside[0].send(frame(1))
        bench.outside[1].recv(2000)
        assert time.monotonic_ns() - start_ns >= 20_000_000 - InstanceSettings.tick_ns // 2
    finally:
        bench.instance.close()


def test_replaying_the_trace_reaches_the_state_of_the_instance(tmp_path: Path) -> None:
    bench = Bench(InstanceSettings(scheduler="other", trace_path=tmp_path / "trace"))
    bench.instance.set_mode(MODE_ACTIVE)
    for number in range(50):
        bench.outside[number % 2].send(frame(number))
        bench.outside[1 - number % 2].recv(2000)
    bench.instance.close()
    records = read_trace(tmp_path / "trace")
    image = counting_image()
    assert replay(image.announce, image.install, image.tables, records) == 50
    assert dump(image.tables) == dump(bench.instance.tables)


def test_a_trace_cut_within_a_record_is_refused(tmp_path: Path) -> None:
    (tmp_path / "trace").write_bytes(bytes(100))
    with pytest.raises(HarnessError, match="not whole records"):
        read_trace(tmp_path / "trace")


def test_many_control_operations_are_all_taken(bench: Bench) -> None:
    for _ in range(50):
        bench.instance.set_mode(MODE_BUFFERING)
        bench.instance.set_mode(MODE_STANDBY)
    assert bench.instance.status()["mode"] == MODE_STANDBY
