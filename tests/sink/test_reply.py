from __future__ import annotations

import pytest

from harness.sink.reply import Refused, Rejected, Unavailable, judged, reason_of


def test_only_204_says_that_lines_are_stored():
    assert judged(204, "", None) is None
    for status in (200, 201, 202, 301, 302, 307):
        assert isinstance(judged(status, "", None), Refused), status


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, Rejected),
        (422, Rejected),
        (413, Rejected),
        (401, Refused),
        (403, Refused),
        (404, Refused),
        (429, Unavailable),
        (500, Unavailable),
        (503, Unavailable),
        (0, Unavailable),
    ],
)
def test_what_the_status_means(status, kind):
    assert type(judged(status, "why", None)) is kind


def test_the_wait_a_server_asks_for():
    def wait_s(text):
        return judged(503, "", text).retry_after_s

    assert wait_s("7") == 7.0
    assert [wait_s(text) for text in (None, "", "-1", "soon", "Fri, 31 Dec 1999 23:59:59 GMT", "\u0663")] == [None] * 6


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ('{"code":"invalid","message":"unable to parse"}', "unable to parse"),
        ('{"error":"database not found: \\"x\\""}', 'database not found: "x"'),
        (
            '{"error":"partial write","data":[{"line_number":2,"error_message":"no fields"}]}',
            "partial write: no fields",
        ),
        ("404 page\n not found", "404 page not found"),
        ('{"message":17}', "17"),
        ("[1]", "[1]"),
        ("\x1b[31mred", "?[31mred"),
        ("", ""),
    ],
)
def test_reasons_are_one_printable_line(body, reason):
    assert reason_of(body) == reason


def test_a_long_or_deep_reply_is_cut():
    assert len(reason_of("x" * 100_000)) <= 500
    assert reason_of("[" * 100_000).startswith("[[[")
