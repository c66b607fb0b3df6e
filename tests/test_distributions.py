from __future__ import annotations

import numpy as np
import pytest

from harness.distributions import quantile_table


@pytest.mark.parametrize(
    ("distribution", "entries"),
    [
        # Read from what tc 6.1.0 sends for "netem delay 10ms 1ms distribution ...".
        ("normal", {0: -32768, 1: -28307, 2: -26871, 4095: 28858}),
        ("pareto", {0: -5461, 1: -5460, 2: -5460, 4095: 32767}),
        ("paretonormal", {0: -12305, 1: -11171, 2: -10812, 4095: 31789}),
    ],
)
def test_tables_are_those_of_tc(distribution: str, entries: dict[int, int]) -> None:
    table = quantile_table(distribution)
    assert (table.dtype, table.shape) == (np.dtype(np.int16), (4096,))
    assert all(abs(int(table[index]) - value) <= 1 for index, value in entries.items())
    assert (np.diff(table.astype(int)) >= 0).all()


def test_uniform_fills_its_half_width_evenly() -> None:
    table = quantile_table("uniform").astype(int)
    assert (table.min(), table.max()) == (-8190, 8190)
    assert set(np.diff(table)) == {4}


def test_normal_has_mean_0_and_standard_deviation_1() -> None:
    values = quantile_table("normal") / 8192
    assert abs(values.mean()) < 0.001
    assert values.std() == pytest.approx(1, abs=0.001)


def test_a_table_cannot_be_changed_by_who_asked_for_it() -> None:
    with pytest.raises(ValueError, match="read-only"):
        quantile_table("normal")[0] = 0
    with pytest.raises(KeyError):
        quantile_table("cauchy")
