from __future__ import annotations

import struct
from ipaddress import IPv4Address

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.l2 import ARP, Ether
from scapy.packet import Raw

from loadgen import payload as wire_format
from loadgen.checksum import fold, replace_word, udp_checksum_holds
from loadgen.payload import (
    classify,
    complete,
    header_sums,
    make_filler_sums,
    make_frames,
    turn_into_reply,
    write_headers,
)
from tests.loadgen.frames import ECHO_MAC, LOADGEN_MAC, RUN, checksums_hold, in_slot, payload, udp_frame

FILLER_SUMS = make_filler_sums()
POOL = make_frames(1)

addresses = st.integers(0, 2**32 - 1)
ports = st.integers(0, 65535)


def build(
    source: tuple[int, int],
    destination: tuple[int, int],
    labels: tuple[int, int, int],
    numbers: tuple[int, int, int],
    size: int,
):
    frame = POOL[0]
    macs = [np.frombuffer(bytearray(bytes.fromhex(mac.replace(":", ""))), np.uint8) for mac in (LOADGEN_MAC, ECHO_MAC)]
    write_headers(frame, macs[0], macs[1], (source[0], destination[0]), (source[1], destination[1]), labels)
    complete(frame, size, numbers, header_sums(frame), FILLER_SUMS)
    return frame[:size].tobytes()


@settings(max_examples=200)
@given(
    st.tuples(addresses, ports),
    st.tuples(addresses, ports),
    st.tuples(st.integers(0, 2), st.integers(0, 65535), st.integers(0, 2**32 - 1)),
    st.integers(0, 2**63 - 1),
    st.integers(0, 2**63 - 1),
    st.tuples(st.integers(0, 65535), st.integers(0, 1)),
    st.integers(74, 1514),
)
def test_built_frames_are_what_scapy_expects_them_to_be(
    source, destination, labels, seq, intended_ns, tag, size
) -> None:
    cell, flags = tag
    number = cell << wire_format.CELL_SHIFT | flags * wire_format.ANNOUNCES
    data = build(source, destination, labels, (number, seq, intended_ns), size)
    assert len(data) == size
    assert checksums_hold(data)
    frame = Ether(data)
    assert (frame.src, frame.dst) == (LOADGEN_MAC, ECHO_MAC)
    assert (IPv4Address(frame[IP].src), IPv4Address(frame[IP].dst)) == tuple(
        map(IPv4Address, (source[0], destination[0]))
    )
    assert (frame[IP].len, frame[IP].ttl, frame[IP].flags, frame[IP].frag) == (size - 14, 64, "DF", 0)
    assert (frame[UDP].sport, frame[UDP].dport, frame[UDP].len) == (source[1], destination[1], size - 34)
    expected = payload(labels[0], labels[2], seq, intended_ns, 32, run=labels[1], cell=cell, flags=flags)
    assert bytes(frame[UDP].payload)[:32] == expected
    slot, words = in_slot(data)
    assert classify(slot, words, size, labels[1]) == wire_format.OURS


@settings(max_examples=100)
@given(st.integers(32, 1472), st.integers(0, 2**32 - 1), ports, ports, st.integers(0, 65535), st.integers(0, 255))
def test_reply_has_both_ends_exchanged_kind_changed_and_no_cell(size, flow, source, destination, cell, flags) -> None:
    data = payload(0, flow, 77, 88, size, cell=cell, flags=flags)
    request = udp_frame(("198.18.0.1", source), ("198.18.1.3", destination), data)
    slot, _ = in_slot(request)
    turn_into_reply(slot)
    reply = slot[: len(request)].tobytes()
    before, after = Ether(request), Ether(reply)
    assert checksums_hold(reply)
    assert (after.src, after.dst) == (before.dst, before.src)
    assert (after[IP].src, after[IP].dst) == ("198.18.1.3", "198.18.0.1")
    assert (after[UDP].sport, after[UDP].dport) == (destination, source)
    assert bytes(after[UDP].payload) == payload(1, flow, 77, 88, size)
    assert np.all(slot[len(request) :] == 0xA5)


GOOD = udp_frame(("198.18.1.1", 7), ("10.1.1.1", 10000), payload(1, 5, 6, 7, 100))


def changed(offset: int, value: bytes) -> bytes:
    return GOOD[:offset] + value + GOOD[offset + len(value) :]


ETHERNET = Ether(src=ECHO_MAC, dst=LOADGEN_MAC)
CASES = {
    "ours": (GOOD, wire_format.OURS),
    "trailing bytes of the link": (GOOD + bytes(4), wire_format.OURS),
    "empty": (b"", wire_format.MALFORMED),
    "half an Ethernet header": (GOOD[:13], wire_format.MALFORMED),
    "IP header cut": (GOOD[:33], wire_format.MALFORMED),
    "shorter than IP says": (GOOD[:-1], wire_format.MALFORMED),
    "IP length below its header": (changed(16, b"\x00\x13"), wire_format.MALFORMED),
    "UDP length disagrees": (changed(38, b"\x00\x10"), wire_format.MALFORMED),
    "IP version 6 in an IPv4 frame": (changed(14, b"\x65"), wire_format.MALFORMED),
    "ARP": (bytes(ETHERNET / ARP(pdst="10.1.1.1")), wire_format.ARP),
    "IPv6": (changed(12, b"\x86\xdd"), wire_format.FOREIGN),
    "TCP": (bytes(ETHERNET / IP(dst="10.1.1.1") / TCP() / Raw(bytes(60))), wire_format.FOREIGN),
    "ICMP": (bytes(ETHERNET / IP(dst="10.1.1.1") / ICMP() / Raw(bytes(60))), wire_format.FOREIGN),
    "later fragment": (
        udp_frame(("1.1.1.1", 7), ("10.1.1.1", 9), payload(1, 5, 6, 7, 99), frag=8),
        wire_format.FOREIGN,
    ),
    "first fragment": (changed(20, b"\x20\x00"), wire_format.FOREIGN),
    "IP options": (
        bytes(ETHERNET / IP(dst="10.1.1.1", options=[b"\x01\x01\x01\x00"]) / UDP() / Raw(payload(1, 5, 6, 7, 100))),
        wire_format.FOREIGN,
    ),
    "other UDP": (udp_frame(("198.18.1.1", 7), ("10.1.1.1", 10000), bytes(100)), wire_format.FOREIGN),
    "short UDP": (udp_frame(("198.18.1.1", 7), ("10.1.1.1", 10000), payload(1, 5, 6, 7, 32)[:31]), wire_format.FOREIGN),
    "other run": (udp_frame(("1.1.1.1", 7), ("10.1.1.1", 9), payload(1, 5, 6, 7, 100, run=1)), wire_format.FOREIGN),
    "other version": (
        udp_frame(("1.1.1.1", 7), ("10.1.1.1", 9), payload(1, 5, 6, 7, 100, version=1)),
        wire_format.FOREIGN,
    ),
    "IP checksum wrong": (changed(24, b"\x00\x00"), wire_format.BAD_CHECKSUM),
    "UDP checksum left out": (changed(40, b"\x00\x00"), wire_format.BAD_CHECKSUM),
    "payload bit flipped": (changed(100, bytes([GOOD[100] ^ 1])), wire_format.BAD_CHECKSUM),
    "port bit flipped": (changed(36, bytes([GOOD[36] ^ 0x80])), wire_format.BAD_CHECKSUM),
}


@pytest.mark.parametrize(("frame", "kind"), CASES.values(), ids=CASES)
def test_classification(frame: bytes, kind: int) -> None:
    slot, words = in_slot(frame)
    assert classify(slot, words, len(frame), RUN) == kind


@settings(max_examples=300)
@given(st.integers(0, len(GOOD) - 1), st.integers(0, 7))
def test_any_flipped_bit_behind_the_ethernet_header_is_noticed(offset: int, bit: int) -> None:
    slot, words = in_slot(changed(offset, bytes([GOOD[offset] ^ (1 << bit)])))
    kind = classify(slot, words, len(GOOD), RUN)
    assert (kind == wire_format.OURS) == (offset < 12)


@settings(max_examples=500)
@given(
    st.binary(max_size=200) | st.builds(lambda n, tail: GOOD[:n] + tail, st.integers(0, 142), st.binary(max_size=60))
)
def test_any_bytes_are_classified_and_left_alone(data: bytes) -> None:
    slot, words = in_slot(data)
    before = slot.copy()
    assert classify(slot, words, len(data), RUN) in range(5)
    np.testing.assert_array_equal(slot, before)


@settings(max_examples=300)
@given(st.binary(min_size=32, max_size=1472))
def test_udp_checksum_of_any_payload_holds_with_any_length(data: bytes) -> None:
    frame = udp_frame(("198.18.1.1", 7), ("10.1.1.1", 10000), data)
    slot, words = in_slot(frame)
    assert udp_checksum_holds(slot, words, len(frame))
    slot[len(frame) - 1] ^= 0x40
    assert not udp_checksum_holds(slot, words, len(frame))


@settings(max_examples=300)
@given(st.lists(st.integers(0, 65535), min_size=2, max_size=8), st.integers(0, 65535))
def test_replaced_word_gives_the_checksum_of_the_new_words(values: list[int], value: int) -> None:
    def checksum(numbers: list[int]) -> int:
        return (~fold(sum(numbers)) & 0xFFFF) or 0xFFFF

    frame = np.frombuffer(bytearray(struct.pack("!H", checksum(values))), np.uint8)
    replace_word(frame, 0, values[0], value)
    after = int.from_bytes(frame.tobytes(), "big")
    # 0 and 0xFFFF are the same number in one's complement.
    assert after % 0xFFFF == checksum([value, *values[1:]]) % 0xFFFF
    assert after != 0


def test_absent_checksum_stays_absent() -> None:
    frame = np.zeros(2, np.uint8)
    replace_word(frame, 0, 1, 2)
    assert not frame.any()
