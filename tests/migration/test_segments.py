"""Segments of the statelet stream: contiguous, unaltered, ended, or refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import ProtocolError
from harness.migration.segments import (
    HEADER_BYTES,
    PAYLOAD_BYTES_MAX,
    End,
    Segment,
    SegmentReader,
    pack_end,
    pack_segment_header,
)


def statelet(payload: bytes) -> bytes:
    return b"\x00\x01" + len(payload).to_bytes(2, "big") + payload


def segment(first: int, count: int) -> bytes:
    payload = b"".join(statelet(bytes([number & 0xFF] * 8)) for number in range(first, first + count))
    return pack_segment_header(first, count, payload) + payload


def read(data: bytes) -> list[Segment | End]:
    reader = SegmentReader()
    reader.feed(data)
    found: list[Segment | End] = []
    while (item := reader.next_segment()) is not None:
        found.append(item)
    return found


@given(st.lists(st.integers(1, 40), max_size=8), st.integers(1, 700))
def test_statelets_arrive_however_the_stream_is_cut(counts: list[int], piece: int) -> None:
    firsts = [sum(counts[:index]) for index in range(len(counts))]
    stream = b"".join(map(segment, firsts, counts)) + pack_end(sum(counts))
    reader = SegmentReader()
    found: list[Segment | End] = []
    for start in range(0, len(stream), piece):
        reader.feed(stream[start : start + piece])
        while (item := reader.next_segment()) is not None:
            found.append(item)
    assert found[-1] == End(sum(counts))
    assert [(item.first_sequence, item.count) for item in found if isinstance(item, Segment)] == [
        *zip(firsts, counts, strict=True)
    ]
    assert reader.statelets == sum(counts)


@given(st.integers(0, 10_000), st.integers(1, 255))
def test_any_altered_byte_is_refused_or_keeps_the_segment_from_ending(position: int, flip: int) -> None:
    data = bytearray(segment(0, 5))
    data[position % len(data)] ^= flip
    try:
        assert read(bytes(data)) == []
    except ProtocolError:
        return


@given(st.binary(max_size=300))
def test_garbage_is_refused_or_incomplete(data: bytes) -> None:
    try:
        assert read(data) == []
    except ProtocolError:
        return


@pytest.mark.parametrize(
    ("stream", "message"),
    [
        (segment(0, 3) + segment(4, 1), "starts at 4, 3 was expected"),
        (segment(0, 3) + segment(0, 3), "starts at 0, 3 was expected"),
        (segment(1, 3), "starts at 1, 0 was expected"),
        (segment(0, 3) + pack_end(4), "counts 4, 3 was expected"),
        (segment(0, 3) + pack_end(2), "counts 2, 3 was expected"),
        (pack_end(0) + segment(0, 1), "goes on after its end"),
        (b"\x53\x02" + segment(0, 1)[2:], "unknown magic or version 0x5302"),
    ],
)
def test_gaps_repetitions_and_strangers_are_refused(stream: bytes, message: str) -> None:
    with pytest.raises(ProtocolError, match=message):
        read(stream)


@pytest.mark.parametrize(
    ("count", "length"), [(0, 8), (3, 8), (1, 0), (1, PAYLOAD_BYTES_MAX + 1), (65_535, 2**32 - 1), (1, 3)]
)
def test_impossible_sizes_are_refused_from_the_header_alone(count: int, length: int) -> None:
    header = b"\x53\x01" + count.to_bytes(2, "big") + length.to_bytes(4, "big") + bytes(12)
    assert len(header) == HEADER_BYTES
    with pytest.raises(ProtocolError, match="statelet segment of"):
        read(header)


def test_a_segment_too_large_is_not_made() -> None:
    with pytest.raises(ProtocolError, match="65537 bytes, 1 to 65536 are allowed"):
        pack_segment_header(0, 1, bytes(PAYLOAD_BYTES_MAX + 1))


def test_the_largest_segment_passes() -> None:
    payload = bytes(PAYLOAD_BYTES_MAX)
    (item,) = read(pack_segment_header(0, PAYLOAD_BYTES_MAX // 4, payload) + payload)
    assert isinstance(item, Segment)
    assert len(item.payload) == PAYLOAD_BYTES_MAX
