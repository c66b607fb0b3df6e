"""Big-endian integers in a byte array. All results are int64."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import types

from harness.dataplane.jit import compiled_as

Octets = npt.NDArray[np.uint8]
Number = Any
"""An integer: a Python int uncompiled, an int64 once compiled."""

# One signature each: without it every constant offset is compiled anew.
_READ = types.int64(types.uint8[::1], types.int64)
_WRITE = types.void(types.uint8[::1], types.int64, types.int64)


@compiled_as(_READ)
def get_u8(data: Octets, at: Number) -> Number:
    """One byte."""
    return np.int64(data[at])


@compiled_as(_READ)
def get_u16(data: Octets, at: Number) -> Number:
    """Two bytes."""
    return (np.int64(data[at]) << 8) | np.int64(data[at + 1])


@compiled_as(_READ)
def get_u32(data: Octets, at: Number) -> Number:
    """Four bytes."""
    return (get_u16(data, at) << 16) | get_u16(data, at + 2)


@compiled_as(_READ)
def get_u48(data: Octets, at: Number) -> Number:
    """Six bytes: an Ethernet address."""
    return (get_u16(data, at) << 32) | get_u32(data, at + 2)


@compiled_as(_READ)
def get_u64(data: Octets, at: Number) -> Number:
    """Eight bytes; above 2**63 - 1 it comes back negative."""
    return (get_u32(data, at) << 32) | get_u32(data, at + 4)


@compiled_as(_WRITE)
def put_u8(data: Octets, at: Number, number: Number) -> None:
    """One byte, the lowest of `number`."""
    data[at] = np.uint8(number & 0xFF)


@compiled_as(_WRITE)
def put_u16(data: Octets, at: Number, number: Number) -> None:
    """Two bytes."""
    data[at] = np.uint8((number >> 8) & 0xFF)
    data[at + 1] = np.uint8(number & 0xFF)


@compiled_as(_WRITE)
def put_u32(data: Octets, at: Number, number: Number) -> None:
    """Four bytes."""
    put_u16(data, at, number >> 16)
    put_u16(data, at + 2, number)


@compiled_as(_WRITE)
def put_u48(data: Octets, at: Number, number: Number) -> None:
    """Six bytes."""
    put_u16(data, at, number >> 32)
    put_u32(data, at + 2, number)


@compiled_as(_WRITE)
def put_u64(data: Octets, at: Number, number: Number) -> None:
    """Eight bytes."""
    put_u32(data, at, number >> 32)
    put_u32(data, at + 4, number)
