"""Frames of the control protocol, without any socket: bytes in, bodies out.

A frame (big endian): magic "SLIM", version u8, flags u8 (0), body length u32, sequence u64, body, HMAC-SHA256 over
all of it. The key belongs to one direction of one connection and the sequence counts frames of that direction from 0,
so a replayed, reordered, dropped or reflected frame does not authenticate.
"""

from __future__ import annotations

import hmac
import struct
from dataclasses import dataclass

from harness.errors import ProtocolError
from harness.migration.handshake import MAGIC, VERSION

BODY_BYTES_MAX = 1 << 20
MAC_BYTES = 32
_HEADER = struct.Struct(">4sBBIQ")
HEADER_BYTES = _HEADER.size


@dataclass(frozen=True, slots=True)
class FrameHeader:
    body_bytes: int
    sequence: int


def encode_frame(key: bytes, sequence: int, body: bytes) -> bytes:
    """One frame. Raises ProtocolError where the body is longer than any peer accepts."""
    if len(body) > BODY_BYTES_MAX:
        raise ProtocolError(f"control message of {len(body)} bytes, at most {BODY_BYTES_MAX} are allowed")
    framed = _HEADER.pack(MAGIC, VERSION, 0, len(body), sequence) + body
    return framed + hmac.digest(key, framed, "sha256")


def parse_header(data: bytes | bytearray | memoryview) -> FrameHeader:
    """Raises ProtocolError on a foreign, oversized or unknown header, before any of its body is stored."""
    if len(data) < HEADER_BYTES:
        raise ProtocolError(f"frame header of {len(data)} bytes, expected {HEADER_BYTES}")
    magic, version, flags, body_bytes, sequence = _HEADER.unpack_from(data)
    if magic != MAGIC:
        raise ProtocolError("frame without the magic number")
    if version != VERSION:
        raise ProtocolError(f"frame of protocol version {version}, this side speaks {VERSION}")
    if flags:
        raise ProtocolError(f"frame with unknown flags {flags:#04x}")
    if body_bytes > BODY_BYTES_MAX:
        raise ProtocolError(f"frame announces a body of {body_bytes} bytes, at most {BODY_BYTES_MAX} are allowed")
    return FrameHeader(body_bytes, sequence)


class FrameReader:
    """Collects the bytes of one direction and gives back authenticated bodies.

    It never holds more than one largest frame and what was last fed. After a ProtocolError the connection is lost.
    """

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._pending = bytearray()
        self._sequence = 0

    def feed(self, data: bytes | memoryview) -> None:
        self._pending += data

    def next_body(self) -> bytes | None:
        """The next body, or None while it is incomplete. Raises ProtocolError."""
        if len(self._pending) < HEADER_BYTES:
            return None
        header = parse_header(self._pending)
        end = HEADER_BYTES + header.body_bytes
        if len(self._pending) < end + MAC_BYTES:
            return None
        mac = bytes(self._pending[end : end + MAC_BYTES])
        framed = bytes(self._pending[:end])
        if not hmac.compare_digest(mac, hmac.digest(self._key, framed, "sha256")):
            raise ProtocolError("frame is not authentic")
        if header.sequence != self._sequence:
            raise ProtocolError(f"frame with sequence {header.sequence}, expected {self._sequence}")
        self._sequence += 1
        del self._pending[: end + MAC_BYTES]
        return framed[HEADER_BYTES:]
