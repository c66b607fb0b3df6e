from __future__ import annotations

import struct

from hypothesis import given
from hypothesis import strategies as st

from harness.provision.netlink import attributes, split_messages


def message(kind: int, sequence: int, body: bytes) -> bytes:
    whole = struct.pack("=IHHII", 16 + len(body), kind, 0, sequence, 0) + body
    return whole + bytes(-len(whole) % 4)


@given(st.lists(st.tuples(st.integers(0, 65535), st.integers(0, 2**32 - 1), st.binary(max_size=40)), max_size=8))
def test_splits_a_buffer_into_its_messages(parts: list[tuple[int, int, bytes]]) -> None:
    buffer = b"".join(message(*part) for part in parts)
    found = [(kind, sequence, whole[16:]) for kind, _flags, sequence, whole in split_messages(buffer)]
    assert found == parts


@given(st.lists(st.tuples(st.integers(0, 0x3FFF), st.binary(max_size=20)), max_size=8))
def test_reads_attributes_back(parts: list[tuple[int, bytes]]) -> None:
    data = b"".join(struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4) for kind, value in parts)
    assert list(attributes(b"head" + data, 4)) == parts


@given(st.binary(max_size=200))
def test_arbitrary_bytes_end_the_reading_and_never_fail(data: bytes) -> None:
    for _kind, _flags, _sequence, whole in split_messages(data):
        assert len(whole) >= 16
    for _kind, value in attributes(data, 0):
        assert len(value) <= len(data)
