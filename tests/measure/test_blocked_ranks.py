from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from harness.measure.blocked_ranks import blocked_rank_test

VALUES = st.lists(st.integers(0, 9), min_size=2, max_size=6)


@given(st.lists(VALUES, min_size=2, max_size=4))
def test_one_block_is_kruskal_and_wallis(samples):
    values = [float(value) for sample in samples for value in sample]
    groups = [number for number, sample in enumerate(samples) for _ in sample]
    found = blocked_rank_test(values, groups, [0] * len(values))
    if len(set(values)) == 1:
        assert found is None
        return
    expected = stats.kruskal(*samples)
    assert found.statistic == pytest.approx(expected.statistic)
    assert found.p == pytest.approx(expected.pvalue)
    assert found.degrees == len(samples) - 1


@pytest.mark.parametrize("seed", range(3))
def test_one_value_of_every_group_in_every_block_is_friedman(seed):
    table = np.random.default_rng(seed).normal(size=(7, 4)) + np.arange(7)[:, None] * 100
    block, group = np.indices(table.shape)
    found = blocked_rank_test(table.ravel(), group.ravel(), block.ravel())
    expected = stats.friedmanchisquare(*table.T)
    assert found.statistic == pytest.approx(expected.statistic)
    assert found.p == pytest.approx(expected.pvalue)


def dealt(rng, shift):
    """30 blocks far apart, each with 2 to 6 values of three groups."""
    block = np.repeat(np.arange(30), rng.integers(2, 7, 30))
    group = rng.integers(0, 3, block.size)
    return rng.normal(size=block.size) + block * 50.0 + shift * (group == 1), group, block


def test_where_nothing_differs_it_is_wrong_as_often_as_it_says():
    rng = np.random.default_rng(5)
    found = [blocked_rank_test(*dealt(rng, 0.0)).p for _ in range(400)]
    assert 0.02 < np.mean(np.array(found) < 0.05) < 0.09
    assert 0.42 < np.mean(found) < 0.58


def test_a_difference_is_found_under_blocks_that_differ_by_far_more():
    rng = np.random.default_rng(6)
    values, group, block = dealt(rng, 1.0)
    assert blocked_rank_test(values, group, block).p < 0.001
    assert stats.kruskal(*(values[group == number] for number in range(3))).pvalue > 0.05


def test_blocks_of_one_group_say_nothing():
    assert blocked_rank_test([1.0, 2.0, 3.0], [0, 0, 1], [0, 0, 1]) is None
    assert blocked_rank_test([], [], []) is None
    assert blocked_rank_test([1.0, 2.0, 9.0], [0, 1, 1], [0, 0, 1]).values == 2


def test_what_is_no_sample_is_refused():
    with pytest.raises(ValueError, match="length"):
        blocked_rank_test([1.0], [0, 1], [0, 0])
    with pytest.raises(ValueError, match="finite"):
        blocked_rank_test([float("nan"), 1.0], [0, 1], [0, 0])
