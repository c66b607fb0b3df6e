from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from harness.measure.statistics import (
    Estimate,
    Shift,
    bootstrap_interval,
    cliffs_delta,
    estimate,
    mann_whitney,
    shift,
    smallest_p,
)

SAMPLES = st.lists(st.integers(-20, 20).map(float), min_size=1, max_size=6)
# scipy.stats.mannwhitneyu, Examples: age at diagnosis of diabetes, of 5 young men and 4 young women.
MALES, FEMALES = [19, 22, 16, 29, 24], [20, 11, 17, 12]
# wilcox.test of R, Examples (Hollander & Wolfe 1973, p. 69): permeability of the amnion at term and earlier.
AT_TERM, EARLIER = [0.80, 0.83, 1.89, 1.04, 1.45, 1.38, 1.91, 1.64, 0.73, 1.46], [1.15, 0.88, 0.90, 0.74, 1.21]


def test_by_hand() -> None:
    # 1, 2, 3: s = 1, t(0.975, 2) = 4.3027 (tables), half width = 4.3027 / sqrt(3).
    found = estimate([1, 2, 3])
    assert found.mean == 2
    assert found.half_width == pytest.approx(4.302653 / 3**0.5, rel=1e-6)


def test_one_or_no_value_has_no_interval() -> None:
    assert estimate([4]) == Estimate(1, 4.0, None)
    assert estimate([None]) == Estimate(0, None, None)


def test_missing_values_are_left_out() -> None:
    assert estimate([1, None, 3]) == estimate([1, 3])


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=20))
def test_agrees_with_scipy(values: list[float]) -> None:
    found = estimate(values)
    error = stats.sem(values)
    assert found.mean == pytest.approx(np.mean(values), abs=1e-6)
    expected = stats.t.ppf(0.975, len(values) - 1) * error
    assert found.half_width == pytest.approx(expected, rel=1e-6, abs=1e-6)


def test_nan_and_nonsense_are_refused() -> None:
    with pytest.raises(ValueError, match="finite"):
        estimate([1.0, float("nan")])
    with pytest.raises(ValueError, match="confidence"):
        estimate([1.0], confidence=1.0)


def test_bootstrap_of_a_normal_sample_lies_near_the_student_interval() -> None:
    values = np.random.default_rng(7).normal(10, 2, 60).tolist()
    interval, student = bootstrap_interval(values), estimate(values)
    assert interval is not None
    assert student.mean is not None
    assert student.half_width is not None
    assert interval.low == pytest.approx(student.mean - student.half_width, abs=0.1)
    assert interval.high == pytest.approx(student.mean + student.half_width, abs=0.1)


def test_bootstrap_leans_towards_the_long_tail() -> None:
    values = [1.0, 1.0, 1.1, 1.2, 1.2, 1.3, 1.4, 9.0]
    interval = bootstrap_interval(values)
    assert interval is not None
    assert interval.high - np.mean(values) > 1.5 * (np.mean(values) - interval.low)


def test_bootstrap_is_repeatable_and_follows_its_seed() -> None:
    values = [3.1, 4.1, 5.9, 2.6, 5.3, 5.8]
    assert bootstrap_interval(values, seed=1) == bootstrap_interval([*values, None], seed=1)
    assert bootstrap_interval(values, seed=1) != bootstrap_interval(values, seed=2)


@pytest.mark.parametrize("values", [[], [None], [1], [1, 2], [1, 2, 4], [5, 5, 5, 5, 5]])
def test_bootstrap_of_what_resampling_cannot_widen_is_none(values: list[float | None]) -> None:
    assert bootstrap_interval(values) is None


@given(st.lists(st.floats(-1e6, 1e6), min_size=4, max_size=8), st.sampled_from(["mean", "median"]))
def test_bootstrap_stays_inside_the_range_and_is_never_nan(values: list[float], statistic: str) -> None:
    interval = bootstrap_interval(values, statistic, resamples=199)  # type: ignore[arg-type]
    if interval is not None:
        slack = 1e-9 * max(abs(value) for value in values)
        assert min(values) - slack <= interval.low <= interval.high <= max(values) + slack


def test_mann_whitney_of_published_examples() -> None:
    found = mann_whitney(FEMALES, MALES)
    assert found is not None
    assert (found.u, found.exact) == (17, True)
    assert found.p == pytest.approx(0.1111111111111111)
    found = mann_whitney(EARLIER, AT_TERM)
    assert found is not None
    assert found.u == 35
    assert found.p == pytest.approx(0.2544, abs=5e-5)


def test_mann_whitney_with_ties_by_hand() -> None:
    # {0, 0} against {0, 1}: of the 6 ways to choose two of the values 0 0 0 1 for the second sample 3 hold the 1
    # (U = 3) and 3 do not (U = 1), all equally far from 2.
    found = mann_whitney([0, 0], [0, 1])
    assert found is not None
    assert (found.u, found.p, found.exact) == (3, 1, True)
    # {0, 0, 0, 0} against {0, 1, 2, 3}: as far from U = 8 as the one seen (14) only if one sample has all three of
    # 1, 2, 3: 2 x C(5, 1) of the C(8, 4) = 70 ways.
    found = mann_whitney([0, 0, 0, 0], [0, 1, 2, 3])
    assert found is not None
    assert (found.u, found.p) == (14, pytest.approx(10 / 70))


def test_mann_whitney_of_large_samples_is_approximated() -> None:
    rng = np.random.default_rng(3)
    found = mann_whitney(rng.normal(0, 1, 60), rng.normal(1, 1, 60))
    assert found is not None
    assert not found.exact
    assert found.p < 1e-4


@given(SAMPLES, SAMPLES)
def test_exchanging_the_samples_turns_every_figure_around(a: list[float], b: list[float]) -> None:
    ab, ba = mann_whitney(a, b), mann_whitney(b, a)
    assert ab is not None
    assert ba is not None
    assert ab.u + ba.u == len(a) * len(b)
    assert ab.p == pytest.approx(ba.p)
    assert cliffs_delta(a, b) == pytest.approx(-(cliffs_delta(b, a) or 0.0))
    there, back = shift(a, b), shift(b, a)
    assert there is not None
    assert back is not None
    assert (there.low, there.high, there.estimate) == (-back.high, -back.low, -back.estimate)


@given(SAMPLES, SAMPLES)
def test_ranks_are_all_that_counts(a: list[float], b: list[float]) -> None:
    cubes = [value**3 + 5 for value in a], [value**3 + 5 for value in b]
    assert mann_whitney(*cubes) == mann_whitney(a, b)
    assert cliffs_delta(*cubes) == cliffs_delta(a, b)


@given(SAMPLES, SAMPLES, st.integers(-9, 9), st.integers(1, 5))
def test_the_shift_follows_the_scale(a: list[float], b: list[float], by: int, times: int) -> None:
    plain = shift(a, b)
    moved = shift([times * value for value in a], [times * value + by for value in b])
    assert plain is not None
    assert moved == Shift(*(times * x + by for x in (plain.estimate, plain.low, plain.high)), plain.confidence)


def test_p_never_falls_below_what_the_sizes_allow() -> None:
    assert smallest_p(3, 3) == 0.1
    assert smallest_p(4, 4) == pytest.approx(2 / 70)
    assert smallest_p(0, 5) == 1
    found = mann_whitney([1, 2, 3], [4, 5, 6])
    assert found is not None
    assert found.p == pytest.approx(smallest_p(3, 3))


def test_cliffs_delta_by_hand() -> None:
    # 6 pairs: larger in 3, equal in 1, smaller in 2.
    assert cliffs_delta([1, 4], [0, 4, 5]) == pytest.approx((3 - 2) / 6)
    assert cliffs_delta([1, 2], [3, 4]) == 1
    assert cliffs_delta([None], [1]) is None


def test_shift_of_published_example() -> None:
    # Tables: the critical value of U at 10 and 5 is 8, so the interval runs from the 9th difference to the 9th last.
    found = shift(AT_TERM, EARLIER)
    assert found is not None
    assert found.estimate == pytest.approx(-0.305)
    assert (found.low, found.high) == (pytest.approx(-0.76), pytest.approx(0.15))
    assert found.confidence >= 0.95


def test_shift_of_five_and_five_leaves_two_differences_out() -> None:
    # Tables: the critical value of U at 5 and 5 is 2, P(U <= 2) = 4 / 252.
    a, b = [0.0, 1.0, 2.0, 3.0, 4.0], [10.0, 20.0, 30.0, 40.0, 50.0]
    differences = sorted(y - x for x in a for y in b)
    assert shift(a, b) == Shift(differences[12], differences[2], differences[22], pytest.approx(1 - 8 / 252))


def test_shift_of_few_values_says_what_its_interval_is_worth() -> None:
    assert shift([1, 2, 3], [11, 12, 13]) == Shift(10, 8, 12, pytest.approx(0.9))
    assert shift([1], [3]) == Shift(2, 2, 2, 0)
    assert shift([], [3]) is None


def test_shift_covers_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(11)
    found = [shift(rng.exponential(1, 6), rng.exponential(1, 5) + 2) for _ in range(600)]
    covered = np.mean([s.low <= 2 <= s.high for s in found if s is not None])
    assert 0.93 <= covered <= 0.99


def test_many_pairs_are_approximated_close_to_the_exact_interval() -> None:
    rng = np.random.default_rng(5)
    a, b = rng.normal(0, 1, 51), rng.normal(3, 1, 51)
    approximate, exact = shift(a, b), shift(a[:50], b[:50])
    assert approximate is not None
    assert exact is not None
    assert (approximate.low, approximate.high) == (
        pytest.approx(exact.low, abs=0.15),
        pytest.approx(exact.high, abs=0.15),
    )


@pytest.mark.parametrize("function", [mann_whitney, cliffs_delta, shift])
def test_what_is_not_finite_is_refused_and_what_is_missing_left_out(function) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match="finite"):
        function([1.0], [float("inf")])
    assert function([1, None, 2], [3, None]) == function([1, 2], [3])
    assert function([None], [3]) is None
