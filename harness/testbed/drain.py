"""The drain frame: the last frame on a path after the switchover (SliM: the drain packet of the controller)."""

from __future__ import annotations

from collections.abc import Sequence

from harness.testbed.conditions import LinkConditions
from harness.testbed.topology import CONTROLLER_MAC, VNF_MACS

DRAIN_ETHERTYPE = 0x88B5  # IEEE 802 local experimental ethertype 1
DRAIN_MAGIC = b"DRAIN"
DRAIN_VERSION = 1
TOKEN_BYTES = 16
_FRAME_BYTES = 60
_TABLE_END = 4
"""Standard deviations at which the tables of the IPDV end."""


def drain_frame(port_index: int, sequence: int, token: bytes) -> bytes:
    """The frame for one port of the VNF: 0 interior, 1 exterior. ValueError for values that do not fit its fields."""
    if port_index not in (0, 1):
        raise ValueError(f"port index {port_index}: must be 0 (interior) or 1 (exterior)")
    if not 0 <= sequence <= 255:
        raise ValueError(f"drain sequence {sequence}: must fit one byte")
    if len(token) != TOKEN_BYTES:
        raise ValueError(f"drain token of {len(token)} bytes: must be {TOKEN_BYTES}")
    addresses = bytes.fromhex((VNF_MACS[port_index] + CONTROLLER_MAC).replace(":", ""))
    payload = DRAIN_MAGIC + bytes((DRAIN_VERSION, port_index, sequence)) + token
    return (addresses + DRAIN_ETHERTYPE.to_bytes(2, "big") + payload).ljust(_FRAME_BYTES, b"\0")


def overtaking_ns(ever: Sequence[LinkConditions]) -> int:
    """How long before a drain frame everything else has to be on its way, on a link that is all of `ever` in the course
    of a run: the longest delay of any frame, or 0 where one constant latency keeps frames in order.

    netem sends by each frame's own time, which IPDV, reordering and a latency that shrinks all make earlier than that
    of frames before it. A drain frame that overtook one would stop the source in front of it.
    """
    if len({item.latency_ns for item in ever}) <= 1 and not any(item.ipdv_ns or item.reordering for item in ever):
        return 0
    return max(
        item.latency_ns + item.ipdv_ns * (1 if item.ipdv_distribution == "uniform" else _TABLE_END) for item in ever
    )
