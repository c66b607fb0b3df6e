"""Both loops joined by a socket pair: no interface and no privilege needed. Its short queue makes senders wait."""

from __future__ import annotations

import socket
import threading
import time
from ipaddress import IPv4Address
from typing import Any

import numpy as np
import pytest
from scapy.layers.l2 import ARP, Ether

from harness.dataplane.jit import JIT_DISABLED
from loadgen import echoserver_state, generator_state, status
from loadgen.control import REPEAT_ANNOUNCEMENTS, START_NS, STOP
from loadgen.echoserver import run_echoserver
from loadgen.flows import build_flows
from loadgen.generator import run_generator
from loadgen.payload import ANNOUNCES, CELL_SHIFT
from loadgen.schedule import build_schedule, flow_count, server_frame_sizes, server_offsets_ns
from loadgen.workload import Subscribers, Workload

pytestmark = pytest.mark.skipif(JIT_DISABLED, reason="two interpreted loops do not keep up with each other")

MS = 1_000_000
RUN = 77
HOSTS = [IPv4Address("10.1.1.1"), IPv4Address("10.1.1.2")]
ECHO = [IPv4Address("198.18.1.1"), IPv4Address("198.18.1.2")]
MACS = (bytes.fromhex("020000000001"), bytes.fromhex("020000000002"))


def as_numbers(addresses: list[IPv4Address]) -> Any:
    return np.array([int(address) for address in addresses], np.uint32)


class Loops:
    """Generator and echoserver in two threads of this process."""

    def __init__(
        self, workload: Workload, latency_ns: int = 0, extra_latency_ns: int = 0, drain_ns: int = 1_000 * MS
    ) -> None:
        flows = flow_count(workload)
        self.plan = generator_state.Plan(*build_schedule(workload))
        self.flows = build_flows(flows, HOSTS, ECHO, 7, MACS, RUN)
        self.record = generator_state.make_record(workload.packets, workload.server_packets, flows)
        self.words = generator_state.make_words()
        self.seen = echoserver_state.make_flow_record(flows)
        self.server = echoserver_state.make_server_record(server_offsets_ns(workload), server_frame_sizes(workload))
        self.server_words = echoserver_state.make_words()
        identity = echoserver_state.make_identity(MACS[1], MACS[0], as_numbers(ECHO), as_numbers(ECHO))
        self.sockets = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        wires = generator_state.make_wire(MACS[0], as_numbers(HOSTS)), echoserver_state.make_wire(64)
        fds = [sock.fileno() for sock in self.sockets]
        generator: tuple[Any, ...] = (fds[0], RUN, extra_latency_ns, drain_ns, 100_000)
        generator += (self.plan, self.flows, self.record, wires[0], self.words)
        echoserver: tuple[Any, ...] = (fds[1], RUN, 7, latency_ns, 100_000)
        echoserver += (identity, self.seen, self.server, wires[1], self.server_words)
        self.threads = [
            threading.Thread(target=run_generator, args=generator),
            threading.Thread(target=run_echoserver, args=echoserver),
        ]

    def __enter__(self) -> Loops:
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.words.control[STOP] = 1
        self.server_words.control[STOP] = 1
        for thread in self.threads:
            thread.join(20)
        for sock in self.sockets:
            sock.close()
        assert not any(thread.is_alive() for thread in self.threads)

    def run_load(self) -> int:
        """From start to the generator's own end; returns the start time."""
        start_ns = time.monotonic_ns() + 20 * MS
        self.plan.intended_ns[:] += start_ns
        self.server.intended_ns[:] += start_ns
        self.server_words.control[START_NS] = start_ns
        self.words.control[START_NS] = start_ns
        self.threads[0].join(60)
        assert not self.threads[0].is_alive()
        return start_ns


def test_every_packet_is_sent_in_order_from_its_due_time_on_and_comes_back() -> None:
    with Loops(Workload(4_000, 500 * MS, 16, 300, 20, 3, 100)) as loops:
        loops.run_load()
    record, counters = loops.record, loops.words.counters
    assert np.all(record.sent_ns >= loops.plan.intended_ns)
    assert np.all(np.diff(record.sent_ns) >= 0)
    assert np.all(record.received_ns >= record.sent_ns)
    assert not record.duplicates.any()
    assert not record.flow_reordered.any()
    assert counters[generator_state.SENT_PACKETS] == counters[generator_state.ECHO_REPLIES] == 2_000
    assert counters[generator_state.RECEIVED_FRAMES] == 2_000 + 30
    np.testing.assert_array_equal(loops.seen.packets, np.bincount(loops.plan.flow))
    assert np.all(loops.server.sent_ns >= loops.server.intended_ns)
    assert np.all(record.server_received_ns >= loops.server.sent_ns)
    assert loops.server_words.counters[echoserver_state.SERVER_SENT] == 30


def test_mixed_sizes_and_cells_go_out_and_the_echoserver_clears_the_cells() -> None:
    mix = ((74, 7), (590, 4), (1514, 1))
    behaviour = Subscribers(64, 100 * MS, repeat_until_confirmed=True)
    workload = Workload(
        2_400, 500 * MS, 16, 366, server_packets_per_s=400, frame_mix=mix, subscribers=behaviour, arrivals="poisson"
    )
    loops = Loops(workload)
    loops.words.control[REPEAT_ANNOUNCEMENTS] = 1
    loops.record.reply_cell.fill(7)
    loops.record.server_cell.fill(7)
    with loops:
        loops.run_load()
    record = loops.record
    assert np.bincount(loops.plan.frame_bytes)[[74, 590, 1514]].tolist() == [700, 400, 100]
    assert loops.words.counters[generator_state.ECHO_REPLIES] == 1_200
    assert loops.words.counters[generator_state.SERVER_REPLIES] == 120
    assert not record.reply_cell.any()
    assert not record.server_cell.any()
    np.testing.assert_array_equal(record.tag >> CELL_SHIFT, loops.plan.tag >> CELL_SHIFT)
    # Nobody confirmed a cell but 0, so that all others are announced all the time.
    assert np.all((record.tag & ANNOUNCES > 0) | (record.tag >> CELL_SHIFT == 0))


def test_latency_is_added_in_the_delay_line_and_at_the_end() -> None:
    latencies = {"latency_ns": 50 * MS, "extra_latency_ns": 20 * MS, "drain_ns": 1_500 * MS}
    with Loops(Workload(500, 300 * MS, 4, 100), **latencies) as loops:
        loops.run_load()
    rtt_ns = loops.record.received_ns - loops.plan.intended_ns
    # Either of them counted twice would make at least 90 ms of every one; a busy machine makes more of most.
    assert 70 * MS <= rtt_ns.min() < 90 * MS
    assert loops.words.counters[generator_state.LATE_PACKETS] == 150


def test_without_an_echoserver_packets_wait_for_room_and_the_rest_stays_unsent() -> None:
    loops = Loops(Workload(10_000, 100 * MS, 4, 100), drain_ns=50 * MS)
    loops.server_words.control[STOP] = 1
    with loops:
        loops.run_load()
    sent = np.count_nonzero(loops.record.sent_ns)
    assert 0 < sent < 1_000
    assert np.all(loops.record.sent_ns[:sent] > 0)
    assert loops.words.counters[generator_state.SENT_PACKETS] == sent
    assert loops.words.counters[generator_state.SEND_RETRIES] + loops.words.counters[generator_state.SLEEPS] > 0
    assert loops.words.counters[generator_state.REFUSED_BY_KERNEL] == 0
    assert not loops.record.received_ns.any()
    assert loops.words.status[status.PENDING] == sent


def test_peer_that_went_away_is_a_refusal_per_packet_and_not_a_hang() -> None:
    loops = Loops(Workload(1_000, 100 * MS, 4, 100), drain_ns=10 * MS)
    loops.server_words.control[STOP] = 1
    loops.sockets[1].close()
    with loops:
        loops.run_load()
    assert loops.words.counters[generator_state.REFUSED_BY_KERNEL] == 100
    assert not loops.record.sent_ns.any()


def test_arp_is_answered_before_the_load_starts_and_unsolicited_frames_change_nothing() -> None:
    loops = Loops(Workload(1_000, 10 * MS, 4, 100))
    loops.server_words.control[STOP] = 1
    question = Ether(src="02:00:00:00:01:00", dst="ff:ff:ff:ff:ff:ff") / ARP(psrc="10.1.0.1", pdst="10.1.1.2")
    vnf = loops.sockets[1]
    vnf.settimeout(10)
    with loops:
        vnf.send(b"\x02junk")
        vnf.send(bytes(question))
        answer = Ether(vnf.recv(2048))
    assert (answer[ARP].op, answer[ARP].psrc, answer[ARP].hwsrc) == (2, "10.1.1.2", "02:00:00:00:00:01")
    counters = loops.words.counters
    assert counters[generator_state.MALFORMED] == counters[generator_state.ARP_PACKETS] == 1
    assert counters[generator_state.SENT_PACKETS] == 0


@pytest.mark.parametrize("server_packets_per_s", [0, 1_000])
def test_server_packets_wait_until_a_flow_has_been_seen(server_packets_per_s: int) -> None:
    workload = Workload(1_000, 250 * MS, 4, 100, server_packets_per_s=server_packets_per_s)
    loops = Loops(workload)
    loops.words.control[STOP] = 1
    with loops:
        start_ns = time.monotonic_ns()
        loops.server.intended_ns[:] += start_ns
        loops.server_words.control[START_NS] = start_ns
        while loops.server_words.status[status.NOW_NS] < start_ns + 255 * MS:
            assert time.monotonic_ns() < start_ns + 20_000 * MS
            time.sleep(0)
    assert loops.server.intended_ns.size == workload.server_packets
    assert not loops.server.sent_ns.any()
