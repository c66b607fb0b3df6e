from __future__ import annotations

import pytest

from harness.sweep.model import StopRule
from harness.sweep.stop import enough

RULE = StopRule(metric="window.loss_s", half_width=0.1, minimum_repetitions=3)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], False),
        ([1.0, 1.0], False),
        ([1.0, 1.0, 1.0], True),
        ([1.0, None, 1.0], False),
        # Three values one apart: t(0.975, 2) = 4.303 x s / sqrt(3).
        ([0.0, 1.0, 2.0], False),
        # s = 0.04, half width 4.303 x 0.04 / 1.732 = 0.0994; with s = 0.041 it is 0.1019.
        ([1.0 - 0.04, 1.0, 1.0 + 0.04], True),
        ([1.0 - 0.041, 1.0, 1.0 + 0.041], False),
    ],
)
def test_enough(values, expected):
    assert enough(RULE, values) is expected
