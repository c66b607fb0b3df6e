"""Nobach et al., Section V: Equations 1-4 and Fig. 6."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import UsageError
from harness.models import slim
from harness.models.slim import SharedLink

FIG_6 = SharedLink()
M = 1_000_000


def loaded(mbps):
    return replace(FIG_6, load_ab_bps=np.multiply(mbps, M), load_ba_bps=np.multiply(mbps, M))


def test_intercepts_of_figure_6():
    intercepts = slim.largest_load_bps(FIG_6, 0, [0.5, 1, 2, 5]) / M
    assert intercepts.tolist() == pytest.approx([200.0, 771.4, 905.9, 966.0], abs=0.05)
    duplication = slim.largest_load_bps(FIG_6, 1, [0.5, 1, 2, 5]) / M
    assert duplication.tolist() == pytest.approx((intercepts / 3).tolist())


def test_statelets_almost_triple_the_load_of_duplication():
    largest = slim.largest_load_bps(FIG_6, [0.025, 1], np.inf) / M
    assert largest.tolist() == pytest.approx([952.4, 333.3], abs=0.05)
    assert float(largest[0] / largest[1]) == pytest.approx(2.86, abs=0.005)


@pytest.mark.parametrize(("load", "time_s", "sigma"), [(500, 1, 0.2714), (300, 2, 1.0098), (800, 2, 0.0662)])
def test_largest_statelet_factor(load, time_s, sigma):
    assert float(slim.largest_statelet_factor(loaded(load), time_s)) == pytest.approx(sigma, abs=5.1e-5)


def test_remaining_capacity_is_the_scarcest_path():
    assert float(slim.remaining_capacity_bps(FIG_6)) == 700 * M
    assert float(slim.remaining_capacity_bps(replace(FIG_6, capacity_l_bps=1e9))) == 400 * M
    assert float(slim.remaining_capacity_bps(replace(FIG_6, capacity_n_bps=1e8))) == 100 * M


def test_migration_time():
    assert float(slim.migration_time(FIG_6, 0)) == pytest.approx(0.3 + 160 / 700)
    assert float(slim.migration_time(FIG_6, 1)) == pytest.approx(0.3 + 160 / 100)


@given(st.floats(1, 900), st.floats(0, 0.9))
def test_equation_4_is_equation_3_solved(load, part):
    link = loaded(load)
    sigma = part * float(slim.largest_statelet_factor(link, np.inf))
    assert float(slim.feasible(link, sigma)) == 1
    time_s = slim.migration_time(link, sigma)
    assert float(slim.largest_statelet_factor(link, time_s)) == pytest.approx(sigma, rel=1e-6, abs=1e-9)
    assert float(slim.largest_load_bps(link, sigma, time_s)) == pytest.approx(load * M, rel=1e-6)


@pytest.mark.parametrize(("path", "capacity"), [("l", 700 * M), ("m", 400 * M), ("n", 300 * M)])
def test_the_largest_load_knows_which_path_binds(path, capacity):
    link = replace(FIG_6, **{f"capacity_{path}_bps": capacity})
    load = slim.largest_load_bps(link, 0.5, 2)
    exact = replace(link, load_ab_bps=load, load_ba_bps=load)
    assert float(slim.migration_time(exact, 0.5)) == pytest.approx(2)


def test_an_infeasible_migration_is_refused_and_masked_in_grids():
    with pytest.raises(UsageError, match=r"the state must keep up: .* must be above 0 \(Eq. 2\); it is -2e\+08"):
        slim.migration_time(loaded(400), 1)
    grid = slim.migration_time(loaded([100, 400]), 1)
    assert grid.tolist() == [pytest.approx(0.3 + 160 / 700), None]
    assert slim.feasible(loaded([100, 400]), 1).tolist() == [1, 0]


def test_a_curve_of_figure_6_ends_where_the_snapshot_alone_takes_too_long():
    sigma = slim.largest_statelet_factor(loaded([199, 201]), 0.5)
    assert sigma.tolist() == [pytest.approx(1 / 398), None]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"capacity_m_bps": 0}, "capacity C_m"),
        ({"load_ab_bps": -1}, "load F_ab"),
        ({"snapshot_bytes": -1}, "snapshot size S"),
        ({"local_s": -1}, "T_B"),
    ],
)
def test_a_violated_condition_is_named(changed, message):
    with pytest.raises(UsageError, match=message):
        slim.migration_time(replace(FIG_6, **changed), 0.1)


def test_a_time_below_the_local_time_cannot_be_kept():
    with pytest.raises(UsageError, match=r"T_all in s must be above T_B, the local time; it is 0\.2"):
        slim.largest_statelet_factor(FIG_6, 0.2)
    with pytest.raises(UsageError, match="sigma"):
        slim.migration_time(FIG_6, -0.1)
    with pytest.raises(UsageError, match=r"F_ab \+ F_ba in bit/s must be a finite number above 0"):
        slim.largest_statelet_factor(loaded(0), 2)
