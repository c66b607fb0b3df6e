from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.testbed.counters import (
    FabricCounters,
    LinkCounters,
    decode_links,
    decode_qdiscs,
    of_all_hosts,
    softnet_dropped_packets,
)

SOFTNET = """\
0001a2b3 00000000 00000011 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000
000003ff 0000001f 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000001 00000000
00000000 00000101 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000002 00000000
"""


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


def test_softnet_drops_are_hexadecimal_and_of_all_cpus() -> None:
    assert softnet_dropped_packets(SOFTNET) == 0x1F + 0x101
    assert softnet_dropped_packets("") == 0
    assert softnet_dropped_packets(SOFTNET + "\n") == 0x1F + 0x101


def test_counters_of_all_hosts_are_those_of_each_and_softnet_drops_their_sum() -> None:
    def read(node: str, dropped: int) -> FabricCounters:
        return FabricCounters(1, 2, (LinkCounters(node, "up0", 1, 2, 3, 4, 5, 6, 7, 8),), (), dropped)

    together = of_all_hosts(read("loadgen", 3), [read("source", 4), read("destination", 0)])
    assert [link.node for link in together.links] == ["loadgen", "source", "destination"]
    assert together.softnet_dropped_packets == 7
    assert together.started_ns == 1 < 2 < together.ended_ns, "it ends when the last has been read"
    alone = read("loadgen", 3)
    assert of_all_hosts(alone, []) is alone
