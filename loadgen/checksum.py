"""Internet checksums (RFC 1071, RFC 1624) of the frames that the load sends and receives."""

from __future__ import annotations

from typing import Any

from harness.dataplane.jit import compiled
from loadgen.wire import (
    IP_CHECKSUM,
    IP_SOURCE,
    IP_VERSION_IHL,
    PROTOCOL_UDP,
    UDP_CHECKSUM,
    UDP_LENGTH,
    get16,
    put16,
    signed,
)


@compiled
def fold(total: int) -> int:
    """One's complement sum of 16 bits from a sum of more."""
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


@compiled
def sum_bytes(frame: Any, first: int, end: int) -> int:
    """Sum of the big-endian 16-bit words in frame[first:end], an odd last byte padded with zero."""
    total = 0
    offset = first
    while offset + 1 < end:
        total += get16(frame, offset)
        offset += 2
    if offset < end:
        total += signed(frame[offset]) << 8
    return total


@compiled
def ip_checksum_holds(frame: Any) -> bool:
    """Whether the IPv4 header without options sums to all ones."""
    return fold(sum_bytes(frame, IP_VERSION_IHL, IP_VERSION_IHL + 20)) == 0xFFFF


@compiled
def udp_checksum_holds(frame: Any, words: Any, end: int) -> bool:
    """Whether pseudo header, UDP header and payload (up to `end`) sum to all ones; a checksum of 0 (none) does not.

    `words` is the frame as uint32[n] in the machine's byte order, four bytes at a time: the one's complement sum comes
    out the same in either order (RFC 1071 section 2 B) as long as all of it is summed alike.
    """
    if frame[UDP_CHECKSUM] == 0 and frame[UDP_CHECKSUM + 1] == 0:
        return False
    # Native (little-endian) order: the second byte of each 16-bit word is the high one.
    total = signed(frame[IP_SOURCE]) | signed(frame[IP_SOURCE + 1]) << 8
    whole = end // 4
    for i in range(IP_SOURCE // 4 + 1, whole):
        total += signed(words[i])
    for offset in range(whole * 4, end):
        total += signed(frame[offset]) << (8 * (offset & 1))
    total += PROTOCOL_UDP << 8
    total += signed(frame[UDP_LENGTH]) | signed(frame[UDP_LENGTH + 1]) << 8
    return fold(total) == 0xFFFF


@compiled
def replace_word(frame: Any, checksum_offset: int, before: int, after: int) -> None:
    """Update a UDP checksum for one 16-bit word that changed (RFC 1624 equation 3); 0, "none", stays 0."""
    checksum = get16(frame, checksum_offset)
    if checksum == 0:
        return
    checksum = ~fold((~checksum & 0xFFFF) + (~before & 0xFFFF) + after) & 0xFFFF
    put16(frame, checksum_offset, 0xFFFF if checksum == 0 else checksum)


@compiled
def put_checksums(frame: Any, ip_total: int, udp_total: int) -> None:
    """Write both checksums from the unfolded sums of everything they cover."""
    put16(frame, IP_CHECKSUM, ~fold(ip_total) & 0xFFFF)
    checksum = ~fold(udp_total) & 0xFFFF
    put16(frame, UDP_CHECKSUM, 0xFFFF if checksum == 0 else checksum)
