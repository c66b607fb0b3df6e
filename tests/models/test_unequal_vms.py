from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import UsageError
from harness.models import multi_vm
from harness.models.multi_vm import VmSet
from harness.models.unequal_vms import Vm, fair_rates, migrate_parallel, migrate_serial


@given(st.integers(1, 12), st.integers(1, 2500), st.floats(101, 4000), st.integers(1, 12))
def test_equal_vms_are_the_closed_form(vms, pages_per_s, memory_mib, rounds_max):
    vm = Vm(memory_bytes=memory_mib * 2**20, pages_per_s=pages_per_s)
    vm_set = VmSet(vms, vm.memory_bytes, vm.threshold_bytes, vm.dirty_bps, 1e9, 0.1, rounds_max)
    together, single = (
        migrate_parallel([vm] * vms, 1e9, 0.1, rounds_max),
        migrate_serial([vm] * vms, 1e9, 0.1, rounds_max),
    )
    assert together.time_s == pytest.approx(float(multi_vm.parallel_time(vm_set)), rel=1e-9)
    assert together.downtime_s == pytest.approx(float(multi_vm.parallel_downtime(vm_set)), rel=1e-9)
    assert together.vms[0].rounds == float(multi_vm.rounds(vm_set, parallel=True))
    assert single.time_s == pytest.approx(float(multi_vm.serial_time(vm_set)), rel=1e-9)
    assert single.downtime_s == pytest.approx(float(multi_vm.serial_downtime(vm_set)), rel=1e-9)


def test_one_round_worked_out_by_hand():
    """1000 bit at 100 bit/s, 20 bit/s dirty, threshold 50 bit: rounds of 10, 2 and 0.4 s, stopped in the last."""
    vm = Vm(memory_bytes=125, page_bytes=1, pages_per_s=2.5, threshold_bytes=6.25)
    result = migrate_serial([vm], 100, 0.5)
    assert (result.time_s, result.downtime_s) == (pytest.approx(12.4), pytest.approx(0.9))
    assert result.vms[0].rounds == 2
    assert result.vms[0].sent_bits == pytest.approx(1240)


def test_the_share_of_a_vm_that_is_done_goes_to_the_others():
    """Nothing is dirtied: 100 bit and 300 bit over 100 bit/s end after 2 s and after all 400 bit, 4 s."""
    small, large = (Vm(bits / 8, 1, 0, 0.1) for bits in (100, 300))
    result = migrate_parallel([small, large], 100, 0)
    assert [vm.resumed_s for vm in result.vms] == [pytest.approx(2), pytest.approx(4)]
    assert result.downtime_s == pytest.approx(2)


@given(st.lists(st.tuples(st.integers(64, 4096), st.integers(0, 2000), st.integers(20, 60)), min_size=1, max_size=6))
def test_the_channel_is_never_idle_and_everything_is_sent(shapes):
    vms = [Vm(memory * 2**20, 4096, pages, threshold * 2**20) for memory, pages, threshold in shapes]
    for migrate in (migrate_serial, migrate_parallel):
        result = migrate(vms, 1e9)
        assert sum(vm.sent_bits for vm in result.vms) == pytest.approx(result.time_s * 1e9)
        for vm, outcome in zip(vms, result.vms, strict=True):
            assert outcome.sent_bits >= 8 * vm.memory_bytes
            assert outcome.start_s < outcome.stop_s <= outcome.resumed_s


def test_serial_order_decides_the_downtime():
    """The service stops with the first VM's last round: a large VM moved first is moved while the service runs."""
    small, large = Vm(2**28), Vm(2**31)
    assert migrate_serial([large, small], 1e9).downtime_s < migrate_serial([small, large], 1e9).downtime_s
    assert migrate_serial([large, small], 1e9).time_s == pytest.approx(migrate_serial([small, large], 1e9).time_s)


def test_max_min_fair_rates():
    assert fair_rates([10, float("inf"), 100, float("inf")], 100) == [10, 30, 30, 30]
    assert fair_rates([10, 20], 100) == [10, 20]
    assert fair_rates([50, 60], 100) == [50, 50]


def test_a_largest_rate_holds():
    result = migrate_parallel([Vm(125, 1, 0, 1, rate_max_bps=10)], 100, 0)
    assert result.time_s == pytest.approx(100)


@pytest.mark.parametrize(
    ("vms", "message"),
    [
        ([], "at least one VM"),
        ([Vm(), Vm(threshold_bytes=2**30)], "VM 2: threshold Vth must be above 0 and below the memory Vm"),
        ([Vm(), Vm(), replace(Vm(), pages_per_s=12_000)], "VM 3: lambda_j = P.D/R_j must be below 1"),
        ([Vm(memory_bytes=-1)], "VM 1: memory Vm"),
        ([Vm(pages_per_s=-1)], "VM 1: dirtying rate D"),
        ([Vm(rate_max_bps=0)], "VM 1: largest rate R_j"),
    ],
)
def test_the_vm_that_cannot_be_migrated_is_named(vms, message):
    with pytest.raises(UsageError, match=message):
        migrate_parallel(vms, 1e9)


@pytest.mark.parametrize(
    ("arguments", "message"), [((-1.0,), "rate R"), ((1e9, -1.0), "Tres"), ((1e9, 0.1, 0), "nmax")]
)
def test_parameters_of_the_whole_are_checked(arguments, message):
    with pytest.raises(UsageError, match=message):
        migrate_serial([Vm()], *arguments)
