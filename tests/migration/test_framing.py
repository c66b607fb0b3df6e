"""Frames of the control protocol: what is accepted, and that nothing hostile is more than refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import ProtocolError
from harness.migration.framing import BODY_BYTES_MAX, HEADER_BYTES, MAC_BYTES, FrameReader, encode_frame, parse_header

KEY = b"k" * 32
OTHER_KEY = b"o" * 32


def read_all(data: bytes, key: bytes = KEY) -> list[bytes]:
    reader = FrameReader(key)
    reader.feed(data)
    bodies = []
    while (body := reader.next_body()) is not None:
        bodies.append(body)
    return bodies


@given(st.lists(st.binary(max_size=300), max_size=6), st.integers(1, 50))
def test_bodies_arrive_however_the_stream_is_cut(bodies: list[bytes], piece: int) -> None:
    stream = b"".join(encode_frame(KEY, number, body) for number, body in enumerate(bodies))
    reader = FrameReader(KEY)
    received = []
    for start in range(0, len(stream), piece):
        reader.feed(stream[start : start + piece])
        while (body := reader.next_body()) is not None:
            received.append(body)
    assert received == bodies


@given(st.binary(max_size=200), st.integers(0, 10_000), st.integers(1, 255))
def test_any_altered_byte_is_refused_or_keeps_the_frame_from_ending(body: bytes, position: int, flip: int) -> None:
    frame = bytearray(encode_frame(KEY, 0, body))
    frame[position % len(frame)] ^= flip
    try:
        assert read_all(bytes(frame)) == []
    except ProtocolError:
        return


@given(st.binary(max_size=500))
def test_garbage_is_refused_or_incomplete(data: bytes) -> None:
    try:
        assert read_all(data) == []
    except ProtocolError:
        return


def test_a_replayed_frame_is_refused() -> None:
    frame = encode_frame(KEY, 0, b"commit")
    with pytest.raises(ProtocolError, match="sequence 0, expected 1"):
        read_all(frame + frame)


def test_a_dropped_frame_is_noticed() -> None:
    with pytest.raises(ProtocolError, match="sequence 1, expected 0"):
        read_all(encode_frame(KEY, 1, b"commit"))


def test_a_frame_of_the_other_direction_is_refused() -> None:
    with pytest.raises(ProtocolError, match="not authentic"):
        read_all(encode_frame(OTHER_KEY, 0, b"commit"))


def test_an_oversized_length_is_refused_from_the_header_alone() -> None:
    header = bytearray(encode_frame(KEY, 0, b"")[:HEADER_BYTES])
    header[6:10] = (BODY_BYTES_MAX + 1).to_bytes(4, "big")
    with pytest.raises(ProtocolError, match="1048577 bytes, at most 1048576"):
        read_all(bytes(header))


@pytest.mark.parametrize(("position", "value", "message"), [(4, 2, "version 2"), (5, 1, "flags 0x01"), (0, 0, "magic")])
def test_other_versions_flags_and_protocols_are_refused(position: int, value: int, message: str) -> None:
    header = bytearray(encode_frame(KEY, 0, b"")[:HEADER_BYTES])
    header[position] = value
    with pytest.raises(ProtocolError, match=message):
        parse_header(header)


def test_a_body_too_long_is_not_sent() -> None:
    assert len(encode_frame(KEY, 0, bytes(BODY_BYTES_MAX))) == HEADER_BYTES + BODY_BYTES_MAX + MAC_BYTES
    with pytest.raises(ProtocolError, match="at most 1048576"):
        encode_frame(KEY, 0, bytes(BODY_BYTES_MAX + 1))


def test_the_layout_is_the_documented_one() -> None:
    frame = encode_frame(KEY, 5, b"{}")
    assert frame[:18] == b"SLIM" + b"\x01" + b"\x00" + b"\x00\x00\x00\x02" + b"\x00" * 7 + b"\x05"
