"""The Internet checksum (RFC 1071) and its incremental update (RFC 1624, equation 3)."""

from __future__ import annotations

import numpy as np
from numba import types

from harness.dataplane.jit import compiled_as
from harness.dataplane.wire.octets import Number, Octets, get_u8, get_u16, get_u32, put_u16


@compiled_as(types.int64(types.int64))
def fold(total: Number) -> Number:
    """Fold the carries of a sum of less than 2**32 words of 16 bits into 16 bits."""
    total = (total & 0xFFFFFFFF) + (total >> 32)
    total = (total & 0xFFFF) + (total >> 16)
    total = (total & 0xFFFF) + (total >> 16)
    return (total & 0xFFFF) + (total >> 16)


@compiled_as(types.int64(types.uint8[::1], types.int64, types.int64))
def ones_sum(data: Octets, start: Number, stop: Number) -> Number:
    """Unfolded sum of the 16-bit words in data[start:stop]; an odd last byte is padded with zero."""
    total = np.int64(0)
    at = start
    while at + 1 < stop:
        total += get_u16(data, at)
        at += 2
    if at < stop:
        total += get_u8(data, at) << 8
    return total


@compiled_as(types.int64(types.uint8[::1], types.int64, types.int64))
def checksum(data: Octets, start: Number, stop: Number) -> Number:
    """Checksum over data[start:stop]; 0 over data that contains its own correct checksum."""
    return ~fold(ones_sum(data, start, stop)) & 0xFFFF


@compiled_as(types.int64(types.int64, types.int64, types.int64, types.int64))
def pseudo_header_sum(source: Number, destination: Number, protocol: Number, length: Number) -> Number:
    """Unfolded sum of the pseudo header of UDP (RFC 768) and TCP (RFC 9293, section 3.1)."""
    return (source >> 16) + (source & 0xFFFF) + (destination >> 16) + (destination & 0xFFFF) + protocol + length


@compiled_as(types.int64(types.int64, types.int64))
def change_u16(before: Number, after: Number) -> Number:
    """~m + m' of RFC 1624: what a changed 16-bit word adds to the complemented checksum."""
    return (~before & 0xFFFF) + after


@compiled_as(types.int64(types.int64, types.int64))
def change_u32(before: Number, after: Number) -> Number:
    """~m + m' for the two halves of a changed 32-bit field."""
    return change_u16(before >> 16, after >> 16) + change_u16(before & 0xFFFF, after & 0xFFFF)


@compiled_as(types.int64(types.int64, types.int64))
def updated(stored: Number, change: Number) -> Number:
    """HC' = ~(~HC + ~m + m') (RFC 1624, equation 3); `change` is the sum of ~m + m' over all changed words."""
    return ~fold((~stored & 0xFFFF) + change) & 0xFFFF


@compiled_as(types.void(types.uint8[::1], types.int64, types.int64))
def update_at(data: Octets, at: Number, change: Number) -> None:
    """Update the checksum stored at `at`."""
    put_u16(data, at, updated(get_u16(data, at), change))


@compiled_as(types.int64(types.uint8[::1], types.int64, types.int64, types.int64))
def transport_checksum(frame: Octets, ip_at: Number, start: Number, stop: Number) -> Number:
    """Checksum of the UDP or TCP segment frame[start:stop] with the pseudo header of the IPv4 header at `ip_at`.

    The segment's own checksum field must be 0 to compute one; left in place, the result is 0 if it is correct.
    """
    source, destination = get_u32(frame, ip_at + 12), get_u32(frame, ip_at + 16)
    total = pseudo_header_sum(source, destination, get_u8(frame, ip_at + 9), stop - start)
    return ~fold(total + ones_sum(frame, start, stop)) & 0xFFFF
