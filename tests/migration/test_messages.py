"""Control messages: round trips, and that what does not fit is refused in one line."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import ProtocolError
from harness.migration.messages import (
    Aborted,
    AbortRequest,
    Closed,
    Drained,
    MigrateOutRequest,
    PrepareInRequest,
    Redirect,
    Refused,
    SourceCounts,
    StatusRequest,
    encode,
    parse_answer,
    parse_request,
)
from harness.migration.messages import DestinationCounts as Counts

PREPARE = {"type": "prepare_in", "id": 1, "epoch": 1, "mode": "statelet", "deadline_ns": 10**9}


@pytest.mark.parametrize(
    "request_",
    [
        StatusRequest(id=3),
        PrepareInRequest(id=1, epoch=2, mode="statelet", deadline_ns=5),
        MigrateOutRequest(
            id=1,
            epoch=1,
            mode="duplication",
            address="192.0.2.12",
            statelet_port=1,
            snapshot_port=65535,
            filler_bytes=0,
            filler_seed=7,
            snapshot_rate_bps=0,
            connect_deadline_ns=1,
            deadline_ns=1,
        ),
        AbortRequest(id=9, epoch=1, reason="deadline"),
    ],
)
def test_requests_survive_the_wire(request_: StatusRequest) -> None:
    assert parse_request(encode(request_)) == request_


@pytest.mark.parametrize(
    "answer",
    [
        Refused(id=1, reason="no"),
        Redirect(epoch=1, counts=Counts(statelets_installed=4)),
        Drained(epoch=1, ports_ns=(1, 2)),
        Closed(epoch=1, counts=SourceCounts(drained_ns=(3, 4))),
        Aborted(epoch=1, node="source", reason="cut", source=SourceCounts()),
    ],
)
def test_answers_survive_the_wire(answer: Refused) -> None:
    assert parse_answer(encode(answer)) == answer


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"surprise": 1}, "surprise: Extra inputs"),
        ({"epoch": 0}, "epoch: Input should be greater"),
        ({"epoch": "1"}, "epoch: Input should be a valid integer"),
        ({"epoch": 2**32}, "epoch: Input should be less"),
        ({"mode": "../x"}, "mode: String should match"),
        ({"mode": "a\n"}, "mode: String should match"),
        ({"deadline_ns": 10**18}, "deadline_ns: Input should be less"),
        ({"type": "reboot"}, "does not match any of the expected tags"),
    ],
)
def test_what_does_not_fit_is_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(ProtocolError, match=message) as caught:
        parse_request(json.dumps({**PREPARE, **change}).encode())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("body", [b"", b"null", b"[]", b"{", b"\xff", b'{"type": 1}', b"[" * 100_000])
def test_what_is_no_message_is_refused(body: bytes) -> None:
    with pytest.raises(ProtocolError):
        parse_request(body)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from([*PREPARE, "reason", "counts"]), JSON))
def test_any_object_parses_or_is_refused(content: dict[str, object]) -> None:
    body = json.dumps({"type": "prepare_in", **content}).encode()
    for parse in (parse_request, parse_answer):
        try:
            parse(body)
        except ProtocolError:
            continue


@given(st.binary(max_size=100))
def test_any_bytes_parse_or_are_refused(body: bytes) -> None:
    for parse in (parse_request, parse_answer):
        with pytest.raises(ProtocolError):
            parse(body)
