"""Callegati and Cerroni: figures of the text and of the reference set, and what the equations say of one another."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import UsageError
from harness.models import multi_vm, saturation
from harness.models.multi_vm import VmSet

REFERENCE = VmSet()
MB, GB = 2**20, 2**30


def printed(value, digits):
    return pytest.approx(value, abs=0.51 * 10.0**-digits)


def test_reference_set():
    assert float(multi_vm.rounds(REFERENCE, parallel=False)) == 1
    assert float(multi_vm.rounds(REFERENCE, parallel=True)) == 6
    assert multi_vm.serial_time(REFERENCE) == printed(74.349, 3)
    assert multi_vm.serial_downtime(REFERENCE) == printed(65.859, 3)
    assert multi_vm.parallel_time(REFERENCE) == printed(189.042, 3)
    assert multi_vm.parallel_downtime(REFERENCE) == printed(5.5445, 4)
    assert multi_vm.time_difference(REFERENCE) == printed(112.3812, 4)
    assert multi_vm.downtime_difference(REFERENCE) == printed(59.0989, 4)


@pytest.mark.parametrize(
    ("vms", "time_s", "downtime_s", "saturated"),
    [(4, 50.517, 1.309, 0), (9, 275.323, 6.850, 1), (12, 867.205, 89.996, 1)],
)
def test_size_of_the_set(vms, time_s, downtime_s, saturated):
    vm_set = replace(REFERENCE, vms=vms)
    assert multi_vm.parallel_time(vm_set) == printed(time_s, 3)
    assert multi_vm.parallel_downtime(vm_set) == printed(downtime_s, 3)
    assert float(saturation.saturated(vm_set)) == saturated


def test_dirtying_rate():
    assert float(multi_vm.dirtying_rate_bps(4096, 2500)) == 81.92e6
    assert float(multi_vm.dirtying_rate_bps(4000, 2500)) == 80e6


def test_parallel_downtime_stays_around_five_seconds_below_saturation():
    memory = np.arange(101, 1901) * MB
    downtime = multi_vm.parallel_downtime(replace(REFERENCE, memory_bytes=memory))
    assert float(downtime.min()) == printed(4.50, 2)
    assert float(downtime.max()) == printed(6.81, 2)


def test_thresholds_of_saturation_of_the_reference_set():
    assert saturation.largest_ratio(REFERENCE) == printed(0.0897, 4)
    assert saturation.smallest_rate_bps(REFERENCE) / 1e6 == printed(913.710, 3)
    assert saturation.smallest_threshold_bytes(REFERENCE) / MB == printed(53.17, 2)
    assert saturation.largest_memory_bytes(REFERENCE) / GB == printed(1.881, 3)
    assert float(saturation.largest_set(REFERENCE)) == 12


def test_thresholds_with_lambda_as_printed():
    rounded = replace(REFERENCE, dirty_bps=82e6)
    assert saturation.smallest_threshold_bytes(rounded) / MB == printed(53.53, 2)
    assert saturation.largest_memory_bytes(rounded) / GB == printed(1.868, 3)
    assert saturation.smallest_rate_bps(rounded) / 1e6 == printed(914.60, 2)
    assert saturation.largest_ratio(replace(REFERENCE, threshold_bytes=0.1 * GB)) == printed(0.08996, 5)
    assert float(saturation.largest_set(rounded)) == 12


def test_every_size_from_nine_on_saturates():
    assert saturation.saturated(replace(REFERENCE, vms=np.arange(1, 13))).tolist() == [0] * 8 + [1] * 4


@given(st.integers(1, 12), st.floats(1e6, 80e6), st.floats(1.05, 1000.0))
def test_saturation_is_where_the_rounds_reach_their_largest_number(vms, dirty, memory_ratio):
    vm_set = replace(REFERENCE, vms=vms, dirty_bps=dirty, memory_bytes=memory_ratio * 100 * MB)
    power = (vms * dirty / 1e9) ** 7
    if abs(power * memory_ratio - 1) > 1e-9:
        assert float(saturation.saturated(vm_set)) == (power > 1 / memory_ratio)


@pytest.mark.parametrize("vms", [1, 2, 5, 8])
def test_equations_5_to_9_are_sums_of_equation_3(vms):
    vm_set = replace(REFERENCE, vms=vms)
    for parallel in (False, True):
        last = int(multi_vm.rounds(vm_set, parallel=parallel))
        times = multi_vm.round_time(vm_set, np.arange(last + 1), parallel=parallel)
        if parallel:
            assert float(multi_vm.parallel_time(vm_set)) == pytest.approx(float(times.sum()))
            assert float(multi_vm.parallel_downtime(vm_set)) == pytest.approx(float(times[-1]) + 0.1)
        else:
            assert float(multi_vm.serial_time(vm_set)) == pytest.approx(vms * float(times.sum()))
            expected = float(times[-1]) + (vms - 1) * float(times.sum()) + 0.1
            assert float(multi_vm.serial_downtime(vm_set)) == pytest.approx(expected)


@given(st.integers(1, 10), st.floats(0, 0.099), st.floats(1.01, 100.0))
def test_differences_are_those_of_the_strategies_with_real_rounds(vms, ratio, memory_ratio):
    vm_set = VmSet(vms, memory_ratio * 1e8, 1e8, ratio * 1e9, 1e9, 0.1, 10_000)
    time_s = multi_vm.parallel_time(vm_set, "real") - multi_vm.serial_time(vm_set, "real")
    downtime_s = multi_vm.serial_downtime(vm_set, "real") - multi_vm.parallel_downtime(vm_set, "real")
    assert float(multi_vm.time_difference(vm_set)) == pytest.approx(float(time_s), rel=1e-9, abs=1e-7)
    assert float(multi_vm.downtime_difference(vm_set)) == pytest.approx(float(downtime_s), rel=1e-9, abs=1e-7)
    assert float(multi_vm.time_difference(vm_set)) >= 0 <= float(multi_vm.downtime_difference(vm_set))


def test_one_vm_is_the_same_either_way():
    one = replace(REFERENCE, vms=1)
    assert float(multi_vm.serial_time(one)) == float(multi_vm.parallel_time(one))
    assert float(multi_vm.serial_downtime(one)) == pytest.approx(float(multi_vm.parallel_downtime(one)))


def test_critical_subset_replaces_the_number_of_vms():
    critical = multi_vm.serial_downtime(REFERENCE, critical=np.arange(1, 9))
    each = [float(multi_vm.serial_downtime(replace(REFERENCE, vms=m))) for m in range(1, 9)]
    assert critical.tolist() == pytest.approx(each)
    with pytest.raises(UsageError, match="m - M must not be above 0"):
        multi_vm.serial_downtime(REFERENCE, critical=9)


def test_a_whole_number_of_rounds_is_not_rounded_up_further():
    for n in range(1, 9):
        exact = VmSet(1, 1e9, 1e9 * 0.1**n, 1e8, 1e9, 0.1, 20)
        assert float(multi_vm.rounds(exact, parallel=False)) == n


def test_without_dirtying_one_round_is_enough():
    idle = replace(REFERENCE, dirty_bps=0)
    assert float(multi_vm.rounds(idle, parallel=False)) == 1
    assert float(multi_vm.serial_time(idle)) == pytest.approx(8 * 8 * GB / 1e9)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"dirty_bps": 1e9, "vms": 1}, r"lambda = (M\*)?P\*D/R must be below 1"),
        ({"vms": 13}, r"M\*lambda = M\*P\*D/R must be below 1 .*; it is 1.06496"),
        ({"threshold_bytes": GB}, "the threshold is a part of the memory"),
        ({"memory_bytes": -1}, "memory Vm in bytes"),
        ({"dirty_bps": -1}, "dirtying rate"),
        ({"rate_bps": 0}, "channel rate R"),
        ({"resume_s": -0.1}, "resume time Tres"),
        ({"rounds_max": 0}, "nmax"),
        ({"vms": 2.5}, "number of VMs M must be a whole number"),
        ({"vms": float("nan")}, "number of VMs M"),
    ],
)
def test_a_violated_condition_is_named(changed, message):
    with pytest.raises(UsageError, match=message):
        multi_vm.parallel_time(replace(REFERENCE, **changed))


def test_a_grid_masks_what_is_not_sustainable():
    grid = multi_vm.parallel_time(replace(REFERENCE, vms=np.arange(10, 15)))
    assert [value is None for value in grid.tolist()] == [False, False, False, True, True]
    assert not multi_vm.serial_time(replace(REFERENCE, vms=np.arange(10, 15))).mask.any()
