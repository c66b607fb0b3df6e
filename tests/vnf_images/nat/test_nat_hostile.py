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
from traffic import ECHO_MAC, EXTERIOR_MAC, INTERIOR_MAC, LOADGEN_MAC, arp_request, outbound, packet

from harness.dataplane.abi import TIMER_PORT
from harness.dataplane.table_check import check, dump
from harness.dataplane.table_snapshot import load_records
from vnf_images.nat import program

_statelets: dict[int, list[bytes]] = {}


def busy_statelets(make: Callable[..., Any], seed: int = 7) -> list[bytes]:
    """Statelets of a NAT that got neighbours, mappings and sessions; made once per seed."""
    if seed not in _statelets:
        nat = make({"port_last": 1030})
        nat.check_purity = False
        rng = random.Random(seed)
        for _ in range(250):
            frame, port = packet(rng, (1024, 1030))
            nat.receive(bytes(frame), port, 0)
        assert all(dump(nat.tables).values())
        _statelets[seed] = nat.statelets
    return _statelets[seed]


def busy_nat(make: Callable[..., Any]) -> Any:
    """A NAT with neighbours, mappings and sessions."""
    nat = make({"port_last": 1030})
    for statelet in busy_statelets(make):
        assert nat.install(statelet) == 0
    return nat


@settings(max_examples=150, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(0, 1600),
    st.lists(st.tuples(st.integers(0, 90), st.integers(0, 255)), max_size=3),
)
def test_damaged_frames_are_refused_or_forwarded_within_bounds(
    make_nat_instance: Callable[..., Any], seed: int, cut: int, damage: list[tuple[int, int]]
) -> None:
    nat = busy_nat(make_nat_instance)
    frame, port = packet(random.Random(seed), (1024, 1030))
    content = bytearray(bytes(frame))
    for at, octet in damage:
        content[at % len(content)] = octet
    content = content[: cut or None] if cut < len(content) else content
    tight = np.frombuffer(bytes(content), dtype=np.uint8).copy()  # no room behind the frame
    statelet = np.zeros(64, dtype=np.uint8)
    n = int(program.announce(tight, len(content), port, 0, nat.tables, statelet))
    if n >= 0:
        program.forward(tight, len(content), port, 0, nat.tables, statelet)
    outcome = nat.receive(bytes(content), port, 0)
    assert outcome.refusal is not None or outcome.port in (0, 1)
    assert check(nat.tables) == []


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=100), st.integers(-2, 120), st.sampled_from([-1, 0, 1, 2, 7, TIMER_PORT, 2**40]))
def test_random_frames_and_lengths_are_refused(
    make_nat_instance: Callable[..., Any], content: bytes, length: int, port: int
) -> None:
    nat = make_nat_instance({})
    frame = np.frombuffer(content, dtype=np.uint8).copy()
    statelet = np.zeros(64, dtype=np.uint8)
    n = int(program.announce(frame, length, port, 0, nat.tables, statelet))
    assert n == 0 if port == TIMER_PORT else n < 0
    assert int(program.forward(frame, length, port, 0, nat.tables, statelet)) < 0
    assert not any(dump(nat.tables).values())


TYPES = [1, 2, 0x10, 0x11, 0x12, 0x13, 0x14, 0x20, 0x22, 0x23, 0x30, 0x31, 0x32, 0x33, 0x34, 0x35, 0, 0x40, 0xFFFF]


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(TYPES), st.binary(max_size=40), st.sampled_from([0, 0, 0, 1, -1, 3000]))
def test_random_statelets_are_installed_whole_or_change_nothing(
    make_nat_instance: Callable[..., Any], number: int, payload: bytes, wrong: int
) -> None:
    nat = busy_nat(make_nat_instance)
    before = dump(nat.tables)
    statelet = number.to_bytes(2, "big") + ((len(payload) + wrong) % 65536).to_bytes(2, "big") + payload
    result = nat.install(statelet)
    assert result <= 0
    assert (result == 0) == (dump(nat.tables) != before)
    assert check(nat.tables) == []


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32 - 1), st.lists(st.tuples(st.integers(0, 30), st.integers(0, 255)), max_size=3))
def test_damaged_statelets_are_refused_or_keep_the_tables_sound(
    make_nat_instance: Callable[..., Any], seed: int, damage: list[tuple[int, int]]
) -> None:
    destination = make_nat_instance({"port_last": 1030})
    rng = random.Random(seed)
    for original in busy_statelets(make_nat_instance, seed % 5):
        statelet = bytearray(original)
        if rng.random() < 0.1:
            for at, octet in damage:
                statelet[at % len(statelet)] = octet
            del statelet[rng.randrange(len(statelet) + 1) :]
        before = dump(destination.tables)
        if destination.install(bytes(statelet)) != 0:
            assert dump(destination.tables) == before
    assert check(destination.tables) == []


def test_install_reads_no_further_than_its_buffer() -> None:
    for size in range(40):
        buffer = np.full(size, 0x11, dtype=np.uint8)
        buffer[:2] = [0x00, 0x31][: min(2, size)]
        assert int(program.install(buffer, 24, np.zeros(200, dtype=np.uint64))) < 0


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 5), st.binary(max_size=240), st.integers(0, 2**32 - 1))
def test_traffic_over_a_hostile_snapshot_never_breaks_the_tables(
    make_nat_instance: Callable[..., Any], tid: int, content: bytes, seed: int
) -> None:
    nat = busy_nat(make_nat_instance)
    words = np.frombuffer(content[: len(content) // 8 * 8], dtype=np.uint64).copy()
    load_records(nat.tables, tid, words, 3)
    keys = list(dump(nat.tables)["mapping"])
    if keys:  # entries that contradict each other
        hostile = np.array([keys[0][0], 1, 2**64 - 1, 17 << 16 | 1029, keys[0][0]], dtype=np.uint64)
        load_records(nat.tables, 2, hostile[:3], 1)
        load_records(nat.tables, 1, hostile[3:], 1)
    rng = random.Random(seed)
    statelet = np.zeros(64, dtype=np.uint8)
    for number in range(20):
        frame, port = packet(rng, (1024, 1030))
        buffer = np.frombuffer(bytes(frame).ljust(64, b"\0"), dtype=np.uint8).copy()
        now_ns = number * 10**12
        n = int(program.announce(buffer, len(frame), port, now_ns, nat.tables, statelet))
        if n >= 0 and (n == 0 or program.install(statelet, n, nat.tables) == 0):
            program.forward(buffer, len(frame), port, now_ns, nat.tables, statelet)
        for _ in range(64):
            n = int(program.announce(buffer, number, TIMER_PORT, now_ns, nat.tables, statelet))
            if n <= 0 or program.install(statelet, n, nat.tables) != 0:
                break
    assert check(nat.tables) == []


def _raw_ip(**fields: Any) -> bytes:
    return bytes(Ether(src=LOADGEN_MAC, dst=INTERIOR_MAC) / IP(src="10.1.1.1", dst="198.18.1.1", **fields))


UDP_BYTES = bytes(UDP(sport=5, dport=7, len=12, chksum=0) / b"four")
MALFORMED = {
    "not for us": (bytes(outbound("10.1.1.1", "198.18.1.1", UDP())).replace(b"\2\0\0\0\1\0", b"\2\0\0\0\1\7"), 0),
    "vlan": (bytes(Ether(src=LOADGEN_MAC, dst=INTERIOR_MAC) / Dot1Q(vlan=3) / IP() / UDP()), 0),
    "ipv6": (bytes(Ether(src=LOADGEN_MAC, dst=INTERIOR_MAC, type=0x86DD)) + bytes(40), 0),
    "version": (_raw_ip(version=5, proto=17) + UDP_BYTES, 0),
    "short header": (_raw_ip(ihl=4, proto=17) + UDP_BYTES, 0),
    "long total": (_raw_ip(len=2000, proto=17) + UDP_BYTES, 0),
    "short total": (_raw_ip(len=19, proto=17) + UDP_BYTES, 0),
    "options": (_raw_ip(options=b"\x83\x04\x04\x00", proto=17) + UDP_BYTES, 0),
    "checksum": (_raw_ip(chksum=0x1234, proto=17) + UDP_BYTES, 0),
    "udp long": (_raw_ip(proto=17) + bytes(UDP(len=100)), 0),
    "udp short": (_raw_ip(proto=17) + bytes(UDP(len=7)), 0),
    "udp cut": (_raw_ip(proto=17) + UDP_BYTES[:7], 0),
    "tcp cut": (_raw_ip(proto=6) + bytes(TCP())[:19], 0),
    "tcp offset": (_raw_ip(proto=6) + bytes(TCP(dataofs=6)), 0),
    "tcp small offset": (_raw_ip(proto=6) + bytes(TCP(dataofs=4)), 0),
    "tcp syn fin": (_raw_ip(proto=6) + bytes(TCP(flags="SF")), 0),
    "icmp cut": (_raw_ip(proto=1) + bytes(ICMP())[:7], 0),
    "arp kind": (bytes(Ether(src=LOADGEN_MAC, dst=INTERIOR_MAC) / ARP(op=3, pdst="10.1.0.1", psrc="10.1.1.1")), 0),
    "arp group sender": (bytes(arp_request(0, "10.1.1.1", "01:00:00:00:00:09")), 0),
    "arp cut": (bytes(arp_request(0, "10.1.1.1", LOADGEN_MAC))[:41], 0),
    "arp other": (bytes(Ether(src=ECHO_MAC, dst=EXTERIOR_MAC) / ARP(psrc="198.18.1.1", pdst="198.18.0.9")), 1),
    "empty": (b"", 0),
    "cut ethernet": (b"\2\0\0\0\1\0" * 2, 0),
}
EXPECTED = {
    "not for us": "not_for_us",
    "vlan": "not_ipv4",
    "ipv6": "not_ipv4",
    "version": "ip_malformed",
    "short header": "ip_malformed",
    "long total": "ip_malformed",
    "short total": "ip_malformed",
    "options": "ip_options",
    "checksum": "ip_checksum",
    "udp long": "transport_malformed",
    "udp short": "transport_malformed",
    "udp cut": "transport_malformed",
    "tcp cut": "transport_malformed",
    "tcp offset": "transport_malformed",
    "tcp small offset": "transport_malformed",
    "tcp syn fin": "transport_malformed",
    "icmp cut": "transport_malformed",
    "arp kind": "arp_malformed",
    "arp group sender": "arp_malformed",
    "arp cut": "arp_malformed",
    "arp other": "arp_other",
    "empty": "frame_malformed",
    "cut ethernet": "frame_malformed",
}


@pytest.mark.parametrize("name", MALFORMED)
def test_each_kind_of_bad_frame_is_refused_for_its_own_reason(make_nat_instance: Callable[..., Any], name: str) -> None:
    nat = make_nat_instance({})
    content, port = MALFORMED[name]
    assert nat.receive(content, port, 0).refusal == EXPECTED[name]
    assert nat.statelets == []
