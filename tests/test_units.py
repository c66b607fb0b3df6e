from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.units import (
    MAX_VALUE,
    UnitError,
    format_rate,
    format_size,
    format_time,
    parse_load,
    parse_rate,
    parse_size,
    parse_time,
)

QUANTITIES = st.integers(min_value=0, max_value=MAX_VALUE)


@pytest.mark.parametrize(
    ("parse", "text", "expected"),
    [
        (parse_rate, "1Gbit", 1_000_000_000),
        (parse_rate, "600Mbit", 600_000_000),
        (parse_rate, "0.1 kbit", 100),
        (parse_rate, "9bit", 9),
        (parse_load, "600M", 600_000_000),
        (parse_load, "1.5G", 1_500_000_000),
        (parse_load, "200Mbit", 200_000_000),
        (parse_time, "2.5ms", 2_500_000),
        (parse_time, "15s", 15_000_000_000),
        (parse_time, "200us", 200_000),
        (parse_time, "0.000000001s", 1),
        (parse_time, "1min", 60_000_000_000),
        (parse_size, "20MiB", 20_971_520),
        (parse_size, "20MB", 20_000_000),
        (parse_size, "512B", 512),
        (parse_size, "0.5KiB", 512),
    ],
)
def test_parses_exactly(parse, text, expected):
    assert parse(text) == expected


@pytest.mark.parametrize(
    ("parse", "text", "reason"),
    [
        (parse_rate, "600M", "unknown unit"),
        (parse_rate, "1GBit", "unknown unit"),
        (parse_rate, "1gbit", "unknown unit"),
        (parse_rate, "5ms", "unknown unit"),
        (parse_rate, "1000", "no unit"),
        (parse_rate, 1000, "no unit"),
        (parse_rate, True, "no unit"),
        (parse_rate, None, "no unit"),
        (parse_rate, "-1Gbit", "negative"),
        (parse_rate, "nan", "not a quantity"),
        (parse_rate, "NaN Gbit", "not a quantity"),
        (parse_rate, "infGbit", "not a quantity"),
        (parse_rate, "1e9bit", "not a quantity"),
        (parse_rate, "1_000bit", "not a quantity"),
        (parse_rate, "+1Gbit", "not a quantity"),
        (parse_rate, ".5Gbit", "not a quantity"),
        (parse_rate, "1.Gbit", "not a quantity"),
        (parse_rate, "1  Gbit", "not a quantity"),
        (parse_rate, "1Gbit\n", "not a quantity"),
        (parse_rate, "\u0661Gbit", "not a quantity"),
        (parse_rate, "", "not a quantity"),
        (parse_rate, "0.5bit", "whole number of bit"),
        (parse_time, "0.1ns", "whole number of ns"),
        (parse_size, "1.0001KiB", "whole number of B"),
        (parse_size, "9223372036854775808B", "too large"),
        (parse_size, "1" * 5000 + "B", "too long"),
    ],
)
def test_refuses_and_names_the_accepted_units(parse, text, reason):
    with pytest.raises(UnitError) as caught:
        parse(text)
    message = str(caught.value)
    assert reason in message
    assert "one of" in message
    assert "\n" not in message
    assert len(message) < 250


@given(QUANTITIES)
def test_exact_formats_parse_back(value):
    assert parse_rate(format_rate(value)) == value
    assert parse_load(format_rate(value)) == value
    assert parse_time(format_time(value)) == value
    assert parse_size(format_size(value)) == value


@given(QUANTITIES, st.integers(min_value=1, max_value=6))
def test_rounded_formats_are_within_half_of_the_last_digit(value, digits):
    text = format_time(value, digits)
    number, unit = (text[: -len("ns")], "ns") if text.endswith("ns") and " " not in text else text.split(" ")
    shown = Decimal(number) * {"ns": 1, "us": 10**3, "ms": 10**6, "s": 10**9}[unit]
    assert abs(shown - value) <= Decimal(value) / 10 ** (digits - 1) / 2 + Decimal("0.5")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (format_rate(1_000_000_000), "1Gbit"),
        (format_rate(24_414), "24.414kbit"),
        (format_rate(123_456_789, 3), "123 Mbit"),
        (format_rate(999_999, 3), "1 Mbit"),
        (format_time(2_500_000), "2.5ms"),
        (format_time(90_000_000_000), "90s"),
        (format_time(12_345, 2), "12 us"),
        (format_size(20_971_520), "20MiB"),
        (format_size(20_000_000), "20MB"),
        (format_size(512), "512B"),
        (format_size(0), "0B"),
        (format_size(1_610_612_736, 3), "1.5 GiB"),
    ],
)
def test_formats(text, expected):
    assert text == expected


@given(st.text(max_size=60))
def test_any_text_parses_or_is_refused(text):
    for parse in (parse_rate, parse_load, parse_time, parse_size):
        try:
            value = parse(text)
        except UnitError:
            continue
        assert 0 <= value <= MAX_VALUE
