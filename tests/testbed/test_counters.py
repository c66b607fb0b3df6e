from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.testbed.counters import FabricCounters, decode_links, decode_qdiscs


def attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def test_reads_the_counters_of_a_link() -> None:
    values = struct.pack("=25Q", *range(1, 26))
    answer = struct.pack("=IHHII", 0, 94, 0, 0, 0) + struct.pack("=BBHII", 0, 0, 0, 4, 1) + attribute(1, values)
    (link,) = decode_links("fabric", [answer], {4: "source"})
    assert (link.node, link.link) == ("fabric", "source")
    assert (link.rx_packets, link.tx_packets, link.rx_bytes, link.tx_bytes) == (1, 2, 3, 4)
    assert (link.rx_error_packets, link.tx_error_packets) == (5, 6)
    assert (link.rx_dropped_packets, link.tx_dropped_packets) == (7, 8)
    assert decode_links("fabric", [answer], {5: "other"}) == []


def test_reads_the_counters_of_a_queueing_discipline() -> None:
    nested = attribute(1, struct.pack("=QI4x", 9000, 6)) + attribute(3, struct.pack("=5I", 2, 3000, 11, 0, 17))
    header = struct.pack("=IHHII", 0, 36, 0, 0, 0) + struct.pack("=B3xiIII", 0, 4, 0x10000, 0xFFFFFFFF, 0)
    answer = header + attribute(1, b"tbf\0") + attribute(7, nested)
    silent = header + attribute(1, b"noqueue\0") + attribute(7, nested)
    (qdisc,) = decode_qdiscs("source", [answer, silent], {4: "up0"})
    assert (qdisc.kind, qdisc.sent_packets, qdisc.sent_bytes) == ("tbf", 6, 9000)
    assert (qdisc.dropped_packets, qdisc.overlimits) == (11, 17)
    assert (qdisc.backlog_packets, qdisc.backlog_bytes) == (2, 3000)
    counters = FabricCounters(0, 1, (), (qdisc,))
    assert counters.qdisc("source", "up0") is qdisc
    with pytest.raises(KeyError):
        counters.qdisc("fabric", "up0")
    with pytest.raises(KeyError):
        counters.link("fabric", "br0")


@given(st.lists(st.binary(max_size=120), max_size=4))
def test_arbitrary_answers_never_fail(answers: list[bytes]) -> None:
    names = dict.fromkeys(range(256), "x")
    decode_links("n", answers, names)
    decode_qdiscs("n", answers, names)
