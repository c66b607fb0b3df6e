"""Where parallel migration reaches the largest number of rounds nmax (Callegati and Cerroni, Section IV).

With whole rounds, n = nmax exactly when (M*lambda)^(nmax - 1) > Vth/Vm (from Eq. 4). Beyond it the migration time grows
more slowly and the downtime is no longer bounded by the threshold. Each function solves this for one parameter.
"""

from __future__ import annotations

import numpy as np

from harness.models.domain import FloatArray, Grid, array, check, masked, not_negative, positive
from harness.models.multi_vm import VmSet, precopy


def saturated(vm_set: VmSet) -> Grid:
    """1 where parallel migration needs nmax rounds, 0 where fewer do (Eq. 4)."""
    copy = precopy(vm_set, vm_set.vms, "ceil", "M*")
    return masked((copy.rounds >= array(vm_set.rounds_max)).astype(float), copy.valid)


def largest_ratio(vm_set: VmSet) -> Grid:
    """lambda above which parallel migration saturates: (Vth/Vm)^(1/(nmax - 1))/M."""
    copy = precopy(vm_set)
    with np.errstate(all="ignore"):
        return masked(_root(vm_set) / array(vm_set.vms), copy.valid)


def smallest_rate_bps(vm_set: VmSet) -> Grid:
    """R in bit/s below which it saturates: M*P*D/(Vth/Vm)^(1/(nmax - 1))."""
    copy = precopy(vm_set)
    with np.errstate(all="ignore"):
        return masked(array(vm_set.vms) * array(vm_set.dirty_bps) / _root(vm_set), copy.valid)


def smallest_threshold_bytes(vm_set: VmSet) -> Grid:
    """Vth in bytes below which it saturates: Vm (M*lambda)^(nmax - 1)."""
    copy = precopy(vm_set, vm_set.vms, "ceil", "M*")
    with np.errstate(all="ignore"):
        return masked(array(vm_set.memory_bytes) * copy.ratio ** (array(vm_set.rounds_max) - 1), copy.valid)


def largest_memory_bytes(vm_set: VmSet) -> Grid:
    """Vm in bytes above which it saturates: Vth/(M*lambda)^(nmax - 1)."""
    copy = precopy(vm_set, vm_set.vms, "ceil", "M*")
    with np.errstate(all="ignore"):
        return masked(array(vm_set.threshold_bytes) / copy.ratio ** (array(vm_set.rounds_max) - 1), copy.valid)


def largest_set(vm_set: VmSet) -> Grid:
    """Most VMs that can be migrated in parallel at all: the largest M with M*lambda < 1."""
    dirty, rate = array(vm_set.dirty_bps), array(vm_set.rate_bps)
    valid = check([not_negative(dirty, "dirtying rate P*D in bit/s"), positive(rate, "channel rate R in bit/s")])
    with np.errstate(all="ignore"):
        return masked(np.ceil(rate / dirty) - 1, valid & (dirty > 0))


def _root(vm_set: VmSet) -> FloatArray:
    """(Vth/Vm)^(1/(nmax - 1)); with nmax = 1 it is 0: every migration needs that one round."""
    left = array(vm_set.threshold_bytes) / array(vm_set.memory_bytes)
    most = array(vm_set.rounds_max)
    return np.where(most > 1, left ** (1 / np.maximum(most - 1, 1)), 0.0)
