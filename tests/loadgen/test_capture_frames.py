"""Packets of a capture from the schedule to the wire, through the echo and back into the records."""

from __future__ import annotations

import socket
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.l2 import Ether
from scapy.packet import Packet as Scapy
from scapy.packet import Raw

from loadgen import capture_generator, echoserver_state
from loadgen import generator_state as state
from loadgen.capture_echo import ANY_PACKET
from loadgen.capture_file import CapturedFrame
from loadgen.capture_flows import choose_packets
from loadgen.capture_frames import make_templates
from loadgen.capture_schedule import CaptureConfiguration, build_capture_schedule
from loadgen.capture_state import make_flows, make_plan
from loadgen.echoserver import serve_frame
from tests.loadgen.frames import ECHO_MAC, LOADGEN_MAC, RUN, VNF_MAC, ether, in_slot

HOSTS = [IPv4Address("10.1.1.1") + i for i in range(3)]
ECHO = [IPv4Address("198.18.1.1"), IPv4Address("198.18.1.2")]
START_NS = 5_000_000_000
MS = 1_000_000
SERVED = "203.0.113.9"


def scapy_frames() -> list[Scapy]:
    """One TCP connection, opened and closed, and UDP of every size that matters."""

    def tcp(flags: str, seq: int, ack: int, size: int = 0, **more: Any) -> Scapy:
        return TCP(sport=4000, dport=443, flags=flags, seq=seq, ack=ack, window=999, **more) / Raw(b"\x77" * size)

    layers = [tcp("S", 2**32 - 1, 0, options=[("MSS", 1460), ("Timestamp", (7, 0))]), tcp("A", 0, 9)]
    layers += [tcp("PA", 9 * i, 9, size) for i, size in enumerate((1, 31, 32, 33, 512, 1447, 1460))]
    layers += [tcp("A", 99, 9, 40, options=[("Timestamp", (i, i)), ("NOP", None), ("NOP", None)]) for i in range(2)]
    layers += [tcp("FA", 5000, 9), tcp("R", 5001, 0)]
    layers += [UDP(sport=4000, dport=53) / Raw(b"\x55" * size) for size in (0, 1, 18, 31, 32, 33, 91, 1472)]
    frames = [ether() / IP(src="192.0.2.7", dst=SERVED, tos=0x10, id=77, ttl=9) / layer for layer in layers]
    return [*frames, ether() / IP(src="192.0.2.8", dst="203.0.113.8") / UDP(sport=9, dport=7) / Raw(bytes(200))]


class Load:
    """A generator's memory with its whole schedule due, and an echoserver's."""

    def __init__(self, frames: list[Scapy]) -> None:
        self.frames = [Ether(bytes(frame)) for frame in frames]
        path = Path("x.pcap")
        raw = [CapturedFrame(i * MS, 1, len(frame), bytes(frame)) for i, frame in enumerate(self.frames)]
        load = choose_packets(raw, path)
        configuration = CaptureConfiguration(
            path=path, pace="capture", rate_bps=1, duration_ns=len(raw) * MS * 2, hosts=3, echo_addresses=2
        )
        schedule = build_capture_schedule(load, configuration)
        macs = (bytes.fromhex(LOADGEN_MAC.replace(":", "")), bytes.fromhex(VNF_MAC.replace(":", "")))
        self.templates = make_templates(load.packets, macs, RUN)
        self.plan, first, order = make_plan(schedule, self.templates)
        self.plan.intended_ns[:] += START_NS
        self.flows = make_flows(schedule, HOSTS, ECHO, first, order)
        packets, flows = self.plan.intended_ns.size, schedule.flow_host.size
        self.record = state.make_record(packets, 0, flows)
        self.wire = state.make_wire(macs[0], np.array([int(host) for host in HOSTS], np.uint32))
        self.words = state.make_words()
        echo = np.array([int(address) for address in ECHO], np.uint32)
        self.echo: Any = (
            echoserver_state.make_identity(bytes(6), bytes(6), echo, echo),
            echoserver_state.make_flow_record(flows),
            echoserver_state.make_words(),
        )

    @property
    def memory(self) -> Any:
        return self.plan, self.templates, self.flows, self.record, self.wire, self.words

    def send(self) -> list[bytes]:
        """Every packet as it leaves."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        sent = []
        with ours, theirs:
            ours.setblocking(False)
            while self.words.cursor[0] < self.plan.intended_ns.size:
                count = capture_generator.send_due(ours.fileno(), 2**62, *self.memory)
                sent += [theirs.recv(4096) for _ in range(count)]
        return sent

    def serve(self, data: bytes) -> bytes:
        """The echo of a frame, empty when there is none."""
        slot, words = in_slot(data)
        return slot[: max(0, serve_frame(slot, words, len(data), RUN, ANY_PACKET, *self.echo))].tobytes()

    def accept(self, data: bytes, arrived_ns: int = START_NS + 500 * MS) -> int:
        self.wire.rx_frames[3] = 0xA5
        self.wire.rx_frames[3, : len(data)] = np.frombuffer(data, np.uint8)
        plan, templates, flows, record, wire, words = self.memory
        return capture_generator.accept_frame(
            3, len(data), arrived_ns, RUN, plan, templates, flows, record, wire, words
        )


@pytest.fixture
def load() -> Load:
    return Load(scapy_frames())


def sound(data: bytes) -> Scapy:
    """The frame, which must have the checksums and lengths that scapy computes."""
    given = Ether(data)
    fresh = Ether(data)
    transport = TCP if TCP in fresh else UDP
    del fresh[IP].chksum, fresh[IP].len, fresh[transport].chksum
    if transport is UDP:
        del fresh[UDP].len
    fresh = Ether(bytes(fresh))
    assert given[IP].len == fresh[IP].len == len(data) - 14
    assert given[IP].chksum == fresh[IP].chksum
    assert given[transport].chksum % 0xFFFF == fresh[transport].chksum % 0xFFFF
    return given


def test_every_packet_leaves_with_the_size_flags_and_numbers_of_the_captured_one(load: Load) -> None:
    frames = load.send()
    assert len(frames) == 2 * len(load.frames)
    for data, captured in zip(frames, load.frames * 2, strict=True):
        packet = sound(data)
        assert (packet.src, packet.dst, packet[IP].ttl, packet[IP].tos) == (LOADGEN_MAC, VNF_MAC, 64, captured[IP].tos)
        assert len(data) == len(captured)
        transport = TCP if TCP in captured else UDP
        assert packet[transport].dport == captured[transport].dport
        if transport is TCP:
            for field in ("seq", "ack", "flags", "window", "options", "urgptr"):
                assert getattr(packet[TCP], field) == getattr(captured[TCP], field)
        content = bytes(captured[transport].payload)
        if len(content) < 32:
            assert bytes(packet[transport].payload) == content
        else:
            assert bytes(packet[transport].payload)[4:8] == b"SLIM"
    assert (load.record.sent_ns > 0).all()


def test_flows_keep_their_ends_and_repetitions_have_ports_of_their_own(load: Load) -> None:
    ends: dict[tuple[Any, ...], set[int]] = {}
    for number, data in enumerate(load.send()):
        ip = Ether(data)[IP]
        key = (ip.src, ip.sport, ip.dst, ip.dport, ip.proto)
        ends.setdefault(key, set()).add(int(load.plan.flow[number]))
    assert [len(flows) for flows in ends.values()] == [1] * 6
    assert {(src, dst) for src, _, dst, _, _ in ends} == {("10.1.1.1", "198.18.1.1"), ("10.1.1.2", "198.18.1.2")}
    assert {(dport, proto) for _, _, _, dport, proto in ends} == {(443, 6), (53, 17), (7, 17)}


def test_the_echo_is_what_the_responder_of_the_connection_could_have_sent(load: Load) -> None:
    for data in load.send():
        request, reply = Ether(data), sound(load.serve(data))
        assert (reply.src, reply.dst) == (request.dst, request.src)
        assert (reply[IP].src, reply[IP].dst, reply[IP].id) == (request[IP].dst, request[IP].src, request[IP].id)
        assert (reply[IP].sport, reply[IP].dport) == (request[IP].dport, request[IP].sport)
        if TCP not in request:
            continue
        assert reply[TCP].seq == request[TCP].ack
        if request[TCP].flags == "S":
            assert (reply[TCP].flags, reply[TCP].ack) == ("SA", (request[TCP].seq + 1) % 2**32)
        else:
            assert (reply[TCP].flags, reply[TCP].ack) == (request[TCP].flags, request[TCP].seq)


def test_every_reply_is_found_in_the_records_with_and_without_a_number(load: Load) -> None:
    replies = [load.serve(data) for data in load.send()]
    arrivals = [START_NS + 100 * MS + i for i in range(len(replies))]
    for i in np.random.default_rng(1).permutation(len(replies)).tolist():
        assert load.accept(replies[i], arrivals[i]) == state.ECHO_REPLIES, i
    assert load.record.received_ns.tolist() == arrivals
    assert load.accept(replies[1]) == state.ECHO_DUPLICATES
    assert load.record.duplicates.tolist() == [int(i == 1) for i in range(len(replies))]
    assert load.record.flow_reordered.sum() > 0
    # Flows of which only short packets exist are not known to the echoserver; here all have a long one.
    assert (load.echo[1].packets > 0).all()


def test_the_last_packet_with_an_identification_is_the_one_that_came_back() -> None:
    frame = ether() / IP(src="192.0.2.7", dst=SERVED) / UDP(sport=4000, dport=53)
    load = Load([frame] * 4)
    frames = load.send()
    load.flows.following[0] = 3  # as if the fourth were still to come
    assert load.accept(load.serve(frames[2])) == state.ECHO_REPLIES
    assert load.accept(load.serve(frames[3])) == state.MISDIRECTED
    assert np.flatnonzero(load.record.received_ns).tolist() == [2]


def changed(data: bytes, layer: Any, **fields: Any) -> bytes:
    frame = Ether(data)
    for name, value in fields.items():
        setattr(frame[layer], name, value)
    for each in (IP, TCP, UDP):
        if each in frame:
            del frame[each].chksum
    return bytes(frame)


def test_a_reply_from_or_to_other_ends_is_no_reply(load: Load) -> None:
    sent = load.send()
    for number in (1, 5, 12, 19):
        reply = load.serve(sent[number])
        transport = TCP if TCP in Ether(reply) else UDP
        others = [
            changed(reply, IP, src="198.18.1.3"),
            changed(reply, IP, dst="10.1.1.3"),
            changed(reply, IP, dst="10.1.0.255"),
            changed(reply, transport, sport=1),
            changed(reply, transport, dport=9_999),
            changed(reply, transport, dport=65_535),
        ]
        assert [load.accept(data) for data in others] == [state.MISDIRECTED] * len(others)
        assert load.accept(reply[:-1]) == state.MALFORMED
        if len(reply) > 60:
            assert load.accept(reply[:-1] + bytes([reply[-1] ^ 1])) == state.BAD_CHECKSUM
    assert not load.record.received_ns.any()


def test_a_request_of_ours_that_comes_back_unchanged_is_no_reply(load: Load) -> None:
    data = next(data for data in load.send() if len(data) > 500)
    frame = Ether(data)
    frame[IP].src, frame[IP].dst = frame[IP].dst, frame[IP].src
    frame[IP].payload.sport, frame[IP].payload.dport = frame[IP].payload.dport, frame[IP].payload.sport
    assert load.accept(changed(bytes(frame), IP, ttl=63)) == state.MISDIRECTED


def test_the_echoserver_answers_nothing_to_other_addresses_or_of_other_runs_kinds(load: Load) -> None:
    data = load.send()[4]
    assert load.serve(data)
    assert not load.serve(changed(data, IP, dst="198.18.1.9"))
    assert not load.serve(load.serve(data)), "a reply is not answered"
    assert not load.serve(changed(data, IP, flags="MF"))
    assert not load.serve(data[:-1] + bytes([data[-1] ^ 1]))
    reply = sound(load.serve(changed(data, Ether, src=ECHO_MAC)))
    assert reply.dst == ECHO_MAC


@pytest.fixture(scope="module")
def replies() -> tuple[Load, list[bytes]]:
    load = Load(scapy_frames())
    return load, [load.serve(data) for data in load.send()]


@settings(max_examples=200)
@given(
    st.integers(0, 20), st.lists(st.tuples(st.integers(12, 120), st.integers(0, 255)), max_size=4), st.integers(0, 9)
)
def test_damaged_frames_end_in_a_counter_and_are_never_taken_for_replies(
    replies: tuple[Load, list[bytes]], number: int, changes: list[tuple[int, int]], cut: int
) -> None:
    load, all_replies = replies
    load.record.received_ns.fill(0)
    data = bytearray(all_replies[number])
    whole = bytes(data)
    for at, value in changes:
        if at < len(data):
            data[at] = value
    del data[len(data) - cut :]
    load.serve(bytes(data))
    counter = load.accept(bytes(data))
    assert 0 <= counter < 16
    if bytes(data) != whole and counter == state.ECHO_REPLIES:
        assert np.flatnonzero(load.record.received_ns).tolist() == [number], "a damaged frame was taken for another"
