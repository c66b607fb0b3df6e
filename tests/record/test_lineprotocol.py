from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.measure.series import SERIES_EDGES_NS, traffic_columns, traffic_series
from harness.record.lineprotocol import format_columns, format_point
from harness.record.schema import RTT_EDGES_US, SCHEMA

TAGS = {"run_id": "abc", "profile": "nat", "mode": "statelet"}


def parse(line: str) -> tuple[str, dict[str, str], dict[str, str], int]:
    """A second reading of the reference's grammar, character by character."""
    assert "\n" not in line

    def split(text: str, separators: str, quotes: bool) -> list[str]:
        parts, part, quoted, i = [], "", False, 0
        while i < len(text):
            c = text[i]
            if c == "\\" and i + 1 < len(text):
                part += text[i : i + 2]
                i += 2
                continue
            if c == '"' and quotes:
                quoted = not quoted
            if c in separators and not quoted:
                parts.append(part)
                part = ""
            else:
                part += c
            i += 1
        return [*parts, part]

    # Quotes mean nothing before the first space that is not escaped.
    head = split(line, " ", quotes=False)[0]
    body, stamp = split(line[len(head) + 1 :], " ", quotes=True)
    name, *tags = split(head, ",", quotes=False)
    tag_pairs = dict(split(tag, "=", quotes=False) for tag in tags)
    fields = dict(split(field, "=", quotes=True) for field in split(body, ",", quotes=True))
    return name, {k: re.sub(r"\\([,= ])", r"\1", v) for k, v in tag_pairs.items()}, fields, int(stamp)


def test_by_hand() -> None:
    line = format_point(
        "event",
        {"run_id": "a b", "profile": "x,y", "mode": "m=1", "phase": None},
        {"text": 'said "no\\yes"\nthen, left', "duration_ns": 7},
        123,
    )
    assert line == (r'event,mode=m\=1,profile=x\,y,run_id=a\ b text="said \"no\\yes\"\\nthen, left",duration_ns=7i 123')


@given(
    st.text(min_size=1).filter(lambda text: text.isprintable() and "\\" not in text),
    st.text(),
    st.integers(-(1 << 63), (1 << 63) - 1),
)
def test_any_text_stays_in_its_place(tag: str, text: str, number: int) -> None:
    line = format_point("event", {"run_id": "r", "phase": tag}, {"text": text, "duration_ns": number}, 5)
    assert len(line.splitlines()) == 1
    name, tags, fields, stamp = parse(line)
    assert (name, stamp, set(tags), set(fields)) == ("event", 5, {"run_id", "phase"}, {"text", "duration_ns"})
    assert fields["duration_ns"] == f"{number}i"
    assert tags["phase"] == tag
    if text.isprintable():
        assert re.sub(r'\\(["\\])', r"\1", fields["text"][1:-1]) == text


@pytest.mark.parametrize(
    ("measurement", "tags", "fields", "time_ns"),
    [
        ("nothing", {}, {"x": 1}, 0),
        ("queue", {"colour": "red"}, {"depth_packets": 1}, 0),
        ("queue", {"node": ""}, {"depth_packets": 1}, 0),
        ("queue", {"node": "a\\"}, {"depth_packets": 1}, 0),
        ("queue", {"node": "a\nb"}, {"depth_packets": 1}, 0),
        ("queue", {}, {"depth": 1}, 0),
        ("queue", {}, {"depth_packets": 1.0}, 0),
        ("queue", {}, {"depth_packets": True}, 0),
        ("queue", {}, {"depth_packets": 1 << 63}, 0),
        ("queue", {}, {"depth_packets": None}, 0),
        ("queue", {}, {}, 0),
        ("queue", {}, {"depth_packets": 1}, 1.5),
        ("host", {}, {"cpu_fraction": float("nan")}, 0),
        ("host", {}, {"cpu_fraction": float("inf")}, 0),
        ("host", {}, {"cpu_fraction": "1"}, 0),
        ("event", {}, {"text": 1}, 0),
    ],
)
def test_what_cannot_be_written_is_refused(measurement, tags, fields, time_ns) -> None:
    with pytest.raises(ValueError, match=measurement):
        format_point(measurement, tags, fields, time_ns)
    if any(value is not None for value in fields.values()):
        with pytest.raises(ValueError, match=measurement):
            format_columns(measurement, tags, {k: [v] for k, v in fields.items()}, [time_ns])
    else:
        assert format_columns(measurement, tags, {k: [v] for k, v in fields.items()}, [time_ns]) == []


host_rows = st.lists(
    st.tuples(
        st.one_of(st.none(), st.floats(allow_nan=False, allow_infinity=False)),
        st.one_of(st.none(), st.integers(-(1 << 63), (1 << 63) - 1)),
        st.integers(0, 1 << 62),
    ),
    max_size=20,
)


@given(host_rows)
def test_columns_write_the_same_lines_as_points(rows) -> None:
    fractions, sizes, times = ([row[i] for row in rows] for i in range(3))
    lines = format_columns("host", TAGS, {"cpu_fraction": fractions, "resident_bytes": sizes}, times)
    expected = [
        format_point("host", TAGS, {"cpu_fraction": fraction, "resident_bytes": size}, time)
        for fraction, size, time in rows
        if fraction is not None or size is not None
    ]
    assert lines == expected


def test_numpy_columns_and_percent_signs() -> None:
    lines = format_columns(
        "host",
        {"process": "50%d"},
        {"cpu_fraction": np.array([0.5]), "resident_bytes": np.array([7], np.uint32)},
        np.array([9]),
    )
    assert lines == ["host,process=50%d cpu_fraction=0.5,resident_bytes=7i 9"]


def test_integers_in_a_float_column_are_written_as_floats() -> None:
    assert format_columns("host", {}, {"cpu_fraction": [1, 0.5]}, [1, 2]) == [
        "host cpu_fraction=1.0 1",
        "host cpu_fraction=0.5 2",
    ]


@pytest.mark.parametrize(
    "columns",
    [
        {"cpu_fraction": [1.0, float("nan")], "resident_bytes": [1, 2]},
        {"cpu_fraction": [1.0, 2.0], "resident_bytes": [1, 2.0]},
        {"cpu_fraction": [1.0], "resident_bytes": [1, 2]},
        {"cpu_fraction": [1.0, 2.0], "resident_bytes": [1, 1 << 63]},
    ],
)
def test_bad_columns_are_refused(columns) -> None:
    with pytest.raises(ValueError, match="host"):
        format_columns("host", {}, columns, [1, 2])


def test_missing_time_is_refused() -> None:
    with pytest.raises(ValueError, match="timestamp"):
        format_columns("host", {}, {"resident_bytes": [1]}, [None])


def test_traffic_series_fits_the_schema() -> None:
    from harness.measure.packets import PacketRecords

    n = np.arange(1, 5, dtype=np.int64) * 100_000_000
    none = np.zeros(0, np.int64)
    received = np.where(n == 200_000_000, 0, n + 10_000_000)
    records = PacketRecords(
        intended_ns=n,
        sent_ns=n,
        received_ns=received,
        flow=np.zeros(4, np.uint32),
        frame_bytes=np.full(4, 512, np.uint16),
        duplicates=np.zeros(4, np.uint16),
        flow_reordered=np.zeros(1, np.uint32),
        server_received_ns=none,
        server_duplicates=np.zeros(0, np.uint16),
        flow_external_ip=np.zeros(1, np.uint32),
        flow_external_port=np.zeros(1, np.uint16),
        flow_mapping_changes=np.zeros(1, np.uint32),
        flow_packets=np.zeros(1, np.uint64),
        server_sent_ns=none,
        server_intended_ns=none,
        server_flow=np.zeros(0, np.uint32),
    )
    series = traffic_series(records)
    columns = traffic_columns(series, 512)
    assert set(columns) == {field.name for field in SCHEMA["traffic"].fields}
    assert [edge * 1000 for edge in RTT_EDGES_US] == list(SERIES_EDGES_NS)
    lines = format_columns("traffic", TAGS, columns, series.start_ns)
    assert len(lines) == 4
    _, _, lossy, stamp = parse(lines[1])
    assert (lossy["lost_packets"], stamp) == ("1i", 200_000_000)
    assert "rtt_p50_ns" not in lossy
    assert parse(lines[0])[2]["rtt_le_10000us"] == "1i"
    # One request of 512 bytes and its reply in 100 ms.
    assert float(lossy["offered_bps"]) == 2 * 512 * 8 * 10
    assert sum(columns["received_bps"]) == 3 * 2 * 512 * 8 * 10


def test_schema_is_consistent() -> None:
    for name, measurement in SCHEMA.items():
        names = [field.name for field in measurement.fields]
        assert measurement.name == name
        assert len(names) == len(set(names))
        assert {"run_id", "profile", "mode"} <= set(measurement.tags)
        for suffix, unit in (("_ns", "ns"), ("_bytes", "bytes"), ("_packets", "packets"), ("_bps", "bit/s")):
            assert all(field.unit == unit for field in measurement.fields if field.name.endswith(suffix)), name
