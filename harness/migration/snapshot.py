"""The snapshot stream, without any socket: what is sent chunk by chunk, and the checks of the receiving side.

A chunk (big endian): magic and version u16, kind u8, 0 u8, body length u32, CRC-32 u32 over the header up to there and
the body, body. Kinds, in this order: one header (JSON), records (table u16, 0 u16, count u32, then count records of
64-bit little-endian words: key words, value words), filler (incompressible bytes that stand for a larger state),
one end (JSON) with the totals.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Annotated, TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from harness.errors import ProtocolError

BODY_BYTES_MAX = 1 << 18
FILLER_CHUNK_BYTES = 1 << 16
WORD_BYTES = 8
_MAGIC = 0x5401
_COVERED = struct.Struct(">HBBI")
_CRC = struct.Struct(">I")
_RECORDS = struct.Struct(">HHI")
CHUNK_HEADER_BYTES = _COVERED.size + _CRC.size
RECORDS_HEADER_BYTES = _RECORDS.size

_Count = Annotated[int, Field(ge=0, le=2**63 - 1)]


class ChunkKind(IntEnum):
    HEADER = 1
    RECORDS = 2
    FILLER = 3
    END = 4


class _Described(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class TableDescription(_Described):
    """One table of the image: the shape of its records in 64-bit words."""

    name: Annotated[str, Field(min_length=1, max_length=32)]
    key_words: Annotated[int, Field(ge=1, le=3)]
    value_words: Annotated[int, Field(ge=1, le=16)]

    @property
    def record_bytes(self) -> int:
        return (self.key_words + self.value_words) * WORD_BYTES


class SnapshotHeader(_Described):
    image: str
    version: str
    epoch: _Count
    tables: Annotated[tuple[TableDescription, ...], Field(min_length=1, max_length=16)]
    filler_bytes: _Count


class SnapshotEnd(_Described):
    """Totals of the whole snapshot: records by table, filler bytes."""

    records: Annotated[tuple[_Count, ...], Field(max_length=16)]
    filler_bytes: _Count


@dataclass(frozen=True, slots=True)
class ChunkHeader:
    kind: ChunkKind
    body_bytes: int
    covered: bytes
    crc: int


def pack_chunk_header(kind: ChunkKind, *parts: bytes | memoryview) -> bytes:
    """Header of a chunk whose body is `parts` one after another. Raises ProtocolError where it is too large."""
    length = sum(len(part) for part in parts)
    if length > BODY_BYTES_MAX:
        raise ProtocolError(f"snapshot chunk of {length} bytes, at most {BODY_BYTES_MAX} are allowed")
    covered = _COVERED.pack(_MAGIC, kind, 0, length)
    crc = zlib.crc32(covered)
    for part in parts:
        crc = zlib.crc32(part, crc)
    return covered + _CRC.pack(crc)


def pack_records(table: int, count: int, words: bytes | memoryview) -> tuple[bytes, bytes | memoryview]:
    """Chunk header with the records' header, and the words to send after it."""
    prefix = _RECORDS.pack(table, 0, count)
    return pack_chunk_header(ChunkKind.RECORDS, prefix, words) + prefix, words


def pack_json(kind: ChunkKind, content: SnapshotHeader | SnapshotEnd) -> bytes:
    body = content.model_dump_json().encode()
    return pack_chunk_header(kind, body) + body


def parse_chunk_header(data: bytes | bytearray | memoryview) -> ChunkHeader:
    """Raises ProtocolError on a foreign or oversized header, before any of its body is read."""
    if len(data) != CHUNK_HEADER_BYTES:
        raise ProtocolError(f"snapshot chunk header of {len(data)} bytes, expected {CHUNK_HEADER_BYTES}")
    magic, kind, zero, length = _COVERED.unpack_from(data)
    if magic != _MAGIC or zero:
        raise ProtocolError(f"snapshot chunk with unknown magic or version {magic:#06x}")
    if length > BODY_BYTES_MAX:
        raise ProtocolError(f"snapshot chunk of {length} bytes, at most {BODY_BYTES_MAX} are allowed")
    try:
        known = ChunkKind(kind)
    except ValueError:
        raise ProtocolError(f"snapshot chunk of unknown kind {kind}") from None
    (crc,) = _CRC.unpack_from(data, _COVERED.size)
    return ChunkHeader(known, length, bytes(data[: _COVERED.size]), crc)


def filler_parts(filler_bytes: int, seed: int) -> Iterator[bytes]:
    """`filler_bytes` of pseudo-random bytes, which no compression shortens, in parts of a chunk each."""
    generator = np.random.Generator(np.random.PCG64(seed))
    for start in range(0, filler_bytes, FILLER_CHUNK_BYTES):
        yield generator.bytes(min(FILLER_CHUNK_BYTES, filler_bytes - start))


LoadRecords = Callable[[int, memoryview, int], None]
"""(table, words, count): installs records; raises ProtocolError where they do not fit."""


class SnapshotAssembler:
    """Checks each chunk against what is expected next and passes records on; knows whether the whole state arrived."""

    def __init__(
        self, image: str, version: str, epoch: int, tables: tuple[TableDescription, ...], load: LoadRecords
    ) -> None:
        self._expected = (image, version, epoch, tables)
        self._load = load
        self._header: SnapshotHeader | None = None
        self._records = [0] * len(tables)
        self.filler_bytes = 0
        self.complete = False

    @property
    def records(self) -> int:
        """Records passed on so far, all tables together."""
        return sum(self._records)

    def accept(self, header: ChunkHeader, body: memoryview) -> None:
        """Take the next chunk. Raises ProtocolError; the state loaded so far is then to be discarded."""
        if len(body) != header.body_bytes or zlib.crc32(body, zlib.crc32(header.covered)) != header.crc:
            raise ProtocolError(f"snapshot chunk ({header.kind.name.lower()}) is damaged (CRC)")
        if self.complete:
            raise ProtocolError("snapshot goes on after its end")
        if (self._header is None) != (header.kind is ChunkKind.HEADER):
            raise ProtocolError(f"snapshot chunk ({header.kind.name.lower()}) out of order")
        if header.kind is ChunkKind.HEADER:
            self._accept_header(body)
        elif header.kind is ChunkKind.RECORDS:
            self._accept_records(body)
        elif header.kind is ChunkKind.FILLER:
            self.filler_bytes += len(body)
        else:
            self._accept_end(body)

    def _accept_header(self, body: memoryview) -> None:
        self._header = _parse_json(SnapshotHeader, body)
        image, version, epoch, tables = self._expected
        if (self._header.image, self._header.version) != (image, version):
            raise ProtocolError(
                f"snapshot is of image {self._header.image} {self._header.version}, expected {image} {version}"
            )
        if self._header.epoch != epoch:
            raise ProtocolError(f"snapshot is of epoch {self._header.epoch}, expected {epoch}")
        if self._header.tables != tables:
            raise ProtocolError("snapshot has other tables than this instance")

    def _accept_records(self, body: memoryview) -> None:
        if len(body) < _RECORDS.size:
            raise ProtocolError("snapshot chunk (records) is too short")
        table, zero, count = _RECORDS.unpack_from(body)
        tables = self._expected[3]
        if zero or table >= len(tables):
            raise ProtocolError(f"snapshot has records of the unknown table {table}")
        words = body[_RECORDS.size :]
        if len(words) != count * tables[table].record_bytes:
            raise ProtocolError(
                f"snapshot chunk of {len(words)} bytes cannot be {count} records of {tables[table].name}"
            )
        self._load(table, words, count)
        self._records[table] += count

    def _accept_end(self, body: memoryview) -> None:
        end = _parse_json(SnapshotEnd, body)
        assert self._header is not None
        if list(end.records) != self._records:
            raise ProtocolError(f"snapshot should have {list(end.records)} records by table, {self._records} arrived")
        if not end.filler_bytes == self._header.filler_bytes == self.filler_bytes:
            raise ProtocolError(f"snapshot should have {end.filler_bytes} bytes of filler, {self.filler_bytes} arrived")
        self.complete = True


_Json = TypeVar("_Json", SnapshotHeader, SnapshotEnd)


def _parse_json(model: type[_Json], body: memoryview) -> _Json:
    try:
        return model.model_validate_json(bytes(body))
    except (ValidationError, ValueError):
        raise ProtocolError(f"{model.__name__} of the snapshot does not parse") from None
