"""pcap and pcapng files, read frame by frame. Every byte of them is foreign: what does not parse is one clear line.

Formats: draft-ietf-opsawg-pcap (both byte orders, times of 1 us or 1 ns) and draft-ietf-opsawg-pcapng.
"""

from __future__ import annotations

import stat
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from harness.errors import UsageError

FRAME_BYTES_MAX = 1 << 18
"""What capture programs store of a frame at most."""
_BLOCK_BYTES_MAX = 1 << 24
_TIME_NS_MAX = 1 << 62
_PCAP_TICKS_PER_S = {0xA1B2C3D4: 1_000_000, 0xA1B23C4D: 1_000_000_000}
_SECTION, _INTERFACE, _SIMPLE_PACKET, _PACKET = 0x0A0D0D0A, 1, 3, 6
_BYTE_ORDER_MAGIC = 0x1A2B3C4D
_OPTION_RESOLUTION, _OPTION_OFFSET = 9, 14
_COMPRESSED = {b"\x1f\x8b": "gzip", b"BZ": "bzip2", b"\x28\xb5": "zstd", b"\xfd7": "xz"}


class CapturedFrame(NamedTuple):
    """time_ns: UTC; link_type: of the registry of tcpdump.org; frame_bytes: on the wire, of which `data` was stored."""

    time_ns: int
    link_type: int
    frame_bytes: int
    data: bytes


def read_capture(path: Path) -> Iterator[CapturedFrame]:
    """Every frame of the file in its order. Raises UsageError (path first) for what is no capture, or a damaged one."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise UsageError(f"{path}: not a file")
        with path.open("rb") as file:
            yield from _read(_Reader(file, path))
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror or error})") from None


class _Reader:
    """Exact pieces of the file, and where a complaint about them belongs."""

    def __init__(self, file: BinaryIO, path: Path) -> None:
        self._file = file
        self._path = path
        self.frames = 0

    def piece(self, count: int, may_end: bool = False) -> bytes:
        """The next `count` bytes; b"" at the end of the file where it `may_end`."""
        data = self._file.read(count)
        if len(data) == count or (may_end and not data):
            return data
        raise UsageError(
            f"{self._path}: ends within the record after {self.frames} frames: it was cut off; capture it again, or "
            "save its whole frames to another file"
        )

    def damaged(self, what: str) -> UsageError:
        return UsageError(f"{self._path}: damaged after {self.frames} frames: {what}")

    def foreign(self, magic: bytes) -> UsageError:
        packed = next((name for start, name in _COMPRESSED.items() if magic.startswith(start)), "")
        reason = f"compressed ({packed}); decompress it first" if packed else "neither pcap nor pcapng"
        return UsageError(f"{self._path}: {reason}")

    def frame(self, time_ns: int, link_type: int, frame_bytes: int, data: bytes) -> CapturedFrame:
        if not 0 <= time_ns < _TIME_NS_MAX:
            raise self.damaged("the next one has an impossible time")
        self.frames += 1
        return CapturedFrame(time_ns, link_type, frame_bytes, data)


def _read(reader: _Reader) -> Iterator[CapturedFrame]:
    magic = reader.piece(4, may_end=True)
    for order in "<>":
        number = struct.unpack(f"{order}I", magic)[0] if magic else 0
        if number in _PCAP_TICKS_PER_S:
            yield from _pcap(reader, order, _PCAP_TICKS_PER_S[number])
            return
        if number == _SECTION:
            yield from _pcapng(reader)
            return
    raise reader.foreign(magic)


def _pcap(reader: _Reader, order: str, ticks_per_s: int) -> Iterator[CapturedFrame]:
    header = struct.Struct(f"{order}HHiIII")
    major, minor, _, _, _, link = header.unpack(reader.piece(header.size))
    if major != 2:
        raise reader.damaged(f"version {major}.{minor} of the format is unknown")
    # The upper bits say whether frames end in a checksum, which decoding by lengths leaves out.
    link_type = link & 0xFFFF
    record = struct.Struct(f"{order}IIII")
    while head := reader.piece(record.size, may_end=True):
        seconds, ticks, stored_bytes, frame_bytes = record.unpack(head)
        if stored_bytes > FRAME_BYTES_MAX or stored_bytes > frame_bytes:
            raise reader.damaged(f"the next frame claims {stored_bytes} stored of {frame_bytes} bytes")
        if ticks >= ticks_per_s:
            raise reader.damaged("the next one has an impossible time")
        time_ns = seconds * 1_000_000_000 + ticks * (1_000_000_000 // ticks_per_s)
        yield reader.frame(time_ns, link_type, frame_bytes, reader.piece(stored_bytes))


class _Interface(NamedTuple):
    link_type: int
    ticks_per_s: int
    offset_s: int


def _pcapng(reader: _Reader) -> Iterator[CapturedFrame]:
    order, kind = "", _SECTION
    interfaces: list[_Interface] = []
    while True:
        length_bytes = reader.piece(4)
        start = b""
        if kind == _SECTION:
            start = reader.piece(4)
            order = _section_order(reader, start)
            interfaces = []
        (length,) = struct.unpack(f"{order}I", length_bytes)
        if length < 12 + len(start) or length % 4 or length > _BLOCK_BYTES_MAX:
            raise reader.damaged(f"a block of {length} bytes")
        body = start + reader.piece(length - 12 - len(start))
        if reader.piece(4) != length_bytes:
            raise reader.damaged("the two lengths of a block differ")
        if kind == _INTERFACE:
            interfaces.append(_interface(reader, order, body))
        elif kind == _PACKET:
            yield _packet(reader, order, body, interfaces)
        elif kind == _SIMPLE_PACKET:
            raise reader.damaged("the next frame has no time (a Simple Packet Block)")
        next_kind = reader.piece(4, may_end=True)
        if not next_kind:
            return
        # A new section may have the other byte order; its type reads the same in both.
        (kind,) = struct.unpack(f"{order}I", next_kind)


def _section_order(reader: _Reader, magic: bytes) -> str:
    for order in "<>":
        if struct.unpack(f"{order}I", magic)[0] == _BYTE_ORDER_MAGIC:
            return order
    raise reader.damaged("a section without a byte order")


def _interface(reader: _Reader, order: str, body: bytes) -> _Interface:
    if len(body) < 8:
        raise reader.damaged("an interface without a link type")
    (link_type,) = struct.unpack_from(f"{order}H", body)
    ticks_per_s, offset_s = 1_000_000, 0
    at = 8
    while at + 4 <= len(body):
        code, size = struct.unpack_from(f"{order}HH", body, at)
        value = body[at + 4 : at + 4 + size]
        if code == 0 or len(value) < size:
            break
        if code == _OPTION_RESOLUTION and size == 1:
            exponent = value[0] & 0x7F
            ticks_per_s = 2**exponent if value[0] & 0x80 else 10**exponent
        elif code == _OPTION_OFFSET and size == 8:
            (offset_s,) = struct.unpack(f"{order}q", value)
        at += 4 + (size + 3) // 4 * 4
    return _Interface(link_type, ticks_per_s, offset_s)


def _packet(reader: _Reader, order: str, body: bytes, interfaces: list[_Interface]) -> CapturedFrame:
    if len(body) < 20:
        raise reader.damaged("the next frame has no header")
    number, high, low, stored_bytes, frame_bytes = struct.unpack_from(f"{order}IIIII", body)
    if number >= len(interfaces):
        raise reader.damaged(f"the next frame is of an interface {number} that is not described")
    if stored_bytes > len(body) - 20 or stored_bytes > frame_bytes or stored_bytes > FRAME_BYTES_MAX:
        raise reader.damaged(f"the next frame claims {stored_bytes} stored of {frame_bytes} bytes")
    interface = interfaces[number]
    time_ns = (high << 32 | low) * 1_000_000_000 // interface.ticks_per_s + interface.offset_s * 1_000_000_000
    return reader.frame(time_ns, interface.link_type, frame_bytes, body[20 : 20 + stored_bytes])
