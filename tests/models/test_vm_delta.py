"""Nobach et al., Section V-A and Fig. 7: the optimistic model of delta-based VM migration."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from harness.errors import UsageError
from harness.models import vm_delta
from harness.models.vm_delta import DeltaVm

M = 1_000_000
LOADS = np.array([400, 450, 500, 800]) * M


def test_last_round():
    vm = DeltaVm(load_bps=LOADS)
    assert vm_delta.downtime(vm).tolist() == pytest.approx([0.0477, 0.268, 1.468, 3.670], abs=5.1e-4)


def test_last_round_with_the_dataplane_off():
    vm = DeltaVm(load_bps=np.array([500, 700, 999]) * M)
    assert vm_delta.downtime(vm, paused=True).tolist() == pytest.approx([0.734] * 3, abs=5.1e-4)


def test_all_rounds_at_the_kink():
    """m_0 is not printed: 1 GiB is assumed, which only the total depends on."""
    vm = DeltaVm(load_bps=500 * M)
    assert float(vm_delta.migration_time(vm)) == pytest.approx(30.39, abs=5.1e-3)
    larger = replace(vm, memory_bytes=2**31)
    assert float(vm_delta.downtime(larger)) == float(vm_delta.downtime(vm))
    assert float(vm_delta.migration_time(larger)) - float(vm_delta.migration_time(vm)) == pytest.approx(8 * 2**30 / 5e8)


def test_ring_buffer():
    assert float(vm_delta.ring_bits(DeltaVm())) / M == pytest.approx(734.0, abs=0.05)
    assert float(vm_delta.wrap_load_bps(DeltaVm())) == 500 * M


def test_the_closed_form_where_the_ring_binds_from_the_first_round():
    load = np.linspace(100, 990, 300) * M
    ring, left = float(vm_delta.ring_bits(DeltaVm())), 1e9 - load
    binds = load * 8 * 2**30 / left >= ring
    expected = ring / left * np.minimum(1, load / left) ** 8
    assert vm_delta.downtime(DeltaVm(load_bps=load))[binds].tolist() == pytest.approx(expected[binds].tolist())
    assert binds.sum() > 250


def test_by_hand():
    """1000 bit over 100 bit/s of which 50 are load: 20 s, then 1000 bit dirty again, or the ring's 400."""
    vm = DeltaVm(50, 100, 125, 50, 1, 3)
    assert float(vm_delta.migration_time(vm)) == pytest.approx(20 + 8 + 8)
    assert float(vm_delta.downtime(vm)) == pytest.approx(8)
    assert float(vm_delta.migration_time(vm, paused=True)) == pytest.approx(20 + 8 + 4)
    assert float(vm_delta.migration_time(replace(vm, rounds=1))) == pytest.approx(20)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"load_bps": 1e9}, "nothing is left for the state transfer"),
        ({"load_bps": -1}, "dataplane load"),
        ({"memory_bytes": 0}, "m_0"),
        ({"rounds": 0}, "number of rounds"),
        ({"ring_packets": -1}, "c_mbuf"),
    ],
)
def test_a_violated_condition_is_named(changed, message):
    with pytest.raises(UsageError, match=message):
        vm_delta.downtime(DeltaVm(**changed))


def test_a_grid_masks_loads_that_fill_the_link():
    assert vm_delta.downtime(DeltaVm(load_bps=[5e8, 1e9])).mask.tolist() == [False, True]
