from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import ProtocolError
from harness.remote import frames
from harness.remote.frames import FrameReader, pack

messages = st.dictionaries(st.text(max_size=8), st.integers() | st.text(max_size=20) | st.booleans(), max_size=4)


@given(st.lists(messages, max_size=5), st.integers(1, 7))
def test_messages_arrive_whole_however_they_are_cut(sent, size):
    data, reader, received = b"".join(map(pack, sent)), FrameReader(), []
    for at in range(0, len(data), size):
        reader.feed(data[at : at + size])
        while (message := reader.next_message()) is not None:
            received.append(message)
    assert received == sent
    assert reader.is_between


@given(st.binary(max_size=64))
def test_bytes_of_anyone_are_messages_or_refused(data):
    reader = FrameReader()
    reader.feed(data)
    with contextlib.suppress(ProtocolError):
        while reader.next_message() is not None:
            pass


@pytest.mark.parametrize("body", [b"[]", b"1", b"{", b"\xff", b"[" * 100_000])
def test_a_frame_that_is_no_object_is_refused(body):
    reader = FrameReader()
    reader.feed(len(body).to_bytes(4, "big") + body)
    with pytest.raises(ProtocolError, match="no JSON object"):
        reader.next_message()


def test_a_length_nobody_would_send_is_refused_before_it_is_waited_for():
    reader = FrameReader()
    reader.feed(b"\x7f\xff\xff\xff")
    with pytest.raises(ProtocolError, match="at most"):
        reader.next_message()


def test_what_cannot_be_sent_is_refused(monkeypatch):
    with pytest.raises(ProtocolError):
        pack({"x": float("nan")})
    with pytest.raises(ProtocolError):
        pack({"x": object()})
    monkeypatch.setattr(frames, "BODY_BYTES_MAX", 10)
    with pytest.raises(ProtocolError, match="at most 10"):
        pack({"x": "y" * 20})
