from __future__ import annotations

import math

import numpy as np
import pytest

from harness.errors import UsageError
from harness.models.domain import array, below, check, masked, not_negative, positive, whole


def test_a_scalar_that_breaks_a_condition_is_refused_with_its_value():
    with pytest.raises(UsageError, match=r"rate R must be a finite number above 0; it is -3$"):
        check([positive(array(-3), "rate R")])


def test_cells_that_break_a_condition_are_left_out():
    valid = check([positive(array([1.0, 0.0, 2.0]), "x"), below(array([[1.0], [9.0]]), 5, "y must be below 5")])
    assert valid.tolist() == [[True, False, True], [False, False, False]]


def test_a_grid_without_a_valid_cell_is_refused():
    with pytest.raises(UsageError, match=r"y must be below 5; it is 7$"):
        check([positive(array([1.0, 2.0]), "x"), below(array([7.0, 8.0]), 5, "y must be below 5")])


def test_cells_may_break_different_conditions():
    with pytest.raises(UsageError, match=r"x must be .* above 0; it is -1$"):
        check([positive(array([-1.0, 2.0]), "x"), below(array([1.0, 8.0]), 5, "y must be below 5")])


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, -1.0])
def test_no_condition_takes_what_is_no_finite_number(bad):
    for condition in (positive, not_negative, whole):
        assert not condition(array(bad), "x").holds


def test_whole_numbers():
    assert whole(array([1, 2.5, 0, 3]), "M").holds.tolist() == [True, False, False, True]


@pytest.mark.parametrize("bad", ["many", [[1.0], [1.0, 2.0]], object()])
def test_what_is_no_number_is_refused(bad):
    with pytest.raises(UsageError, match="not a number"):
        array(bad)


def test_masked_cells_hold_no_number():
    result = masked(array([1.0, 2.0]), np.array([True, False]))
    assert result.tolist() == [1.0, None]
    assert math.isnan(result.data[1])
    assert float(masked(array(4.0), np.asarray(True))) == 4.0


def test_an_empty_grid_is_an_empty_result():
    empty = array([])
    assert masked(empty, check([positive(empty, "x")])).tolist() == []
