"""Migration of M equal VMs, one after the other (serial) or all at once (parallel).

Model of Callegati and Cerroni, "Live Migration of Virtualized Edge Networks: Analytical Modeling and Performance
Evaluation", Equations 1-11. Every VM is moved by pre-copy: round 0 carries its memory Vm, round i what was dirtied
during round i - 1, round n (the VM now stopped) the rest. lambda = P*D/R is the ratio of dirtying rate to channel rate;
with M VMs in parallel each sees R/M, hence M*lambda.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from harness.models.domain import (
    BoolArray,
    Condition,
    FloatArray,
    Grid,
    Values,
    array,
    below,
    check,
    masked,
    not_negative,
    positive,
    whole,
)

Rounding: TypeAlias = Literal["ceil", "real"]
"""Rounds as whole numbers (Eq. 4), or un-rounded as in the closed forms that compare strategies (Eq. 10, 11)."""

CONVERGENCE = "(memory must be sent faster than it is dirtied, else pre-copy does not converge)"


def dirtying_rate_bps(page_bytes: Values, pages_per_s: Values) -> Grid:
    """P*D in bit/s, of the page size P in bytes and the page dirtying rate D in pages/s."""
    page, pages = array(page_bytes), array(pages_per_s)
    valid = check([positive(page, "page size P"), not_negative(pages, "page dirtying rate D")])
    return masked(8 * page * pages, valid)


@dataclass(frozen=True)
class VmSet:
    """A set of equal VMs and the channel they move through; every field a scalar or an array.

    The defaults are the paper's reference values, Section IV, with binary sizes (Vm 1 GiB, Vth 100 MiB, P 4096 bytes).
    """

    vms: Values = 8
    """M, a whole number."""
    memory_bytes: Values = 2**30
    """Vm of each VM."""
    threshold_bytes: Values = 100 * 2**20
    """Vth: when at most this much is dirty, the VM is stopped and the rest copied."""
    dirty_bps: Values = 81_920_000
    """P*D of each VM in bit/s."""
    rate_bps: Values = 1_000_000_000
    """R, bit rate of the channel."""
    resume_s: Values = 0.1
    """Tres, time to resume a VM at the destination."""
    rounds_max: Values = 8
    """nmax, most rounds after round 0."""


def conditions(vm_set: VmSet, share: FloatArray, share_name: str) -> list[Condition]:
    """What must hold when each VM gets the channel's rate divided by `share` (1: serial; M, m: as many at once)."""
    memory, threshold = array(vm_set.memory_bytes), array(vm_set.threshold_bytes)
    dirty, rate = array(vm_set.dirty_bps), array(vm_set.rate_bps)
    with np.errstate(all="ignore"):
        ratio = share * dirty / rate
    name = f"{share_name}lambda = {share_name}P*D/R"
    return [
        whole(array(vm_set.vms), "number of VMs M"),
        positive(memory, "memory Vm in bytes"),
        positive(threshold, "stop-and-copy threshold Vth in bytes"),
        below(threshold - memory, 0, "Vth - Vm in bytes must be below 0 (the threshold is a part of the memory)"),
        not_negative(dirty, "dirtying rate P*D in bit/s"),
        positive(rate, "channel rate R in bit/s"),
        not_negative(array(vm_set.resume_s), "resume time Tres in s"),
        whole(array(vm_set.rounds_max), "largest number of rounds nmax"),
        below(ratio, 1, f"{name} must be below 1 {CONVERGENCE}"),
    ]


@dataclass(frozen=True)
class PreCopy:
    """Pre-copy of one VM that gets 1/share of the channel: everything Equations 5-9 are made of."""

    transfer_s: FloatArray
    """Vm/R: the memory once, at the channel's full rate."""
    ratio: FloatArray
    """lambda_j = share * P*D/R."""
    last: FloatArray
    """lambda_j^n: what is left for the last round, as a fraction of Vm."""
    rounds: FloatArray
    """n_j of Eq. 4."""
    valid: BoolArray

    @property
    def volume(self) -> FloatArray:
        """(1 - lambda_j^(n+1))/(1 - lambda_j): everything sent, in units of Vm."""
        return (1 - self.ratio * self.last) / (1 - self.ratio)


def precopy(
    vm_set: VmSet,
    share: Values = 1,
    rounding: Rounding = "ceil",
    share_name: str = "",
    further: Sequence[Condition] = (),
) -> PreCopy:
    """Eq. 3 and 4. `share`: VMs that divide the channel; `further`: conditions beside those of the VM set."""
    parts = array(share)
    valid = check([*conditions(vm_set, parts, share_name), *further])
    memory, rate, most = array(vm_set.memory_bytes), array(vm_set.rate_bps), array(vm_set.rounds_max)
    with np.errstate(all="ignore"):
        ratio = parts * array(vm_set.dirty_bps) / rate
        left = array(vm_set.threshold_bytes) / memory
        # lambda -> 0 needs less and less of a first round: un-rounded 0, rounded up 1.
        real = np.where(ratio > 0, np.log(left) / np.log(ratio), 0.0)
        if rounding == "ceil":
            # The logarithms are a few units in the last place off: a whole quotient must not become one round more.
            rounds = np.minimum(np.maximum(np.ceil(real * (1 - 8 * np.finfo(float).eps)), 1), most)
            last = ratio**rounds
        else:
            rounds = np.minimum(real, most)
            # lambda^min(log_lambda(Vth/Vm), nmax), without the detour over the logarithm.
            last = np.maximum(left, ratio**most)
        return PreCopy(8 * memory / rate, ratio, last, rounds, valid)


def rounds(vm_set: VmSet, *, parallel: bool, rounding: Rounding = "ceil") -> Grid:
    """n of Eq. 4: min(log_{lambda_j}(Vth/Vm), nmax); lambda_j is lambda (serial) or M*lambda (parallel)."""
    copy = _precopy(vm_set, parallel, rounding)
    return masked(copy.rounds, copy.valid)


def round_time(vm_set: VmSet, number: Values, *, parallel: bool) -> Grid:
    """T_i in s of round `number` (from 0), Eq. 3: Vm (P*D)^i / R_j^(i+1)."""
    index = array(number)
    copy = _precopy(vm_set, parallel, "ceil")
    valid = copy.valid & check([whole(index, "number of a round", 0)])
    share = array(vm_set.vms) if parallel else array(1)
    with np.errstate(all="ignore"):
        return masked(share * copy.transfer_s * copy.ratio**index, valid)


def serial_time(vm_set: VmSet, rounding: Rounding = "ceil") -> Grid:
    """Ts in s, Eq. 6: total time when the VMs are migrated one after the other."""
    copy = _precopy(vm_set, False, rounding)
    with np.errstate(all="ignore"):
        return masked(array(vm_set.vms) * copy.transfer_s * copy.volume, copy.valid)


def serial_downtime(vm_set: VmSet, rounding: Rounding = "ceil", critical: Values | None = None) -> Grid:
    """Ds in s, Eq. 7: from the stop of the first VM to the resumption of the last.

    critical: m of the M VMs that the service needs, migrated first; they replace M (Fig. 7).
    """
    vms = array(vm_set.vms)
    needed = vms if critical is None else array(critical)
    further = [
        whole(needed, "number of critical VMs m"),
        below(needed - vms, 0.5, "m - M must not be above 0 (the critical VMs are some of the M)"),
    ]
    copy = precopy(vm_set, 1, rounding, further=further)
    with np.errstate(all="ignore"):
        stopped = copy.last + (needed - 1) * copy.volume
        return masked(copy.transfer_s * stopped + array(vm_set.resume_s), copy.valid)


def parallel_time(vm_set: VmSet, rounding: Rounding = "ceil") -> Grid:
    """Tp in s, Eq. 8: total time when all VMs are migrated at once, each at R/M."""
    copy = _precopy(vm_set, True, rounding)
    with np.errstate(all="ignore"):
        return masked(array(vm_set.vms) * copy.transfer_s * copy.volume, copy.valid)


def parallel_downtime(vm_set: VmSet, rounding: Rounding = "ceil") -> Grid:
    """Dp in s, Eq. 9: the last round, which all VMs have at the same time, and the resumption."""
    copy = _precopy(vm_set, True, rounding)
    with np.errstate(all="ignore"):
        return masked(array(vm_set.vms) * copy.transfer_s * copy.last + array(vm_set.resume_s), copy.valid)


def time_difference(vm_set: VmSet) -> Grid:
    """Tp - Ts in s, Eq. 10, for un-rounded numbers of rounds below nmax; never negative."""
    copy = _precopy(vm_set, True, "real")
    vms, serial = array(vm_set.vms), copy.ratio / array(vm_set.vms)
    with np.errstate(all="ignore"):
        moved = _above_threshold_s(vm_set) * copy.ratio * (vms - 1)
        return masked(moved / ((1 - serial) * (1 - copy.ratio)), copy.valid)


def downtime_difference(vm_set: VmSet) -> Grid:
    """Ds - Dp in s, Eq. 11, for un-rounded numbers of rounds below nmax; never negative."""
    copy = _precopy(vm_set, False, "real")
    with np.errstate(all="ignore"):
        return masked((array(vm_set.vms) - 1) * _above_threshold_s(vm_set) / (1 - copy.ratio), copy.valid)


def _above_threshold_s(vm_set: VmSet) -> FloatArray:
    """(Vm - Vth)/R in s."""
    return 8 * (array(vm_set.memory_bytes) - array(vm_set.threshold_bytes)) / array(vm_set.rate_bps)


def _precopy(vm_set: VmSet, parallel: bool, rounding: Rounding) -> PreCopy:
    return precopy(vm_set, vm_set.vms if parallel else 1, rounding, "M*" if parallel else "")
