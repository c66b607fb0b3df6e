"""Truncated, damaged and random frames, statelets and snapshot records: refused, never a crash or a broken table."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.l2 import ARP, Dot1Q, Ether
from scapy.packet import Raw

from harness.dataplane.abi import TIMER_PORT
from harness.dataplane.table_check import check, dump
from harness.dataplane.table_snapshot import load_records
from tests.vnf_images.pg.tagged_traffic import (
    ECHO_MAC,
    EXTERIOR_MAC,
    HOSTS,
    INTERIOR_MAC,
    LOADGEN_MAC,
    arp,
    inbound,
    outbound,
    packet,
    tag,
)
from vnf_images.pg import program

CELLS = 6
_statelets: list[bytes] = []


def busy_gateway(make: Callable[..., Any]) -> Any:
    """A gateway with neighbours and subscribers that have moved."""
    if not _statelets:
        busy = make({"cells": CELLS})
        busy.check_purity = False
        rng = random.Random(7)
        for _ in range(250):
            frame, port = packet(rng, CELLS)
            busy.receive(bytes(frame), port, 0)
        _statelets.extend(busy.statelets)
    gateway = make({"cells": CELLS})
    for statelet in _statelets:
        assert gateway.install(statelet) == 0
    assert all(dump(gateway.tables).values())
    return gateway


@settings(max_examples=150, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(0, 600),
    st.lists(st.tuples(st.integers(0, 60), st.integers(0, 255)), max_size=3),
)
def test_damaged_frames_are_refused_or_forwarded_within_bounds(
    make_gateway: Callable[..., Any], seed: int, cut: int, damage: list[tuple[int, int]]
) -> None:
    gateway = busy_gateway(make_gateway)
    frame, port = packet(random.Random(seed), CELLS)
    content = bytearray(bytes(frame))
    for at, octet in damage:
        content[at % len(content)] = octet
    content = content[: cut or None] if cut < len(content) else content
    tight = np.frombuffer(bytes(content), dtype=np.uint8).copy()  # no room behind the frame
    statelet = np.zeros(64, dtype=np.uint8)
    n = int(program.announce(tight, len(content), port, 0, gateway.tables, statelet))
    if n >= 0:
        program.forward(tight, len(content), port, 0, gateway.tables, statelet)
    outcome = gateway.receive(bytes(content), port, 0)
    assert outcome.refusal is not None or outcome.port in (0, 1)
    assert check(gateway.tables) == []


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=100), st.integers(-2, 120), st.sampled_from([-1, 0, 1, 2, 7, TIMER_PORT, 2**40]))
def test_random_frames_and_lengths_are_refused(
    make_gateway: Callable[..., Any], content: bytes, length: int, port: int
) -> None:
    gateway = make_gateway({})
    frame = np.frombuffer(content, dtype=np.uint8).copy()
    statelet = np.zeros(64, dtype=np.uint8)
    n = int(program.announce(frame, length, port, 0, gateway.tables, statelet))
    assert n == 0 if port == TIMER_PORT else n < 0
    assert int(program.forward(frame, length, port, 0, gateway.tables, statelet)) < 0
    assert not any(dump(gateway.tables).values())


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from([0, 1, 2, 3, 0x10, 0x11, 0x12, 0xFFFF]),
    st.binary(max_size=60) | st.binary(min_size=50, max_size=50),
    st.sampled_from([0, 0, 0, 1, -1, 3000]),
)
def test_random_statelets_are_installed_whole_or_change_nothing(
    make_gateway: Callable[..., Any], number: int, payload: bytes, wrong: int
) -> None:
    gateway = busy_gateway(make_gateway)
    before = dump(gateway.tables)
    statelet = number.to_bytes(2, "big") + ((len(payload) + wrong) % 65536).to_bytes(2, "big") + payload
    result = gateway.install(statelet)
    assert result <= 0
    assert (result == 0) == (dump(gateway.tables) != before)
    assert check(gateway.tables) == []


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32 - 1), st.lists(st.tuples(st.integers(0, 17), st.integers(0, 255)), max_size=3))
def test_damaged_statelets_are_refused_or_keep_the_tables_sound(
    make_gateway: Callable[..., Any], seed: int, damage: list[tuple[int, int]]
) -> None:
    busy_gateway(make_gateway)
    destination = make_gateway({"cells": CELLS})
    rng = random.Random(seed)
    for original in _statelets:
        statelet = bytearray(original)
        if rng.random() < 0.1:
            for at, octet in damage:
                statelet[at % len(statelet)] = octet
            del statelet[rng.randrange(len(statelet) + 1) :]
        before = dump(destination.tables)
        if destination.install(bytes(statelet)) != 0:
            assert dump(destination.tables) == before
    assert check(destination.tables) == []


def handover(**fields: int) -> bytes:
    """The second handover of a subscriber: from cell 2 to cell 4."""
    content = {"kind": 0x11, "ip": 0x0A010101, "port": 5000, "cell": 4, "previous": 2, "handovers": 2} | fields
    layout = {"kind": 2, "ip": 4, "port": 2, "cell": 2, "previous": 2, "handovers": 4}
    parts = [content[name].to_bytes(size, "big") for name, size in layout.items()]
    return parts[0] + (50).to_bytes(2, "big") + b"".join(parts[1:]) + bytes(36)


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({}, 0),
        ({"kind": 0x12}, -2),
        ({"ip": 0x0A020101}, -1),
        ({"ip": 0x0A010001}, -1),
        ({"cell": CELLS}, -1),
        ({"cell": 0xFFFF}, -1),
        ({"cell": 2}, -1),
        ({"port": 5001}, -3),
        ({"previous": 1}, -6),
        ({"previous": 0xFFFF}, -6),
        ({"handovers": 1}, -6),
        ({"handovers": 3}, -6),
        ({"kind": 0x10}, -1),
        ({"kind": 0x10, "previous": 0xFFFF}, -1),
        ({"kind": 0x10, "previous": 0xFFFF, "handovers": 0}, -4),
    ],
)
def test_a_statelet_that_does_not_follow_is_refused(
    make_gateway: Callable[..., Any], fields: dict[str, int], error: int
) -> None:
    """A lost, repeated, reordered or forged one never passes for the next."""
    gateway = make_gateway({"cells": CELLS})
    assert gateway.install(handover(kind=0x10, cell=1, previous=0xFFFF, handovers=0)) == 0
    assert gateway.install(handover(cell=2, previous=1, handovers=1)) == 0
    before = dump(gateway.tables)
    assert gateway.install(handover(**fields)) == error
    assert (dump(gateway.tables) == before) == (error != 0)
    if error == 0:
        assert gateway.install(handover(**fields)) < 0


def test_statelets_beyond_the_tables_room_are_refused(make_gateway: Callable[..., Any]) -> None:
    gateway = make_gateway({"cells": CELLS, "max_subscribers": 1})
    attached = [handover(kind=0x10, previous=0xFFFF, handovers=0, port=port) for port in (1, 2)]
    assert [gateway.install(statelet) for statelet in attached] == [0, -5]
    assert len(dump(gateway.tables)["subscriber"]) == 1


def test_install_reads_no_further_than_its_buffer() -> None:
    for size in range(40):
        buffer = np.full(size, 0x11, dtype=np.uint8)
        buffer[:2] = [0x00, 0x11][: min(2, size)]
        assert int(program.install(buffer, 54, np.zeros(200, dtype=np.uint64))) < 0


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 1), st.binary(max_size=240), st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1))
def test_traffic_over_a_hostile_snapshot_never_breaks_the_tables(
    make_gateway: Callable[..., Any], tid: int, content: bytes, seed: int, place: int
) -> None:
    gateway = busy_gateway(make_gateway)
    words = np.frombuffer(content[: len(content) // 8 * 8], dtype=np.uint64).copy()
    load_records(gateway.tables, tid, words, 3)
    rng = random.Random(seed)
    known = {record[0] for record in dump(gateway.tables)["subscriber"]}
    for sport in (5000, 5001, 5002, 5003):  # entries no statelet could have made
        key = 0x0A010101 << 16 | sport
        if key not in known:
            hostile = np.array([key, place, 2**64 - 1, *[rng.getrandbits(64)] * 5], dtype=np.uint64)
            assert load_records(gateway.tables, 0, hostile, 1) == 0
    gateway.check_purity = False
    for _ in range(20):
        frame, port = packet(rng, CELLS)
        outcome = gateway.receive(bytes(frame), port, 0)
        if port == 1 and outcome.port == 0 and Ether(outcome.frame).haslayer(UDP):
            assert int.from_bytes(outcome.frame[42:44], "big") < CELLS
    assert check(gateway.tables) == []


def test_an_impossible_cell_of_a_hostile_snapshot_is_not_sent_on(make_gateway: Callable[..., Any]) -> None:
    gateway = make_gateway({"cells": CELLS})
    hostile = np.array([0x0A010101 << 16 | 5000, CELLS, 0, 0, 0, 0, 0, 0], dtype=np.uint64)
    assert load_records(gateway.tables, 0, hostile, 1) == 0
    assert gateway.receive(bytes(inbound(HOSTS[0], 5000, tag(0))), 1, 0).refusal == "inconsistent"
    assert gateway.receive(bytes(outbound(HOSTS[0], 5000, tag(2, 1))), 0, 0).refusal == "arp_unresolved"
    gateway.receive(bytes(arp(0, 1, HOSTS[0], LOADGEN_MAC)), 0, 0)
    assert gateway.receive(bytes(inbound(HOSTS[0], 5000, tag(0))), 1, 0).frame[42:44] == b"\0\2"


def _raw_ip(payload: bytes, **fields: Any) -> bytes:
    ip = IP(src="10.1.1.1", dst="198.18.1.1", **{"proto": 17, **fields})
    return bytes(Ether(src=LOADGEN_MAC, dst=INTERIOR_MAC) / ip / Raw(payload))


TAGGED = bytes(UDP(sport=5, dport=7, len=12, chksum=0) / tag(1, 1))
REFUSED = {
    "not_for_us": (bytes(outbound("10.1.1.1", 5, tag(1, 1))).replace(b"\2\0\0\0\1\0", b"\2\0\0\0\1\7"), 0),
    "not_ipv4 vlan": (bytes(Ether(src=LOADGEN_MAC, dst=INTERIOR_MAC) / Dot1Q(vlan=3) / IP() / UDP()), 0),
    "not_ipv4 ipv6": (bytes(Ether(src=LOADGEN_MAC, dst=INTERIOR_MAC, type=0x86DD)) + bytes(40), 0),
    "ip_malformed version": (_raw_ip(TAGGED, version=5), 0),
    "ip_malformed short header": (_raw_ip(TAGGED, ihl=4), 0),
    "ip_malformed long": (_raw_ip(TAGGED, len=2000), 0),
    "ip_options": (_raw_ip(TAGGED, options=b"\x83\x04\x04\x00"), 0),
    "ip_checksum": (_raw_ip(TAGGED, chksum=0x1234), 0),
    "fragment": (_raw_ip(TAGGED, flags="MF"), 0),
    "not_udp tcp": (_raw_ip(bytes(TCP()), proto=6), 0),
    "not_udp icmp": (_raw_ip(bytes(ICMP()), proto=1), 0),
    "transport_malformed long": (_raw_ip(bytes(UDP(len=100)) + tag(1, 1)), 0),
    "transport_malformed short": (_raw_ip(bytes(UDP(len=7)) + tag(1, 1)), 0),
    "transport_malformed cut": (_raw_ip(TAGGED[:7]), 0),
    "untagged none": (_raw_ip(bytes(UDP(len=8))), 0),
    "untagged cut": (_raw_ip(bytes(UDP(sport=5, dport=7, len=11)) + tag(1, 1)[:3], len=31), 0),
    "untagged padding": (_raw_ip(bytes(UDP(sport=5, dport=7, len=11)) + tag(1, 1), len=31), 0),
    "untagged inbound": (bytes(inbound("10.1.1.1", 5, b"abc")), 1),
    "tag_malformed flags": (bytes(outbound("10.1.1.1", 5, tag(1, 3))), 0),
    "tag_malformed zero": (bytes(outbound("10.1.1.1", 5, tag(1, 1, 1))), 0),
    "unknown_cell": (bytes(outbound("10.1.1.1", 5, tag(8, 1))), 0),
    "unknown_subscriber out": (bytes(outbound("10.1.1.1", 5, tag(1))), 0),
    "unknown_subscriber in": (bytes(inbound("10.1.1.1", 5, tag(1))), 1),
    "ttl_expired": (bytes(outbound("10.1.1.1", 5, tag(1, 1), ttl=1)), 0),
    "bad_source": (bytes(outbound("10.2.1.1", 5, tag(1, 1))), 0),
    "bad_source inside": (bytes(inbound("10.1.1.1", 5, tag(1), server="10.1.1.2")), 1),
    "no_route": (bytes(outbound("10.1.1.1", 5, tag(1, 1), server="8.8.8.8")), 0),
    "no_route in": (bytes(inbound("10.2.1.1", 5, tag(1))), 1),
    "addressed_to_gateway": (bytes(outbound("10.1.1.1", 5, tag(1, 1), server="198.18.0.1")), 0),
    "addressed_to_gateway in": (bytes(inbound("198.18.0.1", 5, tag(1))), 1),
    "arp_malformed": (bytes(Ether(src=LOADGEN_MAC, dst=INTERIOR_MAC) / ARP(op=3, pdst="10.1.0.1", psrc="10.1.1.1")), 0),
    "arp_malformed cut": (bytes(arp(0, 1, "10.1.1.1", LOADGEN_MAC))[:41], 0),
    "arp_other": (bytes(Ether(src=ECHO_MAC, dst=EXTERIOR_MAC) / ARP(psrc="198.18.1.1", pdst="198.18.0.9")), 1),
    "frame_malformed empty": (b"", 0),
    "frame_malformed cut": (b"\2\0\0\0\1\0" * 2, 0),
}


@pytest.mark.parametrize("name", REFUSED)
def test_each_kind_of_bad_frame_is_refused_for_its_own_reason(make_gateway: Callable[..., Any], name: str) -> None:
    gateway = make_gateway({})
    content, port = REFUSED[name]
    assert gateway.receive(content, port, 0).refusal == name.partition(" ")[0]
    assert gateway.statelets == []
