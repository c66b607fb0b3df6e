from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from loadgen.frame_sizes import frame_sizes
from loadgen.randomness import FRAME_SIZES, SERVER_FRAME_SIZES
from loadgen.workload import Workload

IMIX = ((74, 7), (590, 4), (1514, 1))
S = 1_000_000_000


def sizes(count, seed=1, purpose=FRAME_SIZES, mix=IMIX):
    return frame_sizes(Workload(1_000, S, 1, 366, frame_mix=mix, seed=seed), count, purpose)


@pytest.mark.parametrize("count", [0, 1, 11, 12, 12_000, 12_007])
def test_shares_are_exact_to_the_packet(count):
    found = sizes(count)
    assert (found.dtype, found.size) == (np.uint16, count)
    for size, share in IMIX:
        assert abs(np.count_nonzero(found == size) - count * share / 12) < 1
    if count % 12 == 0:
        assert found.sum(dtype=np.int64) == 366 * count


def test_order_is_random_and_the_seeds():
    found = sizes(12_000)
    np.testing.assert_array_equal(found, sizes(12_000))
    assert not np.array_equal(found, sizes(12_000, seed=2))
    assert not np.array_equal(found, sizes(12_000, purpose=SERVER_FRAME_SIZES))
    # A frame's size says nothing of the next one's: each pair as often as its shares make it.
    small, medium = found == 74, found == 590
    for first in (small, medium):
        followed = [np.count_nonzero(first[:-1] & (found[1:] == size)) for size, _ in IMIX]
        expected = [np.count_nonzero(first[:-1]) * share / 12 for _, share in IMIX]
        assert stats.chisquare(followed, np.array(expected) * sum(followed) / sum(expected)).pvalue > 0.01


def test_without_a_mix_every_frame_has_the_one_size():
    assert sizes(5, mix=()).tolist() == [366] * 5
