from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import UsageError
from harness.record import point_file
from harness.record.lineprotocol import format_point
from harness.record.point_file import parse_point, read_points

TAGS = {"run_id": "r", "profile": "p", "mode": "none"}

printable = st.text(st.characters(categories=("L", "N", "P", "S", "Zs")), min_size=1).filter(
    lambda text: "\\" not in text and text.isprintable()
)


@given(
    tag=printable,
    text=st.text().filter(str.isprintable),
    count=st.integers(-(2**63), 2**63 - 1),
    time_ns=st.integers(-(2**63), 2**63 - 1),
)
def test_what_is_written_is_read_back(tag: str, text: str, count: int, time_ns: int) -> None:
    line = format_point("event", {**TAGS, "phase": tag}, {"text": text, "duration_ns": count}, time_ns)
    point = parse_point(line)
    assert point is not None
    assert (point.measurement, point.tags, point.time_ns) == ("event", {**TAGS, "phase": tag}, time_ns)
    assert point.fields == {"text": text, "duration_ns": count}


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_keep_their_value(value: float) -> None:
    point = parse_point(format_point("host", TAGS, {"cpu_fraction": value}, 1))
    assert point is not None
    assert point.fields == {"cpu_fraction": value}


@given(st.text())
def test_any_text_is_a_point_or_none(line: str) -> None:
    parse_point(line)


@pytest.mark.parametrize(
    "line",
    [
        "",
        "traffic",
        "traffic,run_id=r",
        "traffic,run_id=r sent_packets=1i",  # torn
        "traffic,run_id=r sent_packets=1i ",
        "traffic,run_id=r sent_packets=1 5",  # another type
        'traffic,run_id=r sent_packets="1" 5',
        "traffic,run_id=r nothing=1i 5",
        "unknown,run_id=r sent_packets=1i 5",
        "traffic,other=r sent_packets=1i 5",
        "host,run_id=r cpu_fraction=1.2.3 5",
        "traffic,run_id=r sent_packets=1i 5 6",
        'event,run_id=r text="no end 5',
        f'event,run_id=r text="{"x" * (1 << 16)}" 5',
    ],
)
def test_what_is_no_point_of_the_schema_is_refused(line: str) -> None:
    assert parse_point(line) is None


def test_a_torn_last_line_is_counted_and_the_others_are_read(tmp_path: Path) -> None:
    path = tmp_path / "points.lp"
    whole = format_point("traffic", TAGS, {"sent_packets": 1}, 5)
    path.write_text(f"{whole}\n{whole[:-4]}")
    points, refused = read_points(path)
    assert ([point.time_ns for point in points], refused) == ([5], 1)
    assert read_points(tmp_path / "missing") == ([], 0)


def test_a_file_of_another_kind_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(point_file, "MAX_FILE_BYTES", 10)
    (tmp_path / "points.lp").write_bytes(b"x" * 11)
    with pytest.raises(UsageError, match="larger than"):
        read_points(tmp_path / "points.lp")
