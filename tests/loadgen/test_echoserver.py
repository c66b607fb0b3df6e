from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import ARP, Ether

from loadgen import echoserver_state as state
from loadgen.echoserver import serve_frame
from tests.loadgen.frames import RUN, checksums_hold, in_slot, payload, udp_frame

ECHO = np.array([0xC6120101, 0xC6120102], np.uint32)
FLOWS = 8
NAT = "198.18.0.1"


class Echoserver:
    """The echoserver's memory, and a way to hand it frames."""

    def __init__(self) -> None:
        self.identity = state.make_identity(bytes(6), bytes(6), ECHO, ECHO)
        self.record = state.make_flow_record(FLOWS)
        self.words = state.make_words()

    def serve(self, data: bytes) -> tuple[int, bytes]:
        slot, words = in_slot(data)
        arguments: Any = (self.identity, self.record, self.words)
        out_bytes = serve_frame(slot, words, len(data), RUN, 7, *arguments)
        return out_bytes, slot[: max(out_bytes, 0)].tobytes()


def request(flow: int, port: int = 40_000, echo: str = "198.18.1.2", **change: Any) -> bytes:
    data = payload(change.get("kind", 0), flow, change.get("seq", 1), 2, change.get("size", 100))
    return udp_frame((change.get("source", NAT), port), (echo, change.get("echo_port", 7)), data)


@pytest.fixture
def echoserver() -> Echoserver:
    return Echoserver()


def test_request_comes_back_without_the_padding_of_the_link(echoserver: Echoserver) -> None:
    data = request(3)
    out_bytes, reply = echoserver.serve(data + b"\xff\xff")
    assert out_bytes == len(data)
    assert checksums_hold(reply)
    frame = Ether(reply)
    assert (frame[IP].src, frame[IP].dst, frame[UDP].sport, frame[UDP].dport) == ("198.18.1.2", NAT, 7, 40_000)
    assert bytes(frame[UDP].payload) == payload(1, 3, 1, 2, 100)


def test_external_side_of_each_flow_is_recorded_as_first_seen_and_changes_are_counted(echoserver: Echoserver) -> None:
    for flow, port in ((5, 40_000), (1, 40_001), (5, 40_000), (5, 50_000), (5, 50_000), (5, 40_000), (1, 40_001)):
        assert echoserver.serve(request(flow, port))[0] > 0
    echoserver.serve(request(1, 40_001, source="198.18.0.2"))
    record = echoserver.record
    assert record.packets.tolist() == [0, 3, 0, 0, 0, 5, 0, 0]
    assert record.mapping_changes.tolist() == [0, 1, 0, 0, 0, 2, 0, 0]
    assert (record.external_ip[5], record.external_port[5]) == (0xC6120001, 40_000)
    assert (record.external_ip[1], record.external_port[1]) == (0xC6120001, 40_001)
    assert record.seen[:2].tolist() == [5, 1]
    assert echoserver.words.cursor[1] == 2
    assert record.peer[1].tolist() == [0xC6120002, 40_001, 0xC6120102, 7]
    assert echoserver.words.counters[state.MAPPING_CHANGES] == 3


@pytest.mark.parametrize(
    ("frame", "counter"),
    [
        (request(FLOWS), state.MISDIRECTED),
        (request(2**32 - 1), state.MISDIRECTED),
        (request(1, kind=1), state.MISDIRECTED),
        (request(1, kind=2), state.MISDIRECTED),
        (request(1, echo="198.18.1.3"), state.MISDIRECTED),
        (request(1, echo_port=8), state.MISDIRECTED),
        (request(1)[:-1], state.MALFORMED),
        (request(1)[:-1] + b"\0", state.BAD_CHECKSUM),
        (udp_frame((NAT, 1), ("198.18.1.1", 7), bytes(60)), state.FOREIGN),
        (bytes(Ether() / ARP(pdst="198.18.1.1")), state.ARP_PACKETS),
        (b"", state.MALFORMED),
    ],
)
def test_everything_else_ends_in_one_counter(echoserver: Echoserver, frame: bytes, counter: int) -> None:
    assert echoserver.serve(frame) == (-counter, b"")
    assert not echoserver.record.packets.any()


BASE = Echoserver()


@settings(max_examples=500)
@given(
    st.binary(max_size=200)
    | st.builds(
        lambda length, offset, value: (request(1)[:offset] + bytes([value]) + request(1)[offset + 1 :])[:length],
        st.integers(0, 142),
        st.integers(14, 140),
        st.integers(0, 255),
    )
)
def test_damaged_frames_are_not_echoed(data: bytes) -> None:
    out_bytes, _ = BASE.serve(data)
    assert (out_bytes > 0) == (data[14:] == request(1)[14:])
