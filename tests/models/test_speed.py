"""A million cells of any closed form in a second of CPU and a gigabyte. The bounds allow for a busy machine."""

from __future__ import annotations

import time
import tracemalloc

import numpy as np
import pytest

from harness.models import chain, multi_vm, queueing, saturation, slim, statelet_factor, vm_delta

CELLS = 1_000_000
SECONDS_MAX = 4.0
BYTES_MAX = 1_000_000_000

RNG = np.random.default_rng(1)
RATE, MEMORY, RATIO = RNG.uniform(0.7e9, 2e9, CELLS), RNG.uniform(2e8, 4e9, CELLS), RNG.uniform(0, 0.2, CELLS)
VM_SET = multi_vm.VmSet(rate_bps=RATE, memory_bytes=MEMORY, dirty_bps=RATIO * RATE)
CHAIN = chain.Chain(rate_bps=RATE, memory_bytes=MEMORY, dirty_bps=RATIO * RATE)
LINK = slim.SharedLink(load_ab_bps=RNG.uniform(1e8, 9e8, CELLS))
DELTA = vm_delta.DeltaVm(load_bps=RNG.uniform(0, 1.1e9, CELLS))
SERVICE = RNG.uniform(1, 64, CELLS)
TABLE_II = statelet_factor.TABLE_II[0].shares

CLOSED_FORMS = {
    "rounds": lambda: multi_vm.rounds(VM_SET, parallel=True),
    "serial time": lambda: multi_vm.serial_time(VM_SET),
    "serial downtime": lambda: multi_vm.serial_downtime(VM_SET, critical=3),
    "parallel time": lambda: multi_vm.parallel_time(VM_SET),
    "parallel downtime, real": lambda: multi_vm.parallel_downtime(VM_SET, "real"),
    "time difference": lambda: multi_vm.time_difference(VM_SET),
    "saturation": lambda: saturation.largest_memory_bytes(VM_SET),
    "m-mixed time": lambda: chain.mixed_time(CHAIN, 3),
    "gain over parallel": lambda: chain.gain_over_parallel(CHAIN),
    "m for a downtime": lambda: chain.required_parallel_vms(CHAIN, 20.0),
    "blocking, 10 channels": lambda: queueing.blocking(0.1, SERVICE, 10),
    "blocking, 5000 channels": lambda: queueing.blocking(150, SERVICE, 5000),
    "waiting time, 1 to 3000 channels": lambda: queueing.waiting_time(0.1, SERVICE, RNG.integers(1, 3000, CELLS)),
    "ln P0, 1000 channels": lambda: queueing.empty_probability_log(15, SERVICE, 1000),
    "migration time": lambda: slim.migration_time(LINK, 0.3),
    "largest statelet factor": lambda: slim.largest_statelet_factor(LINK, 1.0),
    "largest load": lambda: slim.largest_load_bps(LINK, RATIO, 1.0),
    "statelet factor": lambda: statelet_factor.statelet_factor(TABLE_II, MEMORY, 4),
    "delta": lambda: vm_delta.migration_time(DELTA),
}


@pytest.mark.parametrize("name", CLOSED_FORMS)
def test_a_million_cells(name, record_property):
    tracemalloc.start()
    try:
        began = time.thread_time()
        grid = CLOSED_FORMS[name]()
        seconds = time.thread_time() - began
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    record_property("seconds", seconds)
    record_property("peak_bytes", peak_bytes)
    assert grid.shape == (CELLS,)
    assert grid.count() > 0
    assert np.isfinite(grid.compressed()).all()
    assert seconds < SECONDS_MAX
    assert peak_bytes < BYTES_MAX
