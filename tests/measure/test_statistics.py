from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from harness.measure.statistics import Estimate, estimate


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
