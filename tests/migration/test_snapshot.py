"""The snapshot stream: complete and unaltered, or refused; filler does not compress."""

from __future__ import annotations

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import ProtocolError
from harness.migration.snapshot import (
    BODY_BYTES_MAX,
    CHUNK_HEADER_BYTES,
    RECORDS_HEADER_BYTES,
    ChunkKind,
    SnapshotAssembler,
    SnapshotEnd,
    SnapshotHeader,
    TableDescription,
    filler_parts,
    pack_chunk_header,
    pack_json,
    pack_records,
    parse_chunk_header,
)

TABLES = (
    TableDescription(name="flows", key_words=1, value_words=2),
    TableDescription(name="hosts", key_words=2, value_words=1),
)
HEADER = SnapshotHeader(image="nat", version="1", epoch=4, tables=TABLES, filler_bytes=10)


def records(table: int, count: int, size: int = 24) -> bytes:
    return b"".join(pack_records(table, count, bytes(count * size)))


def filler(size: int = 10) -> bytes:
    return pack_chunk_header(ChunkKind.FILLER, bytes(size)) + bytes(size)


def end(first: int, second: int, filler_bytes: int = 10) -> bytes:
    return pack_json(ChunkKind.END, SnapshotEnd(records=(first, second), filler_bytes=filler_bytes))


def assemble(stream: bytes, loaded: list[tuple[int, int, int]] | None = None) -> SnapshotAssembler:
    """Feeds the chunks of `stream`; a cut one is left out, as it would never be complete."""

    def load(table: int, words: memoryview, count: int) -> None:
        if loaded is not None:
            loaded.append((table, len(words), count))

    assembler = SnapshotAssembler("nat", "1", 4, TABLES, load)
    while len(stream) >= CHUNK_HEADER_BYTES:
        header = parse_chunk_header(stream[:CHUNK_HEADER_BYTES])
        last = CHUNK_HEADER_BYTES + header.body_bytes
        if len(stream) < last:
            break
        assembler.accept(header, memoryview(stream)[CHUNK_HEADER_BYTES:last])
        stream = stream[last:]
    return assembler


COMPLETE = pack_json(ChunkKind.HEADER, HEADER) + records(0, 3) + records(1, 2) + records(0, 1) + filler() + end(4, 2)


def test_a_complete_snapshot_is_passed_on() -> None:
    loaded: list[tuple[int, int, int]] = []
    assembler = assemble(COMPLETE, loaded)
    assert assembler.complete
    assert loaded == [(0, 72, 3), (1, 48, 2), (0, 24, 1)]
    assert (assembler.records, assembler.filler_bytes) == (6, 10)


@given(st.integers(0, len(COMPLETE) - 1))
def test_a_cut_snapshot_is_never_complete(length: int) -> None:
    assert not assemble(COMPLETE[:length]).complete


@given(st.integers(0, len(COMPLETE) - 1), st.integers(1, 255))
def test_any_altered_byte_is_refused_or_keeps_it_incomplete(position: int, flip: int) -> None:
    damaged = bytearray(COMPLETE)
    damaged[position] ^= flip
    try:
        assert not assemble(bytes(damaged)).complete
    except ProtocolError:
        return


@given(st.lists(st.sampled_from([records(0, 1), records(1, 1), filler(), end(4, 2)]), max_size=6))
def test_chunks_in_any_order_are_complete_only_with_the_right_totals(chunks: list[bytes]) -> None:
    try:
        assembler = assemble(pack_json(ChunkKind.HEADER, HEADER) + b"".join(chunks))
    except ProtocolError:
        return
    assert not assembler.complete


@given(st.binary(max_size=400))
def test_garbage_is_refused_or_incomplete(data: bytes) -> None:
    try:
        assert not assemble(data).complete
    except ProtocolError:
        return


@given(st.sampled_from(ChunkKind), st.binary(max_size=200))
def test_any_body_is_refused_or_taken(kind: ChunkKind, body: bytes) -> None:
    for prefix in (b"", pack_json(ChunkKind.HEADER, HEADER)):
        try:
            assert not assemble(prefix + pack_chunk_header(kind, body) + body).complete
        except ProtocolError:
            continue


@pytest.mark.parametrize(
    ("stream", "message"),
    [
        (records(0, 1), r"chunk \(records\) out of order"),
        (COMPLETE[:-1] + COMPLETE[-1:] + filler(), "goes on after its end"),
        (pack_json(ChunkKind.HEADER, HEADER) * 2, r"chunk \(header\) out of order"),
        (pack_json(ChunkKind.HEADER, HEADER.model_copy(update={"epoch": 3})), "epoch 3, expected 4"),
        (pack_json(ChunkKind.HEADER, HEADER.model_copy(update={"image": "pg"})), "image pg 1, expected nat 1"),
        (pack_json(ChunkKind.HEADER, HEADER.model_copy(update={"tables": TABLES[:1]})), "other tables"),
        (pack_json(ChunkKind.HEADER, HEADER) + records(2, 1), "unknown table 2"),
        (pack_json(ChunkKind.HEADER, HEADER) + records(0, 2, 23), "cannot be 2 records of flows"),
        (pack_json(ChunkKind.HEADER, HEADER) + filler() + end(1, 0), r"should have \[1, 0\] records"),
        (pack_json(ChunkKind.HEADER, HEADER) + filler(9) + end(0, 0), "10 bytes of filler, 9 arrived"),
        (pack_json(ChunkKind.HEADER, HEADER) + filler(9) + end(0, 0, 9), "bytes of filler"),
    ],
)
def test_what_is_wrong_is_said(stream: bytes, message: str) -> None:
    with pytest.raises(ProtocolError, match=message):
        assemble(stream)


def test_oversized_chunks_are_refused_from_the_header_alone() -> None:
    header = bytearray(pack_chunk_header(ChunkKind.FILLER))
    header[4:8] = (BODY_BYTES_MAX + 1).to_bytes(4, "big")
    with pytest.raises(ProtocolError, match="at most 262144"):
        parse_chunk_header(header)


def test_a_record_count_that_overflows_its_bytes_is_refused() -> None:
    body = (0).to_bytes(2, "big") + bytes(2) + (2**32 - 1).to_bytes(4, "big")
    assert len(body) == RECORDS_HEADER_BYTES
    with pytest.raises(ProtocolError, match="cannot be 4294967295 records"):
        assemble(pack_json(ChunkKind.HEADER, HEADER) + pack_chunk_header(ChunkKind.RECORDS, body) + body)


@pytest.mark.parametrize("size", [0, 1, 65_536, 65_537, 3_000_000])
def test_filler_has_its_size_and_does_not_compress(size: int) -> None:
    data = b"".join(filler_parts(size, seed=1))
    assert len(data) == size
    assert len(zlib.compress(data, 9)) >= size
    assert data == b"".join(filler_parts(size, seed=1))
    assert size < 100 or data != b"".join(filler_parts(size, seed=2))
