"""What the engine and a VNF image agree on: signatures, verdicts, port numbers.

announce(packet, length, port, now_ns, tables, statelet) -> n
    The paper's g (section III). Changes nothing. n > 0: bytes of the statelet written (type u16, payload length u16,
    payload; big endian); 0: no state change; n < 0: the packet is refused for reason -n.
install(statelet, length, tables) -> 0 or a negative error
    The paper's h, the only function that changes tables.
forward(packet, length, port, now_ns, tables, statelet) -> verdict
    Rewrites the packet in place; `verdict(out_length, out_port)`, or a negative drop reason.
"""

from __future__ import annotations

from numba import types
from numba.core.types import FunctionType

from harness.dataplane.jit import Int, compiled

BYTES = types.Array(types.uint8, 1, "C")
WORDS = types.Array(types.uint64, 1, "C")

ANNOUNCE_SIGNATURE = types.int64(BYTES, types.int64, types.int64, types.int64, WORDS, BYTES)
INSTALL_SIGNATURE = types.int64(BYTES, types.int64, WORDS)
FORWARD_SIGNATURE = types.int64(BYTES, types.int64, types.int64, types.int64, WORDS, BYTES)

ANNOUNCE = FunctionType(ANNOUNCE_SIGNATURE)
INSTALL = FunctionType(INSTALL_SIGNATURE)
FORWARD = FunctionType(FORWARD_SIGNATURE)

INTERIOR_PORT = 0
EXTERIOR_PORT = 1
TIMER_PORT = 255
"""`announce` is called with this port, an empty packet and the tick number as its length, to let entries expire."""

REASONS_MAX = 64
"""Drop reasons of an image are 1 .. REASONS_MAX - 1; the engine counts them by number."""

STATELET_HEADER_BYTES = 4
STATELET_MAX_BYTES = 2048
"""Longest statelet with its header; a duplicated frame with its own header must fit."""

FLAG_REPLACED = 1 << 40
"""In a verdict: the buffer now holds another frame (an ARP request, say) which is sent; the packet itself is dropped
for the reason in bits 41 .. 46."""
REPLACED_REASON_SHIFT = 41


@compiled
def verdict(out_length: Int, out_port: Int) -> Int:
    """Verdict of `forward`: transmit `out_length` bytes on `out_port`."""
    return (out_length << 8) | out_port


@compiled
def replaced(out_length: Int, out_port: Int, reason: Int) -> Int:
    """Verdict of `forward`: the packet is dropped for `reason`, the frame now in its buffer is sent instead."""
    return (out_length << 8) | out_port | FLAG_REPLACED | (reason << REPLACED_REASON_SHIFT)
