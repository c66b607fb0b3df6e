"""Frames of a capture load: a template per captured packet, completed for one flow and one moment when it is sent.

A frame is Ethernet, IPv4 without options, the captured transport header, payload. A payload of at least 32 bytes begins
with our own (loadgen.payload) and goes on with filler; a shorter one stays as it was captured. There the packet is
told by its IPv4 identification, which is its place in its flow (modulo 2^16) in every packet: nothing on the way has to
keep it for reassembly, as no frame is a fragment (RFC 6864).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from harness.dataplane.jit import compiled
from loadgen.capture_packets import Packet
from loadgen.checksum import fold, ip_checksum_holds, sum_bytes
from loadgen.payload import (
    BAD_CHECKSUM,
    FILLER,
    FOREIGN,
    KIND,
    MAGIC,
    MAGIC_VALUE,
    MALFORMED,
    OURS,
    PAYLOAD_BYTES,
    RUN,
    VERSION,
    VERSION_VALUE,
    classify_headers,
    filler_bytes,
    make_filler_sums,
)
from loadgen.payload import FLOW as UDP_FLOW_AT
from loadgen.payload import INTENDED_NS as UDP_INTENDED_AT
from loadgen.payload import SEQ as UDP_SEQ_AT
from loadgen.wire import (
    DESTINATION_MAC,
    ETHERNET_BYTES,
    ETHERTYPE_IPV4,
    HEADER_BYTES,
    IP_BYTES,
    IP_CHECKSUM,
    IP_DESTINATION,
    IP_PROTOCOL,
    IP_SOURCE,
    IP_TOTAL_LENGTH,
    IP_VERSION_IHL,
    PROTOCOL_UDP,
    SOURCE_MAC,
    UDP_CHECKSUM,
    UDP_LENGTH,
    UDP_SOURCE,
    get16,
    get32,
    get64,
    put16,
    put32,
    put64,
    signed,
)

TEMPLATE_BYTES = 128
"""Up to the end of our payload behind the longest TCP header, in whole words; behind it every frame has filler."""
IP_IDENTIFICATION = 18
TRANSPORT = ETHERNET_BYTES + IP_BYTES
PROTOCOL_TCP = 6
TCP_SEQUENCE, TCP_ACKNOWLEDGEMENT, TCP_OFFSET, TCP_FLAGS, TCP_CHECKSUM = 38, 42, 46, 47, 50
TCP_BYTES_MIN = 20
_SYN, _ACK = 0x02, 0x10
# Fields of our payload from its beginning.
MAGIC_AT, KIND_AT, VERSION_AT, RUN_AT = (field - HEADER_BYTES for field in (MAGIC, KIND, VERSION, RUN))
FLOW_AT, SEQ_AT, INTENDED_AT = (field - HEADER_BYTES for field in (UDP_FLOW_AT, UDP_SEQ_AT, UDP_INTENDED_AT))


class Templates(NamedTuple):
    """Of each captured packet: words int64[K, TEMPLATE_BYTES / 8] (bytes in frame order), frame_bytes int64[K],
    payload_at int64[K] (where our payload begins, 0: there is no room for it), ip_sum, transport_sum int64[K] (of all
    that the checksums cover and that is the same in every frame of the template)."""

    words: Any
    frame_bytes: Any
    payload_at: Any
    ip_sum: Any
    transport_sum: Any


def make_templates(packets: Sequence[Packet], macs: tuple[bytes, bytes], run: int) -> Templates:
    """Templates of the packets; macs: (source, destination)."""
    source_mac, destination_mac = macs
    ethernet = destination_mac + source_mac + struct.pack("!H", ETHERTYPE_IPV4)
    payload = struct.pack("!IIBBH", 0, MAGIC_VALUE, 0, VERSION_VALUE, run).ljust(PAYLOAD_BYTES, b"\0")
    filler = filler_bytes().tobytes()
    rows = bytearray(b"".join(_template(packet, ethernet, payload, filler) for packet in packets))
    octets = np.frombuffer(rows, np.uint8).reshape(-1, TEMPLATE_BYTES)
    sizes = np.array([packet.frame_bytes for packet in packets], np.int64)
    protocols = np.array([packet.protocol for packet in packets], np.int64)
    filler_sums = make_filler_sums()
    behind = filler_sums[np.maximum(sizes, TEMPLATE_BYTES) - FILLER] - filler_sums[TEMPLATE_BYTES - FILLER]
    big_endian = octets.view(">u2")
    return Templates(
        words=octets.view(np.int64),
        frame_bytes=sizes,
        payload_at=np.array([TRANSPORT + len(p.header) if p.has_number else 0 for p in packets], np.int64),
        ip_sum=big_endian[:, IP_VERSION_IHL // 2 : TRANSPORT // 2].sum(axis=1, dtype=np.int64),
        transport_sum=big_endian[:, TRANSPORT // 2 :].sum(axis=1, dtype=np.int64)
        + behind
        + protocols
        + sizes
        - TRANSPORT,
    )


def _template(packet: Packet, ethernet: bytes, payload: bytes, filler: bytes) -> bytes:
    """TEMPLATE_BYTES with everything but addresses, source port, identification, checksums and numbers; 0 behind the
    end of a shorter frame."""
    total_bytes = packet.frame_bytes - ETHERNET_BYTES
    # Do not fragment, TTL 64.
    ip = struct.pack("!BBHHHBBHII", 0x45, packet.service, total_bytes, 0, 0x4000, 64, packet.protocol, 0, 0, 0)
    if packet.protocol == PROTOCOL_UDP:
        transport = struct.pack("!HHHH", 0, packet.destination[1], total_bytes - IP_BYTES, 0)
    else:
        checksum = TCP_CHECKSUM - TRANSPORT
        transport = b"\0\0" + packet.header[2:checksum] + b"\0\0" + packet.header[checksum + 2 :]
    frame = ethernet + ip + transport
    if packet.has_number:
        frame += payload
        frame += filler[len(frame) - FILLER :]
    else:
        frame += packet.payload  # what was not stored of it is 0
    return frame[: min(packet.frame_bytes, TEMPLATE_BYTES)].ljust(TEMPLATE_BYTES, b"\0")


@compiled
def checksum_at(protocol: int) -> int:
    """Where the transport checksum stands."""
    return UDP_CHECKSUM if protocol == PROTOCOL_UDP else TCP_CHECKSUM


@compiled
def write_packet(
    frame: Any, words: Any, k: int, addresses: tuple[int, int, int], labels: tuple[int, int, int, int], templates: Any
) -> None:
    """Write template `k` into a frame that has filler from FILLER on; `words` is the same memory as int64.

    addresses: (source, destination, source port); labels: (identification, flow, seq, intended_ns).
    """
    for i in range(templates.words.shape[1]):
        words[i] = templates.words[k, i]
    source, destination, port = addresses
    identification, flow, seq, intended_ns = labels
    put16(frame, IP_IDENTIFICATION, identification)
    put32(frame, IP_SOURCE, source)
    put32(frame, IP_DESTINATION, destination)
    put16(frame, UDP_SOURCE, port)
    ends = (source >> 16) + (source & 0xFFFF) + (destination >> 16) + (destination & 0xFFFF)
    total = signed(templates.transport_sum[k]) + ends + port
    payload_at = templates.payload_at[k]
    if payload_at != 0:
        put32(frame, payload_at + FLOW_AT, flow)
        put64(frame, payload_at + SEQ_AT, seq)
        put64(frame, payload_at + INTENDED_AT, intended_ns)
        total += sum_bytes(frame, payload_at + FLOW_AT, payload_at + PAYLOAD_BYTES)
    put16(frame, IP_CHECKSUM, ~fold(templates.ip_sum[k] + ends + identification) & 0xFFFF)
    checksum = ~fold(total) & 0xFFFF
    # As 0 says "none" in UDP; for TCP the other zero of one's complement is as good.
    put16(frame, checksum_at(signed(frame[IP_PROTOCOL])), 0xFFFF if checksum == 0 else checksum)


@compiled
def transport_checksum_holds(frame: Any, words: Any, end: int) -> bool:
    """Whether pseudo header, transport header and payload (up to `end`) sum to all ones; `words` as uint32 in the
    machine's (little-endian) order. A UDP checksum of 0, "none", does not."""
    protocol = signed(frame[IP_PROTOCOL])
    if protocol == PROTOCOL_UDP and get16(frame, UDP_CHECKSUM) == 0:
        return False
    length = end - TRANSPORT
    total = signed(frame[IP_SOURCE]) | signed(frame[IP_SOURCE + 1]) << 8
    whole = end // 4
    for i in range(IP_SOURCE // 4 + 1, whole):
        total += signed(words[i])
    for offset in range(whole * 4, end):
        total += signed(frame[offset]) << (8 * (offset & 1))
    total += protocol << 8
    total += length >> 8 | (length & 0xFF) << 8
    return fold(total) == 0xFFFF


@compiled
def classify(frame: Any, words: Any, length: int) -> int:
    """What a received frame is: OURS (a sound UDP or TCP packet), ARP, MALFORMED, FOREIGN or BAD_CHECKSUM."""
    kind = classify_headers(frame, length)
    if kind != OURS:
        return kind
    end = ETHERNET_BYTES + get16(frame, IP_TOTAL_LENGTH)
    if frame[IP_PROTOCOL] == PROTOCOL_UDP:
        if end < HEADER_BYTES or get16(frame, UDP_LENGTH) != end - TRANSPORT:
            return MALFORMED
    elif frame[IP_PROTOCOL] == PROTOCOL_TCP:
        if end < TRANSPORT + TCP_BYTES_MIN:
            return MALFORMED
        header_bytes = (signed(frame[TCP_OFFSET]) >> 4) * 4
        if header_bytes < TCP_BYTES_MIN or TRANSPORT + header_bytes > end:
            return MALFORMED
    else:
        return FOREIGN
    if not ip_checksum_holds(frame) or not transport_checksum_holds(frame, words, end):
        return BAD_CHECKSUM
    return OURS


@compiled
def numbered_payload(frame: Any, run: int) -> int:
    """Where our payload of this run begins in a frame that `classify` found sound; 0 for a packet without one."""
    payload_at = HEADER_BYTES
    if frame[IP_PROTOCOL] == PROTOCOL_TCP:
        payload_at = TRANSPORT + (signed(frame[TCP_OFFSET]) >> 4) * 4
    if ETHERNET_BYTES + get16(frame, IP_TOTAL_LENGTH) - payload_at < PAYLOAD_BYTES:
        return 0
    if get32(frame, payload_at + MAGIC_AT) != MAGIC_VALUE or frame[payload_at + VERSION_AT] != VERSION_VALUE:
        return 0
    return payload_at if get16(frame, payload_at + RUN_AT) == run else 0


@compiled
def replace_word(frame: Any, at: int, value: int, checksum: int) -> None:
    """Write a 16-bit word and update the checksum at `checksum` for it (RFC 1624 equation 3)."""
    before = get16(frame, at)
    put16(frame, at, value)
    updated = ~fold((~get16(frame, checksum) & 0xFFFF) + (~before & 0xFFFF) + value) & 0xFFFF
    put16(frame, checksum, 0xFFFF if updated == 0 else updated)


@compiled
def exchange_words(frame: Any, first: int, second: int) -> None:
    """Exchange two 16-bit words."""
    kept = get16(frame, first)
    put16(frame, first, get16(frame, second))
    put16(frame, second, kept)


@compiled
def turn_into_reply(frame: Any, payload_at: int, kind: int) -> None:
    """Make the echo of a sound packet in place: ends exchanged, in TCP sequence and acknowledgement too (no checksum
    notices either), a SYN acknowledged, `kind` written into our payload, where there is one."""
    for i in range(3):
        exchange_words(frame, DESTINATION_MAC + 2 * i, SOURCE_MAC + 2 * i)
    for i in range(2):
        exchange_words(frame, IP_SOURCE + 2 * i, IP_DESTINATION + 2 * i)
    exchange_words(frame, TRANSPORT, TRANSPORT + 2)
    checksum = checksum_at(signed(frame[IP_PROTOCOL]))
    if frame[IP_PROTOCOL] == PROTOCOL_TCP:
        for i in range(2):
            exchange_words(frame, TCP_SEQUENCE + 2 * i, TCP_ACKNOWLEDGEMENT + 2 * i)
        if frame[TCP_FLAGS] & (_SYN | _ACK) == _SYN:
            expected = (get32(frame, TCP_ACKNOWLEDGEMENT) + 1) & 0xFFFFFFFF
            replace_word(frame, TCP_ACKNOWLEDGEMENT, expected >> 16, checksum)
            replace_word(frame, TCP_ACKNOWLEDGEMENT + 2, expected & 0xFFFF, checksum)
            replace_word(frame, TCP_OFFSET, get16(frame, TCP_OFFSET) | _ACK, checksum)
    if payload_at != 0:
        replace_word(frame, payload_at + KIND_AT, kind << 8 | signed(frame[payload_at + VERSION_AT]), checksum)


@compiled
def read_numbers(frame: Any, payload_at: int) -> tuple[int, int, int]:
    """(flow, seq, intended_ns) of our payload."""
    seq, intended_ns = get64(frame, payload_at + SEQ_AT), get64(frame, payload_at + INTENDED_AT)
    return get32(frame, payload_at + FLOW_AT), seq, intended_ns
