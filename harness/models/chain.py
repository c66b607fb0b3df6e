"""Migration of a service function chain of M VNFs: improved serial and m-mixed strategies.

Model of the paper on service function chain migration (IoTBDS 2017), Equations 1-19; the queues of its Section 3 are in
`queueing`. The ratio of dirtying to transmission rate is r = P*D/R. The first VNF is moved by pre-copy; when it stops,
the chain is interrupted anyway, so that the others are stopped too and copied once (post-copy), each alpha*Vm. The
m-mixed strategy moves m VNFs in parallel by pre-copy and then the other M - m by post-copy: m = 1 is improved serial,
m = M is parallel. Numbers of rounds are un-rounded here unless told otherwise: the printed times of m >= 2 are.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from harness.errors import UsageError
from harness.models import multi_vm
from harness.models.domain import Condition, FloatArray, Grid, Values, array, below, masked, whole
from harness.models.multi_vm import PreCopy, Rounding, VmSet, precopy


@dataclass(frozen=True)
class Chain(VmSet):
    """A chain of equal VNFs; fields as in VmSet. The defaults are those of the paper's Section 4 (r = 0.08)."""

    vms: Values = 5
    memory_bytes: Values = 1_000_000_000
    threshold_bytes: Values = 100_000_000
    dirty_bps: Values = 80_000_000
    copied_fraction: Values = 1.0
    """alpha: part of the memory that post-copy has to move, Vth/Vm < alpha <= 1."""


def serial_time(chain: Chain, rounding: Rounding = "real") -> Grid:
    """Ts in s, Eq. 3: every VNF by pre-copy, one after the other."""
    return multi_vm.serial_time(chain, rounding)


def serial_downtime(chain: Chain, rounding: Rounding = "real") -> Grid:
    """Ds in s, Eq. 4."""
    return multi_vm.serial_downtime(chain, rounding)


def parallel_time(chain: Chain, rounding: Rounding = "real") -> Grid:
    """Tp in s, Eq. 5: every VNF by pre-copy, all at once."""
    return multi_vm.parallel_time(chain, rounding)


def parallel_downtime(chain: Chain, rounding: Rounding = "real") -> Grid:
    """Dp in s, Eq. 6."""
    return multi_vm.parallel_downtime(chain, rounding)


def postcopy_time(chain: Chain) -> Grid:
    """Ti in s of one VNF by post-copy, Eq. 8: alpha*Vm/R (alpha = 1: the worst case, Eq. 7)."""
    copy = precopy(chain, further=_copied(chain))
    return masked(array(chain.copied_fraction) * copy.transfer_s, copy.valid)


def improved_serial_time(chain: Chain, rounding: Rounding = "real") -> Grid:
    """Ts1 in s, Eq. 9: Vm/R (1 - r^(n+1))/(1 - r) + (M - 1) alpha Vm/R."""
    return mixed_time(chain, 1, rounding)


def improved_serial_downtime(chain: Chain, rounding: Rounding = "real") -> Grid:
    """Ds1 in s, Eq. 10: Vm/R r^n + (M - 1) alpha Vm/R + Tres."""
    return mixed_downtime(chain, 1, rounding)


def gain_over_serial(chain: Chain) -> Grid:
    """Ts - Ts1 = Ds - Ds1 in s, Eq. 11 and 12 (un-rounded rounds below nmax)."""
    copy = precopy(chain, 1, "real", further=_copied(chain))
    with np.errstate(all="ignore"):
        serial = (1 - copy.ratio * _left(chain)) / (1 - copy.ratio)
        saved = (array(chain.vms) - 1) * copy.transfer_s * (serial - array(chain.copied_fraction))
        return masked(saved, copy.valid)


def gain_over_parallel(chain: Chain) -> Grid:
    """Tp - Ts1 in s, Eq. 13 (un-rounded rounds below nmax)."""
    copy = precopy(chain, chain.vms, "real", "M*", _copied(chain))
    vms = array(chain.vms)
    with np.errstate(all="ignore"):
        ratio = copy.ratio / vms
        parallel = vms * (1 - copy.ratio * _left(chain)) / (1 - copy.ratio)
        first = (1 - ratio * _left(chain)) / (1 - ratio)
        return masked(copy.transfer_s * (parallel - first - (vms - 1) * array(chain.copied_fraction)), copy.valid)


def downtime_over_parallel(chain: Chain) -> Grid:
    """Ds1 - Dp in s, Eq. 14 (un-rounded rounds below nmax): (M - 1)(alpha Vm - Vth)/R."""
    copy = precopy(chain, chain.vms, "real", "M*", _copied(chain))
    with np.errstate(all="ignore"):
        longer = (array(chain.vms) - 1) * copy.transfer_s * (array(chain.copied_fraction) - _left(chain))
        return masked(longer, copy.valid)


def mixed_time(chain: Chain, parallel_vms: Values, rounding: Rounding = "real") -> Grid:
    """Tm in s, Eq. 15: m VNFs in parallel by pre-copy, then M - m by post-copy one after the other.

    parallel_vms: m, a whole number from 1 (improved serial, Eq. 9) to M (parallel, Eq. 5). Grows with m (Eq. 17).
    """
    copy, m = _mixed(chain, parallel_vms, rounding)
    with np.errstate(all="ignore"):
        rest = (array(chain.vms) - m) * array(chain.copied_fraction)
        return masked(copy.transfer_s * (m * copy.volume + rest), copy.valid)


def mixed_downtime(chain: Chain, parallel_vms: Values, rounding: Rounding = "real") -> Grid:
    """Dm in s, Eq. 16: the last round of the m, the post-copy of the others, the resumption. Falls with m (Eq. 18)."""
    copy, m = _mixed(chain, parallel_vms, rounding)
    with np.errstate(all="ignore"):
        rest = (array(chain.vms) - m) * array(chain.copied_fraction)
        return masked(copy.transfer_s * (m * copy.last + rest) + array(chain.resume_s), copy.valid)


def required_parallel_vms(chain: Chain, downtime_max_s: Values) -> Grid:
    """m of Eq. 19, real: the smallest that keeps the downtime within `downtime_max_s`; its ceiling is the integer m.

    [R (Dmax - Tres) - M alpha Vm]/(Vth - alpha Vm), for un-rounded rounds below nmax. Dmax must lie in [DM, D1]: less
    is out of reach of every m, and for more any m will do.
    """
    limit, vms, fraction = array(downtime_max_s), array(chain.vms), array(chain.copied_fraction)
    with np.errstate(all="ignore"):
        transfer_s = 8 * array(chain.memory_bytes) / array(chain.rate_bps)
        shortest = vms * transfer_s * _left(chain) + array(chain.resume_s)
        longest = transfer_s * (_left(chain) + (vms - 1) * fraction) + array(chain.resume_s)
        slack = 1e-9 * longest
        reachable = Condition(
            limit >= shortest - slack,
            limit,
            f"largest downtime Dmax in s must not be below that of parallel migration, DM = {shortest.flat[0]:.6g} s",
        )
        binding = Condition(
            limit <= longest + slack,
            limit,
            f"largest downtime Dmax in s must not be above that of m = 1, D1 = {longest.flat[0]:.6g} s (any m will do)",
        )
        copy = precopy(chain, chain.vms, "real", "M*", [*_copied(chain), reachable, binding])
        m = (limit - array(chain.resume_s) - vms * fraction * transfer_s) / (transfer_s * (_left(chain) - fraction))
        return masked(np.clip(m, 1, vms), copy.valid)


def smallest_integer(parallel_vms: Grid) -> Grid:
    """The ceiling of m of Eq. 19; a value that is whole but for its last digits stays."""
    return masked(np.ceil(parallel_vms.data - 1e-9), ~np.ma.getmaskarray(parallel_vms))


def mean_service_time(chain: Chain, probabilities: Values, rounding: Rounding = "real") -> Grid:
    """T in s of Section 3.1: the sum of beta_m Tm over m = 1..M.

    probabilities: beta_m, shape (M,), summing to 1. The chain's fields must be scalars.
    """
    beta, vms = array(probabilities), array(chain.vms)
    if beta.shape != (int(vms.flat[0]),):
        raise UsageError(f"there must be one probability beta_m for each m = 1..M = {vms}; there are {beta.size}")
    if not (np.all(beta >= 0) and abs(float(beta.sum()) - 1) < 1e-9):
        raise UsageError("the probabilities beta_m must be 0 or more and sum to 1")
    times = mixed_time(chain, np.arange(1, beta.size + 1), rounding)
    return masked(array((beta * times.data).sum()), np.asarray(not np.ma.getmaskarray(times).any()))


def _mixed(chain: Chain, parallel_vms: Values, rounding: Rounding) -> tuple[PreCopy, FloatArray]:
    m = array(parallel_vms)
    further = [
        whole(m, "number m of VNFs in parallel"),
        below(m - array(chain.vms), 0.5, "m - M must not be above 0 (m of the M VNFs are migrated in parallel)"),
        *_copied(chain),
    ]
    return precopy(chain, m, rounding, "m*", further), m


def _copied(chain: Chain) -> list[Condition]:
    fraction = array(chain.copied_fraction)
    with np.errstate(all="ignore"):
        left = _left(chain)
    text = "alpha, the part of the memory that post-copy moves, must be above Vth/Vm and at most 1"
    return [Condition((fraction > left) & (fraction <= 1), fraction, text)]


def _left(chain: Chain) -> FloatArray:
    """Vth/Vm."""
    return array(chain.threshold_bytes) / array(chain.memory_bytes)
