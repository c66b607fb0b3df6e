"""The load's own frames: headers, a payload that identifies one packet of one run, and filler.

Payload, big endian: cell tag (cell u16, flags u8, zero u8), magic u32, kind u8, version u8, run u16, flow u32, seq u64
(global index within its kind), intended_ns u64 (CLOCK_MONOTONIC); 32 bytes, then filler to the frame size.

The cell tag is the sender's cell on the way from a subscriber (flag bit 0: this packet announces a handover to it) and
written by the gateway on the way to one. Without subscribers it is 0.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from harness.dataplane.jit import compiled
from loadgen.checksum import ip_checksum_holds, put_checksums, replace_word, sum_bytes, udp_checksum_holds
from loadgen.wire import (
    DESTINATION_MAC,
    ETHERNET_BYTES,
    ETHERTYPE,
    ETHERTYPE_ARP,
    ETHERTYPE_IPV4,
    FRAME_BYTES_MAX,
    HEADER_BYTES,
    IP_BYTES,
    IP_CHECKSUM,
    IP_DESTINATION,
    IP_FRAGMENT,
    IP_PROTOCOL,
    IP_SOURCE,
    IP_TOTAL_LENGTH,
    IP_TTL,
    IP_VERSION_IHL,
    PROTOCOL_UDP,
    SLOT_BYTES,
    SOURCE_MAC,
    UDP_BYTES,
    UDP_CHECKSUM,
    UDP_DESTINATION,
    UDP_LENGTH,
    UDP_SOURCE,
    get16,
    get32,
    put16,
    put32,
    put64,
    swap,
)

TAG, CELL, FLAGS, MAGIC, KIND, VERSION, RUN, FLOW, SEQ, INTENDED_NS = 42, 42, 44, 46, 50, 51, 52, 54, 58, 66
PAYLOAD_BYTES = 32
FILLER = HEADER_BYTES + PAYLOAD_BYTES
FRAME_BYTES_MIN = FILLER
TEMPLATE_BYTES = 64
"""Constant bytes at the front of a flow's frames (up to SEQ), rounded up to whole 8-byte words."""

MAGIC_VALUE = 0x534C494D
VERSION_VALUE = 2
KIND_REQUEST, KIND_REPLY, KIND_SERVER = 0, 1, 2

CELL_SHIFT = 16
ANNOUNCES = 0x0100
"""A cell tag as a number: cell << CELL_SHIFT, with ANNOUNCES for flag bit 0."""

OURS, ARP, MALFORMED, FOREIGN, BAD_CHECKSUM = 0, 1, 2, 3, 4


@compiled
def classify_headers(frame: Any, length: int) -> int:
    """What a received frame is down to its IPv4 header: OURS (a whole packet without options), ARP, MALFORMED, FOREIGN.

    Options and fragments are legal, but nobody here sends them.
    """
    if length < ETHERNET_BYTES:
        return MALFORMED
    ethertype = get16(frame, ETHERTYPE)
    if ethertype == ETHERTYPE_ARP:
        return ARP
    if ethertype != ETHERTYPE_IPV4:
        return FOREIGN
    if length < HEADER_BYTES or frame[IP_VERSION_IHL] >> 4 != 4 or frame[IP_VERSION_IHL] & 15 < 5:
        return MALFORMED
    total_length = get16(frame, IP_TOTAL_LENGTH)
    if total_length < IP_BYTES or total_length > length - ETHERNET_BYTES:
        return MALFORMED
    if frame[IP_VERSION_IHL] != 0x45 or get16(frame, IP_FRAGMENT) & 0x3FFF:
        return FOREIGN
    return OURS


@compiled
def classify(frame: Any, words: Any, length: int, run: int) -> int:
    """What a received frame is: OURS (all payload fields may be read), ARP, MALFORMED, FOREIGN or BAD_CHECKSUM.

    `words` is the same memory as uint32. FOREIGN is well formed but not of this run; BAD_CHECKSUM carries our magic.
    """
    kind = classify_headers(frame, length)
    if kind != OURS:
        return kind
    if frame[IP_PROTOCOL] != PROTOCOL_UDP:
        return FOREIGN
    total_length = get16(frame, IP_TOTAL_LENGTH)
    if total_length < IP_BYTES + UDP_BYTES or get16(frame, UDP_LENGTH) != total_length - IP_BYTES:
        return MALFORMED
    if total_length + ETHERNET_BYTES < FRAME_BYTES_MIN or get32(frame, MAGIC) != MAGIC_VALUE:
        return FOREIGN
    if not ip_checksum_holds(frame) or not udp_checksum_holds(frame, words, ETHERNET_BYTES + total_length):
        return BAD_CHECKSUM
    if frame[VERSION] != VERSION_VALUE or get16(frame, RUN) != run:
        return FOREIGN
    return OURS


@compiled
def write_headers(
    frame: Any,
    source_mac: Any,
    destination_mac: Any,
    addresses: tuple[int, int],
    ports: tuple[int, int],
    labels: tuple[int, int, int],
) -> None:
    """Write everything up to SEQ but lengths, checksums and the cell tag, which are left 0.

    addresses and ports: (source, destination); labels: (kind, run, flow). Do not fragment, identification 0 (RFC 6864).
    """
    for i in range(6):
        frame[DESTINATION_MAC + i] = destination_mac[i]
        frame[SOURCE_MAC + i] = source_mac[i]
    put16(frame, ETHERTYPE, ETHERTYPE_IPV4)
    put16(frame, IP_VERSION_IHL, 0x4500)
    put32(frame, IP_TOTAL_LENGTH, 0)
    put16(frame, IP_FRAGMENT, 0x4000)
    frame[IP_TTL] = 64
    frame[IP_PROTOCOL] = PROTOCOL_UDP
    put16(frame, IP_CHECKSUM, 0)
    put32(frame, IP_SOURCE, addresses[0])
    put32(frame, IP_DESTINATION, addresses[1])
    put16(frame, UDP_SOURCE, ports[0])
    put16(frame, UDP_DESTINATION, ports[1])
    put16(frame, UDP_LENGTH, 0)
    put16(frame, UDP_CHECKSUM, 0)
    put32(frame, TAG, 0)
    put32(frame, MAGIC, MAGIC_VALUE)
    frame[KIND] = labels[0]
    frame[VERSION] = VERSION_VALUE
    put16(frame, RUN, labels[1])
    put32(frame, FLOW, labels[2])


@compiled
def header_sums(frame: Any) -> tuple[int, int]:
    """Unfolded sums that the IP and the UDP checksum of every frame with these headers have in common."""
    ip_sum = sum_bytes(frame, IP_VERSION_IHL, IP_VERSION_IHL + IP_BYTES)
    udp_sum = sum_bytes(frame, IP_SOURCE, SEQ) + PROTOCOL_UDP
    return ip_sum, udp_sum


@compiled
def complete(
    frame: Any, frame_bytes: int, labels: tuple[int, int, int], sums: tuple[int, int], filler_sums: Any
) -> None:
    """Write lengths, cell tag, seq, intended time and checksums into a frame that has headers and filler.

    labels: (tag, seq, intended_ns); sums: `header_sums` of the headers; filler_sums: `make_filler_sums`.
    """
    udp_length = frame_bytes - ETHERNET_BYTES - IP_BYTES
    put16(frame, IP_TOTAL_LENGTH, frame_bytes - ETHERNET_BYTES)
    put16(frame, UDP_LENGTH, udp_length)
    put32(frame, TAG, labels[0])
    put64(frame, SEQ, labels[1])
    put64(frame, INTENDED_NS, labels[2])
    # The UDP length counts twice: in the pseudo header and in the header.
    udp_total = sums[1] + 2 * udp_length + filler_sums[frame_bytes - FILLER] + sum_bytes(frame, SEQ, FILLER)
    udp_total += (labels[0] >> 16) + (labels[0] & 0xFFFF)
    put_checksums(frame, sums[0] + frame_bytes - ETHERNET_BYTES, udp_total)


@compiled
def turn_into_reply(frame: Any) -> None:
    """Make an echo reply of a request in place: both ends exchanged (which no checksum notices), kind changed.

    The cell tag is cleared: what the subscriber finds in it must have been written by the gateway.
    """
    swap(frame, DESTINATION_MAC, SOURCE_MAC, 6)
    swap(frame, IP_SOURCE, IP_DESTINATION, 4)
    swap(frame, UDP_SOURCE, UDP_DESTINATION, 2)
    before = get16(frame, KIND)
    frame[KIND] = KIND_REPLY
    replace_word(frame, UDP_CHECKSUM, before, get16(frame, KIND))
    if get32(frame, TAG) != 0:
        replace_word(frame, UDP_CHECKSUM, get16(frame, CELL), 0)
        replace_word(frame, UDP_CHECKSUM, get16(frame, FLAGS), 0)
        put32(frame, TAG, 0)


def filler_bytes() -> npt.NDArray[np.uint8]:
    """The filler of the longest frame: a fixed pattern without repetition of short words."""
    return np.random.default_rng(0x534C494D).integers(0, 256, FRAME_BYTES_MAX - FILLER, np.uint8)


def make_filler_sums() -> npt.NDArray[np.int64]:
    """int64[k]: checksum sum of the first k filler bytes; filler begins at an even offset of the UDP datagram."""
    filler = filler_bytes().astype(np.int64)
    even = np.where(np.arange(filler.size) % 2 == 0, filler << 8, filler)
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(even)])


def make_frames(count: int) -> npt.NDArray[np.uint8]:
    """Pool of `count` frames with the filler in place: uint8[count, SLOT_BYTES]."""
    frames = np.zeros((count, SLOT_BYTES), np.uint8)
    frames[:, FILLER:FRAME_BYTES_MAX] = filler_bytes()
    return frames
