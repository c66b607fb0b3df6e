"""Segments of the statelet stream, without any socket: bytes in, checked segments out.

Statelets (type u16, length u16, payload; paper, section VI-A) are coalesced into segments. A segment (big endian):
magic and version u16, count u16, payload length u32, sequence of its first statelet u64, CRC-32 u32 over the header up
to there and the payload, payload. The end segment has no payload and carries the total count in place of the sequence;
a stream that ends without it was cut. TCP splits and joins segments as it likes: their size is only what is handed over
at once, up to 64 KiB when there is a backlog.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

from harness.errors import ProtocolError

PAYLOAD_BYTES_MAX = 1 << 16
STATELET_HEADER_BYTES = 4
_SEGMENT_MAGIC = 0x5301
_END_MAGIC = 0x53E1
_COVERED = struct.Struct(">HHIQ")
_CRC = struct.Struct(">I")
HEADER_BYTES = _COVERED.size + _CRC.size


@dataclass(frozen=True, slots=True)
class Segment:
    """`count` statelets, numbered from `first_sequence`, back to back in `payload`."""

    first_sequence: int
    count: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class End:
    """The source has sent everything: `total` statelets."""

    total: int


def pack_segment_header(first_sequence: int, count: int, payload: bytes | memoryview) -> bytes:
    """Header to be sent ahead of `payload`. Raises ProtocolError where no peer would accept the segment."""
    _check_sizes(count, len(payload))
    covered = _COVERED.pack(_SEGMENT_MAGIC, count, len(payload), first_sequence)
    return covered + _CRC.pack(zlib.crc32(payload, zlib.crc32(covered)))


def pack_end(total: int) -> bytes:
    covered = _COVERED.pack(_END_MAGIC, 0, 0, total)
    return covered + _CRC.pack(zlib.crc32(covered))


class SegmentReader:
    """Cuts a byte stream into segments and checks that no statelet is missing, repeated or altered.

    It never holds more than one largest segment and what was last fed. After a ProtocolError the stream is lost.
    """

    def __init__(self) -> None:
        self._pending = bytearray()
        self._next_sequence = 0
        self._ended = False

    @property
    def statelets(self) -> int:
        """Statelets in the segments given back so far."""
        return self._next_sequence

    def feed(self, data: bytes | memoryview) -> None:
        self._pending += data

    def next_segment(self) -> Segment | End | None:
        """The next segment, None while it is incomplete. Raises ProtocolError."""
        if self._ended:
            if self._pending:
                raise ProtocolError("statelet stream goes on after its end segment")
            return None
        if len(self._pending) < HEADER_BYTES:
            return None
        magic, count, length, sequence = _COVERED.unpack_from(self._pending)
        if magic not in (_SEGMENT_MAGIC, _END_MAGIC):
            raise ProtocolError(f"statelet segment with unknown magic or version {magic:#06x}")
        if magic == _SEGMENT_MAGIC:
            _check_sizes(count, length)
        elif count or length:
            raise ProtocolError("end segment with content")
        if len(self._pending) < HEADER_BYTES + length:
            return None
        payload = bytes(memoryview(self._pending)[HEADER_BYTES : HEADER_BYTES + length])
        covered = bytes(self._pending[: _COVERED.size])
        (crc,) = _CRC.unpack_from(self._pending, _COVERED.size)
        if crc != zlib.crc32(payload, zlib.crc32(covered)):
            raise ProtocolError(f"statelet segment after sequence {self._next_sequence} is damaged (CRC)")
        if sequence != self._next_sequence:
            what = "end segment counts" if magic == _END_MAGIC else "statelet segment starts at"
            raise ProtocolError(f"{what} {sequence}, {self._next_sequence} was expected: statelets are missing")
        del self._pending[: HEADER_BYTES + length]
        if magic == _END_MAGIC:
            self._ended = True
            return End(sequence)
        self._next_sequence += count
        return Segment(sequence, count, payload)


def _check_sizes(count: int, length: int) -> None:
    if not 1 <= length <= PAYLOAD_BYTES_MAX:
        raise ProtocolError(f"statelet segment of {length} bytes, 1 to {PAYLOAD_BYTES_MAX} are allowed")
    if not 1 <= count <= length // STATELET_HEADER_BYTES:
        raise ProtocolError(f"statelet segment of {length} bytes with {count} statelets")
