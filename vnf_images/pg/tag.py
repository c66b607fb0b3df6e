"""The cell tag: the first 4 bytes of the UDP payload: cell u16 big endian, flags u8, zero u8."""

from __future__ import annotations

from harness.dataplane.jit import compiled
from harness.dataplane.wire import udp
from harness.dataplane.wire.checksum import change_u16, updated
from harness.dataplane.wire.octets import Number, Octets, get_u8, get_u16, put_u16

CELL_AT = udp.PAYLOAD_AT
FLAGS_AT = CELL_AT + 2
ZERO_AT = CELL_AT + 3
TAG_BYTES = 4

ANNOUNCES = 1
"""Flag: the packet announces that its subscriber has moved to the cell of the tag."""


@compiled
def is_tagged(frame: Octets) -> bool:
    """Whether there is room for a tag in the payload; `udp.check` must have passed."""
    return bool(get_u16(frame, udp.LENGTH_AT) >= udp.HEADER_BYTES + TAG_BYTES)


@compiled
def is_sound(frame: Octets) -> bool:
    """Whether flags and zero byte are as defined."""
    return bool(get_u8(frame, FLAGS_AT) & ~ANNOUNCES == 0 and get_u8(frame, ZERO_AT) == 0)


@compiled
def cell(frame: Octets) -> Number:
    """Cell of the tag."""
    return get_u16(frame, CELL_AT)


@compiled
def announces(frame: Octets) -> bool:
    """Whether the packet announces an attachment or a handover."""
    return bool(get_u8(frame, FLAGS_AT) & ANNOUNCES != 0)


@compiled
def write(frame: Octets, new_cell: Number) -> None:
    """Put `new_cell` with flags 0 into the tag and update UDP's checksum incrementally (RFC 1624, equation 3)."""
    change = change_u16(get_u16(frame, CELL_AT), new_cell) + change_u16(get_u16(frame, FLAGS_AT), 0)
    put_u16(frame, CELL_AT, new_cell)
    put_u16(frame, FLAGS_AT, 0)
    stored = get_u16(frame, udp.CHECKSUM_AT)
    if stored != 0:  # 0 says that there is no checksum (RFC 768); one that comes out as 0 is sent as 0xFFFF
        computed = updated(stored, change)
        put_u16(frame, udp.CHECKSUM_AT, computed if computed != 0 else 0xFFFF)
