"""Wire formats against scapy."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.l2 import ARP, Ether
from scapy.utils import checksum as scapy_checksum

from harness.dataplane.wire import arp, checksum, ethernet, icmp, ipv4, octets, tcp, udp


def array(frame: Any, size: int = 0) -> octets.Octets:
    return np.frombuffer(bytes(frame).ljust(size, b"\0"), dtype=np.uint8).copy()


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**63 - 1))
def test_integers_are_big_endian_and_come_back(number: int) -> None:
    data = np.zeros(10, dtype=np.uint8)
    for put, get, size in (
        (octets.put_u8, octets.get_u8, 1),
        (octets.put_u16, octets.get_u16, 2),
        (octets.put_u32, octets.get_u32, 4),
        (octets.put_u48, octets.get_u48, 6),
        (octets.put_u64, octets.get_u64, 8),
    ):
        data[:] = 0xEE
        put(data, 1, number)
        assert bytes(data) == b"\xee" + (number % 2 ** (8 * size)).to_bytes(size, "big") + b"\xee" * (9 - size)
        assert get(data, 1) == number % 2 ** (8 * size)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=90))
def test_checksum_is_scapys(content: bytes) -> None:
    assert checksum.checksum(array(content), 0, len(content)) == scapy_checksum(content)


@settings(max_examples=200, deadline=None)
@given(st.binary(min_size=8, max_size=60), st.integers(0, 29), st.integers(0, 2**32 - 1))
def test_incremental_update_equals_the_checksum_computed_anew(content: bytes, word: int, change: int) -> None:
    """RFC 1624, which repairs RFC 1141 where the result is zero."""
    data = bytearray(content[: len(content) // 4 * 4])
    at = word * 4 % len(data)
    before = int.from_bytes(data[at : at + 4], "big")
    stored = scapy_checksum(bytes(data))
    data[at : at + 4] = change.to_bytes(4, "big")
    result = checksum.updated(stored, checksum.change_u32(before, change))
    expected = scapy_checksum(bytes(data))
    assert result == expected or (not any(data) and {int(result), expected} == {0, 0xFFFF})


def test_the_example_of_rfc_1624() -> None:
    assert checksum.updated(0xDD2F, checksum.change_u16(0x5555, 0x3285)) == 0x0000


@pytest.mark.parametrize("size", [0, 1, 2, 33, 470])
def test_a_written_udp_frame_is_what_scapy_builds(size: int) -> None:
    payload = random.Random(size).randbytes(size)
    frame = np.zeros(42 + size, dtype=np.uint8)
    frame[42:] = array(payload)
    ethernet.write(frame, 0x020000000100, 0x020000000001, ethernet.ETHERTYPE_IPV4)
    ipv4.write(frame, 28 + size, ipv4.PROTOCOL_UDP, 0x0A010101, 0xC6120101, 64, 777)
    udp.write(frame, 5000, 7, 8 + size)
    udp.write_checksum(frame)
    expected = (
        Ether(dst="02:00:00:00:01:00", src="02:00:00:00:00:01")
        / IP(src="10.1.1.1", dst="198.18.1.1", ttl=64, id=777, flags="DF")
        / UDP(sport=5000, dport=7)
        / payload
    )
    assert bytes(frame) == bytes(expected)
    assert ipv4.check(frame, frame.size) == ipv4.SOUND
    assert udp.check(frame)
    assert checksum.transport_checksum(frame, 14, 34, frame.size) == 0


@pytest.mark.parametrize("operation", [arp.REQUEST, arp.REPLY])
def test_arp_frame_is_what_scapy_builds(operation: int) -> None:
    frame = np.full(64, 0xEE, dtype=np.uint8)
    length = arp.write(frame, operation, 0x020000000100, 0x0A010001, 0x020000000001, 0x0A010101)
    known = operation == arp.REPLY
    expected = Ether(dst="02:00:00:00:00:01" if known else "ff:ff:ff:ff:ff:ff", src="02:00:00:00:01:00") / ARP(
        op=operation,
        hwsrc="02:00:00:00:01:00",
        psrc="10.1.0.1",
        hwdst="02:00:00:00:00:01" if known else "00:00:00:00:00:00",
        pdst="10.1.1.1",
    )
    assert bytes(frame[:length]) == bytes(expected).ljust(60, b"\0")
    assert set(frame[length:].tolist()) == {0xEE}
    assert arp.check(frame, length)
    assert (arp.sender_ip(frame), arp.target_ip(frame)) == (0x0A010001, 0x0A010101)


BASE = Ether(dst="02:00:00:00:01:00", src="02:00:00:00:00:01")


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, ipv4.SOUND),
        ({"version": 6}, ipv4.BAD_LENGTH),
        ({"ihl": 3}, ipv4.BAD_LENGTH),
        ({"len": 19}, ipv4.BAD_LENGTH),
        ({"len": 1000}, ipv4.BAD_LENGTH),
        ({"chksum": 1}, ipv4.BAD_CHECKSUM),
        ({"options": b"\x01\x01\x01\x00"}, ipv4.HAS_OPTIONS),
        ({"flags": "MF"}, ipv4.IS_FRAGMENT),
        ({"frag": 1}, ipv4.IS_FRAGMENT),
        ({"flags": "DF"}, ipv4.SOUND),
    ],
)
def test_ipv4_header_is_judged(fields: dict[str, Any], expected: int) -> None:
    frame = array(BASE / IP(src="10.1.1.1", dst="198.18.1.1", **fields) / UDP() / b"payload")
    assert ipv4.check(frame, frame.size) == expected
    assert ipv4.check(frame, frame.size + 1) == ipv4.BAD_LENGTH
    assert ipv4.check(frame[:33].copy(), 33) == ipv4.BAD_LENGTH


def test_fields_are_where_scapy_puts_them() -> None:
    frame = array(BASE / IP(src="1.2.3.4", dst="5.6.7.8", ttl=9) / TCP(sport=10, dport=11, flags="SA") / b"abc")
    assert (ipv4.source(frame), ipv4.destination(frame), ipv4.ttl(frame)) == (0x01020304, 0x05060708, 9)
    assert (tcp.source_port(frame), tcp.destination_port(frame), tcp.flags(frame)) == (10, 11, tcp.SYN | tcp.ACK)
    assert tcp.payload_bytes(frame) == 3
    frame = array(BASE / IP(src="1.2.3.4", dst="5.6.7.8") / ICMP(type=8, id=77))
    assert icmp.is_echo(frame, icmp.ECHO_REQUEST)
    assert not icmp.is_echo(frame, icmp.ECHO_REPLY)
    assert icmp.identifier(frame) == 77
    assert ethernet.source(frame) == 0x020000000001
    assert ethernet.destination(frame) == 0x020000000100


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=80), st.integers(-1, 90))
def test_checks_of_arbitrary_bytes_stay_within_the_frame(content: bytes, length: int) -> None:
    frame = array(content)
    if ipv4.check(frame, length) == ipv4.SOUND:
        assert 34 <= length <= len(content)
        for check in (udp.check, tcp.check, icmp.check):
            check(frame)
    if arp.check(frame, length):
        assert 42 <= length <= len(content)
