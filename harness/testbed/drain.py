"""The drain frame: the last frame on a path after the switchover (SliM: the drain packet of the controller)."""

from __future__ import annotations

from harness.testbed.topology import CONTROLLER_MAC, VNF_MACS

DRAIN_ETHERTYPE = 0x88B5  # IEEE 802 local experimental ethertype 1
DRAIN_MAGIC = b"DRAIN"
DRAIN_VERSION = 1
TOKEN_BYTES = 16
_FRAME_BYTES = 60


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
