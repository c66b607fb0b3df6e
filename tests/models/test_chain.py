"""The service chain paper: printed times, values of the reconstructed equations, and how the strategies compare."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import UsageError
from harness.models import chain as model
from harness.models.chain import Chain

CHAIN = Chain()
LESS_COPIED = replace(CHAIN, copied_fraction=0.7)
EVERY_M = np.arange(1, 6)

CHAINS = st.builds(
    Chain,
    vms=st.integers(2, 12),
    memory_bytes=st.floats(2e8, 1e10),
    dirty_bps=st.floats(1e6, 80e6),
    rounds_max=st.just(10_000),
    copied_fraction=st.floats(0.51, 1.0),
)


def test_times_of_every_m_with_real_and_with_whole_rounds():
    real = [40.626, 42.743, 46.821, 53.553, 64.000]
    whole = [40.640, 42.970, 47.142, 54.565, 64.960]
    assert model.mixed_time(CHAIN, EVERY_M).tolist() == pytest.approx(real, abs=5.1e-4)
    assert model.mixed_time(CHAIN, EVERY_M, "ceil").tolist() == pytest.approx(whole, abs=5.1e-4)


def test_the_printed_times_are_real_ones_except_that_of_one_vnf():
    printed = np.array([40.64, 42.74, 46.82, 53.55, 64])
    real = np.abs(model.mixed_time(CHAIN, EVERY_M) - printed) < 0.0051
    assert real.tolist() == [False, True, True, True, True]
    assert float(model.mixed_time(CHAIN, 1, "ceil")) == pytest.approx(40.64)


def test_page_size_4096_does_not_reproduce_the_printed_times():
    assert abs(float(model.mixed_time(replace(CHAIN, dirty_bps=8 * 4096 * 2500), 4)) - 53.55) > 0.1


def test_downtimes_and_differences():
    assert model.mixed_downtime(CHAIN, EVERY_M).tolist() == pytest.approx([32.9, 25.7, 18.5, 11.3, 4.1])
    assert float(model.serial_time(CHAIN)) == pytest.approx(43.1304, abs=5e-5)
    assert float(model.serial_downtime(CHAIN)) == pytest.approx(35.4043, abs=5e-5)
    assert float(model.gain_over_serial(CHAIN)) == pytest.approx(2.50435, abs=5e-6)
    assert float(model.gain_over_parallel(CHAIN)) == pytest.approx(23.3739, abs=5e-5)
    assert float(model.downtime_over_parallel(CHAIN)) == pytest.approx(28.8)


def test_with_less_to_copy():
    times = [31.026, 35.543, 42.021, 51.153, 64]
    assert model.mixed_time(LESS_COPIED, EVERY_M).tolist() == pytest.approx(times, abs=5.1e-4)
    assert model.mixed_downtime(LESS_COPIED, EVERY_M).tolist() == pytest.approx([23.3, 18.5, 13.7, 8.9, 4.1])
    assert float(model.gain_over_serial(LESS_COPIED)) == pytest.approx(12.1043, abs=5e-5)
    assert float(model.gain_over_parallel(LESS_COPIED)) == pytest.approx(32.9739, abs=5e-5)
    assert float(model.downtime_over_parallel(LESS_COPIED)) == pytest.approx(19.2)


def test_the_ends_of_the_mixed_strategy_are_improved_serial_and_parallel():
    for rounding in ("real", "ceil"):
        assert float(model.mixed_time(CHAIN, 5, rounding)) == pytest.approx(float(model.parallel_time(CHAIN, rounding)))
        downtime = float(model.parallel_downtime(CHAIN, rounding))
        assert float(model.mixed_downtime(CHAIN, 5, rounding)) == pytest.approx(downtime)
        assert model.improved_serial_time(CHAIN, rounding) == model.mixed_time(CHAIN, 1, rounding)
        assert model.improved_serial_downtime(CHAIN, rounding) == model.mixed_downtime(CHAIN, 1, rounding)


def test_postcopy_moves_its_part_of_the_memory():
    assert float(model.postcopy_time(CHAIN)) == 8.0
    assert float(model.postcopy_time(LESS_COPIED)) == pytest.approx(5.6)


@given(CHAINS)
def test_differences_are_those_of_the_strategies(chain):
    def near(value):
        return pytest.approx(float(value), rel=1e-9, abs=1e-7)

    serial, improved, parallel = model.serial_time(chain), model.improved_serial_time(chain), model.parallel_time(chain)
    assert float(model.gain_over_serial(chain)) == near(serial - improved)
    assert float(model.gain_over_serial(chain)) == near(
        model.serial_downtime(chain) - model.improved_serial_downtime(chain)
    )
    assert float(model.gain_over_parallel(chain)) == near(parallel - improved)
    difference = model.improved_serial_downtime(chain) - model.parallel_downtime(chain)
    assert float(model.downtime_over_parallel(chain)) == near(difference)


@given(CHAINS)
def test_time_grows_and_downtime_falls_with_m(chain):
    """Eq. 17 and 18."""
    m = np.arange(1, int(chain.vms) + 1)
    assert (np.diff(model.mixed_downtime(chain, m)) < 0).all()
    full = replace(chain, copied_fraction=1.0)
    assert (np.diff(model.mixed_time(full, m)) > 0).all()


@given(CHAINS, st.data())
def test_m_for_a_downtime_is_the_inverse(chain, data):
    m = data.draw(st.integers(1, int(chain.vms)))
    needed = model.required_parallel_vms(chain, model.mixed_downtime(chain, m))
    assert float(needed) == pytest.approx(m, rel=1e-6)
    assert float(model.smallest_integer(needed)) == m


def test_m_for_a_downtime_keeps_it():
    limits = np.linspace(4.1, 32.9, 200)
    m = model.smallest_integer(model.required_parallel_vms(CHAIN, limits))
    assert (model.mixed_downtime(CHAIN, m) <= limits + 1e-9).all()
    fewer = np.maximum(m - 1, 1)
    assert (model.mixed_downtime(CHAIN, fewer)[m > 1] > limits[m > 1] - 1e-9).all()


@pytest.mark.parametrize(
    ("downtime_s", "message"),
    [(4.0, r"below that of parallel migration, DM = 4.1 s; it is 4$"), (33.0, r"above that of m = 1, D1 = 32.9 s")],
)
def test_downtimes_out_of_reach_are_named(downtime_s, message):
    with pytest.raises(UsageError, match=message):
        model.required_parallel_vms(CHAIN, downtime_s)


def test_mean_service_time_weighs_the_strategies():
    assert float(model.mean_service_time(CHAIN, [0, 0, 0, 0, 1])) == pytest.approx(64)
    assert float(model.mean_service_time(CHAIN, [0.5, 0, 0, 0, 0.5])) == pytest.approx((40.62609 + 64) / 2, abs=1e-5)
    with pytest.raises(UsageError, match="sum to 1"):
        model.mean_service_time(CHAIN, [0.5] * 5)
    with pytest.raises(UsageError, match="one probability beta_m for each m"):
        model.mean_service_time(CHAIN, [1.0])


@pytest.mark.parametrize(
    ("changed", "m", "message"),
    [
        ({"copied_fraction": 0.1}, 2, "alpha, .* above Vth/Vm and at most 1; it is 0.1"),
        ({"copied_fraction": 1.1}, 2, "alpha"),
        ({}, 6, "m of the M VNFs"),
        ({}, 0, "number m of VNFs in parallel"),
        ({"dirty_bps": 5e8}, 2, r"m\*lambda = m\*P\*D/R must be below 1"),
    ],
)
def test_a_violated_condition_is_named(changed, m, message):
    with pytest.raises(UsageError, match=message):
        model.mixed_time(replace(CHAIN, **changed), m)


def test_a_grid_masks_what_is_not_defined():
    times = model.mixed_time(replace(CHAIN, dirty_bps=2.5e8), EVERY_M)
    assert [value is None for value in times.tolist()] == [False, False, False, True, True]
