"""Messages on a byte stream between the controller and an agent: u32 length (big-endian), then JSON in UTF-8."""

from __future__ import annotations

import json
import struct
from typing import Any

from harness.errors import ProtocolError

BODY_BYTES_MAX = 16 << 20
_LENGTH = struct.Struct(">I")


def pack(message: dict[str, Any]) -> bytes:
    """One frame. ProtocolError where the message is too large or no JSON."""
    try:
        body = json.dumps(message, allow_nan=False).encode()
    except (TypeError, ValueError) as error:
        raise ProtocolError(f"a message that is no JSON: {error}") from None
    if len(body) > BODY_BYTES_MAX:
        raise ProtocolError(f"a message of {len(body)} bytes; at most {BODY_BYTES_MAX} are possible")
    return _LENGTH.pack(len(body)) + body


class FrameReader:
    """Takes bytes as they come, gives messages."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    @property
    def is_between(self) -> bool:
        """Whether no part of a frame is waiting for its rest."""
        return not self._buffer

    def feed(self, data: bytes) -> None:
        """Add what was received."""
        self._buffer += data

    def next_message(self) -> dict[str, Any] | None:
        """The next whole message, None while there is none. ProtocolError for what is no message; the stream is then
        of no use any more."""
        if len(self._buffer) < _LENGTH.size:
            return None
        (length,) = _LENGTH.unpack_from(self._buffer)
        if length > BODY_BYTES_MAX:
            raise ProtocolError(f"a frame of {length} bytes; at most {BODY_BYTES_MAX} are possible")
        end = _LENGTH.size + length
        if len(self._buffer) < end:
            return None
        body = bytes(self._buffer[_LENGTH.size : end])
        del self._buffer[:end]
        try:
            message = json.loads(body)
        except (ValueError, RecursionError):
            message = None
        if not isinstance(message, dict):
            raise ProtocolError(f"a frame that is no JSON object: {body[:40]!r}")
        return message
