from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import UsageError
from harness.report.compare import Quantity, compare, parse_limit
from harness.report.compare_table import interval_lines

LOSS = Quantity("window.loss_s", "seconds of loss", "s", "lower", 4)
RATE = Quantity("round_trips", "round trips", "1/s", "higher", 0, "median")
SIX = [1.0, 1.1, 1.2, 1.3, 1.4, 1.5]


def raised(values: list[float], by: float) -> list[float]:
    return [value + by for value in values]


@pytest.mark.parametrize(
    ("quantity", "by", "verdict"), [(LOSS, 1, "worse"), (LOSS, -1, "better"), (RATE, 1, "better"), (RATE, -1, "worse")]
)
def test_the_verdict_follows_the_direction_of_the_figure(quantity: Quantity, by: float, verdict: str) -> None:
    row = compare("", quantity, SIX, raised(SIX, by))
    assert row.verdict == verdict
    assert row.difference == pytest.approx(by)
    assert row.delta == by
    assert not row.breach


def test_samples_that_overlap_show_no_difference() -> None:
    row = compare("", LOSS, SIX, [1.05, 1.15, 1.16, 1.33, 1.42, 1.44])
    assert row.verdict == "no difference shown"
    assert row.shift is not None
    assert row.shift.low < 0 < row.shift.high


def test_difference_and_relative_are_of_means_and_of_medians_for_a_bench() -> None:
    assert compare("", LOSS, [1, 1, 4], [1, 1, 7]).relative == pytest.approx(0.5)
    assert compare("", RATE, [1, 1, 4], [1, 1, 7]).difference == 0


def test_nothing_is_relative_to_zero() -> None:
    row = compare("", LOSS, [0], [0.5])
    assert (row.difference, row.relative) == (0.5, None)


@pytest.mark.parametrize(("a", "b"), [([1], [2]), ([1, 2, 3], [4, 5, 6]), ([1, 2], [3, 4, 5, 6])])
def test_few_repetitions_are_never_called_better_or_worse(a: list[float], b: list[float]) -> None:
    row = compare("", LOSS, a, b)
    assert row.verdict == "too few repetitions"
    assert row.note


def test_skewed_figures_have_both_intervals_of_each_side() -> None:
    zeroes = [0.0, 0.0, 0.5, 0.0, 0.0, 0.0]
    row = compare("", replace(LOSS, is_skewed=True), zeroes, raised(SIX, 1))
    assert row.a_bca is not None
    assert row.a_student_t is not None
    assert row.a_bca.low >= 0 > row.a_centre - row.a_student_t
    assert row.b_bca is not None
    assert 2 < row.b_bca.low < row.b_bca.high < 2.5
    assert [title.strip() for title, _, _ in interval_lines(row)] == ["Student t, 95 %", "BCa, 95 %"]
    assert compare("", replace(LOSS, is_skewed=True), zeroes, raised(SIX, 1)) == row  # seeded
    for plain in (compare("", LOSS, zeroes, SIX), compare("", replace(LOSS, is_skewed=True), SIX[:4], SIX[:4])):
        assert (plain.a_bca, plain.b_bca) == (None, None)
        assert list(interval_lines(plain)) == []


def test_what_one_side_did_not_measure_is_said() -> None:
    row = compare("", LOSS, [None, 1.0], [None])
    assert (row.verdict, row.note, row.a_centre, row.b_centre) == ("not measured", "in B", 1.0, None)


@pytest.mark.parametrize(
    ("b", "limit", "breach"),
    [
        (raised(SIX, 0.5), "5%", True),
        (raised(SIX, 0.5), "100ms", True),
        (raised(SIX, 0.5), "60%", False),
        (raised(SIX, -0.5), "5%", False),
        ([1.0, 1.1, 1.2, 1.3, 1.4, 9.0], "5%", False),
        (raised(SIX, 0.5), "100kB", False),
    ],
)
def test_a_breach_needs_the_whole_interval_beyond_the_limit(b: list[float], limit: str, breach: bool) -> None:
    assert compare("", LOSS, SIX, b, parse_limit(limit)).breach is breach


def test_a_higher_rate_is_no_breach_and_a_lower_one_is() -> None:
    limit = parse_limit("10%")
    assert compare("", RATE, raised(SIX, 1), SIX, limit).breach
    assert not compare("", RATE, SIX, raised(SIX, 1), limit).breach


def test_a_limit_holds_for_single_runs_and_for_few() -> None:
    limit = parse_limit("0.1s")
    single = compare("", LOSS, [0.5], [0.7], limit)
    assert single.breach
    assert "plain difference" in single.note
    few = compare("", LOSS, [0.5, 0.52, 0.54], [0.9, 0.92, 0.94], limit)
    assert few.breach
    assert "90%" in few.note
    assert not compare("", LOSS, [0.5, 0.52, 0.54], [0.6, 0.92, 0.94], limit).breach


def test_any_worsening_from_zero_is_beyond_a_share() -> None:
    assert compare("", LOSS, [0.0] * 5, [0.1, 0.2, 0.1, 0.2, 0.3], parse_limit("5%")).breach
    assert not compare("", LOSS, [0.0] * 5, [0.0, 0.0, 0.0, 0.2, 0.3], parse_limit("5%")).breach


@pytest.mark.parametrize(
    ("text", "unit", "allowed"),
    [
        ("5%", "MB", 10),
        ("0.1s", "s", 0.1),
        ("5ms", "ms", 5),
        ("5ms", "ns", 5e6),
        ("1MB", "MB", 1),
        ("64KiB", "bytes", 65536),
        ("100packets", "packets", 100),
        ("1s", "MB", None),
        ("1MB", "s", None),
        ("1packets", "s", None),
    ],
)
def test_limits_in_their_units(text: str, unit: str, allowed: float | None) -> None:
    found = parse_limit(text).allowed(unit, -200)
    assert found == (None if allowed is None else pytest.approx(allowed))


@given(st.text(alphabet="0123456789.%-+eniasMBpcktb ", max_size=60))
def test_any_text_is_a_limit_or_refused_in_one_line(text: str) -> None:
    refusal = ""
    try:
        assert parse_limit(text).value >= 0
    except UsageError as error:
        refusal = str(error)
    assert "\n" not in refusal
    assert not refusal or "5%" in refusal


@pytest.mark.parametrize("text", ["", "5", "-5%", "5 %%", "%", "1e9s", "nan%", "packets", "9" * 50 + "%"])
def test_nonsense_is_no_limit(text: str) -> None:
    with pytest.raises(UsageError, match="--limit"):
        parse_limit(text)
