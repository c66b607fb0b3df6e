from __future__ import annotations

from ipaddress import IPv4Address
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadgen import generator_state as state
from loadgen.control import REPEAT_ANNOUNCEMENTS
from loadgen.flows import build_flows
from loadgen.generator import tag_to_send
from loadgen.generator_receive import accept_frame
from loadgen.payload import ANNOUNCES, CELL_SHIFT
from loadgen.schedule import build_schedule
from loadgen.workload import Workload
from tests.loadgen.frames import RUN, payload, udp_frame

HOSTS = [IPv4Address("10.1.1.1") + i for i in range(4)]
ECHO = [IPv4Address("198.18.1.1") + i for i in range(4)]
PACKETS, SERVER_PACKETS, FLOWS = 100, 10, 8
START_NS = 5_000_000_000
MS = 1_000_000


class Generator:
    """The generator's memory after it sent its first 90 packets, and a way to hand it frames."""

    def __init__(self) -> None:
        offset_ns, *rest = build_schedule(Workload(1000, 100 * MS, FLOWS, 200))
        self.plan = state.Plan(offset_ns + START_NS, *rest)
        self.flows = build_flows(FLOWS, HOSTS, ECHO, 7, (bytes(6), bytes(6)), RUN)
        self.record = state.make_record(PACKETS, SERVER_PACKETS, FLOWS)
        self.wire = state.make_wire(bytes(6), np.zeros(1, np.uint32))
        self.words = state.make_words()
        self.record.sent_ns[:90] = self.plan.intended_ns[:90]

    def accept(self, data: bytes, arrived_ns: int = START_NS + 500 * MS) -> int:
        self.wire.rx_frames[3] = 0xA5
        self.wire.rx_frames[3, : len(data)] = np.frombuffer(data, np.uint8)
        arguments: Any = (self.plan, self.flows, self.record, self.wire, self.words)
        return accept_frame(3, len(data), arrived_ns, RUN, *arguments)

    def ends(self, flow: int) -> tuple[tuple[str, int], tuple[str, int]]:
        echo, interior = IPv4Address(int(self.flows.echo_ip[flow])), IPv4Address(int(self.flows.interior_ip[flow]))
        return (str(echo), 7), (str(interior), int(self.flows.interior_port[flow]))

    def reply(self, packet: int, **change: Any) -> bytes:
        flow = int(self.plan.flow[packet])
        source, destination = change.get("ends", self.ends(flow))
        intended_ns = change.get("intended_ns", int(self.plan.intended_ns[packet]))
        labels = change.get("kind", 1), change.get("flow", flow), change.get("seq", packet)
        return udp_frame(
            source, destination, payload(*labels, intended_ns, change.get("size", 158), cell=change.get("cell", 0))
        )

    def server_packet(self, seq: int, flow: int, cell: int = 0) -> bytes:
        return udp_frame(*self.ends(flow), payload(2, flow, seq, 1, 158, cell=cell))


@pytest.fixture
def generator() -> Generator:
    return Generator()


def test_reply_is_recorded_once_and_then_a_duplicate(generator: Generator) -> None:
    arrived_ns = START_NS + 20 * MS
    assert generator.accept(generator.reply(7), arrived_ns) == state.ECHO_REPLIES
    assert generator.record.received_ns[7] == arrived_ns
    for count in (1, 2):
        assert generator.accept(generator.reply(7), arrived_ns + count) == state.ECHO_DUPLICATES
        assert generator.record.duplicates[7] == count
    assert generator.record.received_ns[7] == arrived_ns
    assert np.count_nonzero(generator.record.received_ns) == 1


def test_duplicates_stop_counting_at_the_end_of_their_range(generator: Generator) -> None:
    generator.accept(generator.reply(7))
    generator.record.duplicates[7] = 65535
    assert generator.accept(generator.reply(7)) == state.ECHO_DUPLICATES
    assert generator.record.duplicates[7] == 65535


@pytest.mark.parametrize(("rtt_ns", "late"), [(15 * MS, 0), (15 * MS + 1, 1)])
def test_late_is_more_than_15_ms_after_the_intended_time(generator: Generator, rtt_ns: int, late: int) -> None:
    generator.accept(generator.reply(7), int(generator.plan.intended_ns[7]) + rtt_ns)
    assert generator.words.counters[state.LATE_PACKETS] == late


def test_reordering_is_counted_within_a_flow_and_kind_only(generator: Generator) -> None:
    first = int(generator.plan.flow[0])
    of_flow = np.flatnonzero(generator.plan.flow == first).tolist()
    of_other = int(np.flatnonzero(generator.plan.flow != first)[0])
    for seq in (of_flow[2], of_flow[0], of_flow[3], of_flow[1], of_other):
        assert generator.accept(generator.reply(seq)) == state.ECHO_REPLIES
    expected = np.zeros(FLOWS, np.uint32)
    expected[first] = 2
    np.testing.assert_array_equal(generator.record.flow_reordered, expected)
    for seq in (5, 1):
        assert generator.accept(generator.server_packet(seq, first)) == state.SERVER_REPLIES
    assert generator.record.flow_reordered[first] == 3


def test_server_packet_is_recorded_once_and_then_a_duplicate(generator: Generator) -> None:
    assert generator.accept(generator.server_packet(9, 3), 123) == state.SERVER_REPLIES
    assert generator.accept(generator.server_packet(9, 3), 456) == state.SERVER_DUPLICATES
    assert (generator.record.server_received_ns[9], generator.record.server_duplicates[9]) == (123, 1)
    assert not generator.record.received_ns.any()


def test_packets_that_are_not_where_or_what_they_should_be_are_misdirected(generator: Generator) -> None:
    source, destination = generator.ends(int(generator.plan.flow[7]))
    other_flow = (int(generator.plan.flow[7]) + 1) % FLOWS
    cases = [
        generator.reply(7, flow=other_flow),
        generator.reply(7, flow=FLOWS),
        generator.reply(7, flow=2**32 - 1),
        generator.reply(7, seq=PACKETS),
        generator.reply(7, seq=2**63),
        generator.reply(7, seq=2**64 - 1),
        generator.reply(7, kind=0),
        generator.reply(7, kind=3),
        generator.reply(7, size=159),
        generator.reply(7, intended_ns=1),
        generator.reply(95),
        generator.reply(7, ends=(("198.18.1.9", 7), destination)),
        generator.reply(7, ends=((source[0], 8), destination)),
        generator.reply(7, ends=(source, ("10.1.1.9", destination[1]))),
        generator.reply(7, ends=(source, (destination[0], destination[1] + 1))),
        udp_frame(source, destination, payload(2, other_flow, 0, 1, 158)),
        udp_frame(source, destination, payload(2, int(generator.plan.flow[7]), SERVER_PACKETS, 1, 158)),
        udp_frame(source, destination, payload(2, FLOWS, 0, 1, 158)),
    ]
    assert [generator.accept(case) for case in cases] == [state.MISDIRECTED] * len(cases)
    assert not generator.record.received_ns.any()
    assert not generator.record.server_received_ns.any()
    assert generator.accept(generator.reply(7)) == state.ECHO_REPLIES


def test_a_reply_after_it_was_given_up_takes_back_the_loss(generator: Generator) -> None:
    from loadgen.status import LOST_ESTIMATE

    generator.words.cursor[1] = 8
    generator.words.status[LOST_ESTIMATE] = 8
    generator.accept(generator.reply(7))
    generator.accept(generator.reply(8))
    assert generator.words.status[LOST_ESTIMATE] == 7


def test_the_cell_the_gateway_wrote_is_recorded_of_either_kind(generator: Generator) -> None:
    generator.accept(generator.reply(7, cell=513))
    generator.accept(generator.reply(7, cell=514))
    generator.accept(generator.server_packet(3, 2, cell=65_535))
    assert np.flatnonzero(generator.record.reply_cell).tolist() == [7]
    assert (generator.record.reply_cell[7], generator.record.server_cell[3]) == (513, 65_535)


def test_an_announcement_is_repeated_until_the_cell_comes_back(generator: Generator) -> None:
    flow = int(generator.plan.flow[0])
    of_flow = np.flatnonzero(generator.plan.flow == flow).tolist()
    generator.plan.tag[of_flow] = 5 << CELL_SHIFT
    generator.plan.tag[of_flow[0]] |= ANNOUNCES
    generator.plan.tag[of_flow[6:]] = 9 << CELL_SHIFT
    generator.plan.tag[of_flow[6]] |= ANNOUNCES
    generator.words.control[REPEAT_ANNOUNCEMENTS] = 1

    def announces(packet: int) -> bool:
        tag = tag_to_send(of_flow[packet], flow, generator.plan, generator.record, generator.words)
        assert tag >> CELL_SHIFT == (9 if packet >= 6 else 5)
        return bool(tag & ANNOUNCES)

    assert [announces(0), announces(1)] == [True, True]
    generator.accept(generator.reply(of_flow[0], cell=4))
    generator.accept(generator.server_packet(0, (flow + 1) % FLOWS, cell=5))
    assert announces(2)
    generator.accept(generator.reply(of_flow[1], cell=5))
    assert not announces(3)
    assert announces(6)
    generator.accept(generator.reply(of_flow[2], cell=5))
    assert announces(7)
    generator.accept(generator.server_packet(1, flow, cell=9))
    assert not announces(8)


def test_an_announcement_is_made_once_unless_repeating_is_asked_for(generator: Generator) -> None:
    flow = int(generator.plan.flow[0])
    of_flow = np.flatnonzero(generator.plan.flow == flow).tolist()
    generator.plan.tag[of_flow[0]] |= ANNOUNCES
    arguments: Any = (generator.plan, generator.record, generator.words)
    assert [tag_to_send(packet, flow, *arguments) for packet in of_flow[:3]] == [ANNOUNCES, 0, 0]


BASE = Generator()
SAMPLES = [BASE.reply(7), BASE.server_packet(3, 2)]


@settings(max_examples=500)
@given(
    st.sampled_from(SAMPLES),
    st.integers(0, 300),
    st.lists(st.tuples(st.integers(14, 199), st.integers(0, 255)), max_size=4),
)
def test_damaged_frames_end_in_one_counter_and_never_in_the_record(
    sample: bytes, length: int, changes: list[tuple[int, int]]
) -> None:
    data = bytearray(sample.ljust(300, b"\0")[:length])
    for offset, value in changes:
        if offset < len(data):
            data[offset] = value
    counter = BASE.accept(bytes(data))
    whole = bytes(data[14 : len(sample)]) == sample[14:]
    assert (counter in (state.ARP_PACKETS, *state.REFUSED_COUNTERS)) != whole


@settings(max_examples=500)
@given(st.binary(max_size=300))
def test_random_frames_end_in_one_counter_and_never_in_the_record(data: bytes) -> None:
    assert BASE.accept(data) in (state.ARP_PACKETS, *state.REFUSED_COUNTERS)
