"""Migration of VMs that differ in memory, page size, dirtying rate and rate: Equations 1 and 2 integrated.

Callegati and Cerroni, "Live Migration of Virtualized Edge Networks", leave this case for future work. Round i of VM j
carries what was dirtied during its round i - 1 (Eq. 2); rates are piecewise constant, so the integrals are exact sums
from one round's end to the next. In parallel the channel is shared max-min fairly among the VMs still being moved, none
above its own largest rate: equal VMs get R/M each, and the results are those of Equations 5-9 with whole rounds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from harness.errors import UsageError
from harness.models.multi_vm import CONVERGENCE


@dataclass(frozen=True)
class Vm:
    """One VM: memory in bytes, page size P in bytes, dirtying rate D in pages/s, largest rate R_j in bit/s."""

    memory_bytes: float = 2**30
    page_bytes: float = 4096
    pages_per_s: float = 2500
    threshold_bytes: float = 100 * 2**20
    rate_max_bps: float = math.inf

    @property
    def dirty_bps(self) -> float:
        """P*D in bit/s."""
        return 8 * self.page_bytes * self.pages_per_s


@dataclass(frozen=True)
class VmOutcome:
    """Times in s since the start of the whole migration: transfer begins, VM stops, VM runs at the destination."""

    start_s: float
    stop_s: float
    resumed_s: float
    rounds: int
    """n_j: rounds after round 0."""
    sent_bits: float

    @property
    def downtime_s(self) -> float:
        return self.resumed_s - self.stop_s


@dataclass(frozen=True)
class SetOutcome:
    """time_s as in Eq. 6 and 8 (without the resumption), downtime_s as in Eq. 7 and 9: first stop to last running."""

    vms: tuple[VmOutcome, ...]
    time_s: float
    downtime_s: float


def migrate_serial(vms: Sequence[Vm], rate_bps: float, resume_s: float = 0.1, rounds_max: int = 8) -> SetOutcome:
    """One after the other in the given order, each at min(R, R_j). UsageError names the VM that cannot be moved."""
    _check(vms, rate_bps, resume_s, rounds_max)
    outcomes: list[VmOutcome] = []
    now = 0.0
    for number, vm in enumerate(vms):
        rate = min(rate_bps, vm.rate_max_bps)
        _check_ratio(number, vm, rate)
        (alone,), _ = _integrate([vm], rate, rounds_max, resume_s)
        outcomes.append(
            VmOutcome(now, now + alone.stop_s, now + alone.resumed_s, alone.rounds, alone.sent_bits),
        )
        now = outcomes[-1].resumed_s - resume_s
    return _set_outcome(outcomes, now)


def migrate_parallel(vms: Sequence[Vm], rate_bps: float, resume_s: float = 0.1, rounds_max: int = 8) -> SetOutcome:
    """All at once; who ends leaves its share to the others. UsageError names the VM that cannot be moved."""
    _check(vms, rate_bps, resume_s, rounds_max)
    for number, (vm, rate) in enumerate(zip(vms, fair_rates([vm.rate_max_bps for vm in vms], rate_bps), strict=True)):
        _check_ratio(number, vm, rate)
    outcomes, end = _integrate(list(vms), rate_bps, rounds_max, resume_s)
    return _set_outcome(outcomes, end)


def fair_rates(limits_bps: Sequence[float], rate_bps: float) -> list[float]:
    """Max-min fair division of a channel: the smallest limits first, the rest of the channel equally."""
    rates = [0.0] * len(limits_bps)
    left, waiting = rate_bps, len(limits_bps)
    for index in sorted(range(len(limits_bps)), key=lambda i: limits_bps[i]):
        rates[index] = min(limits_bps[index], left / waiting)
        left -= rates[index]
        waiting -= 1
    return rates


@dataclass
class _Transfer:
    """A VM on its way: `left` bits of the present round, `round_start_s`, the present round's number."""

    vm: Vm
    left: float
    round_start_s: float = 0.0
    number: int = 0
    final: bool = False
    stop_s: float = 0.0
    end_s: float | None = None
    sent: float = 0.0


def _integrate(vms: list[Vm], rate_bps: float, rounds_max: int, resume_s: float) -> tuple[list[VmOutcome], float]:
    """Eq. 2 from one end of a round to the next, with the rates that hold in between."""
    transfers = [_Transfer(vm, 8 * vm.memory_bytes, sent=8 * vm.memory_bytes) for vm in vms]
    now = 0.0
    while active := [t for t in transfers if t.end_s is None]:
        rates = fair_rates([t.vm.rate_max_bps for t in active], rate_bps)
        ends = [t.left / rate for t, rate in zip(active, rates, strict=True)]
        step = min(ends)
        now += step
        for transfer, rate, end in zip(active, rates, ends, strict=True):
            # Equal VMs end together but for the last digits of the quotients.
            if end <= step * (1 + 1e-12):
                _end_round(transfer, now, rounds_max)
            else:
                transfer.left -= rate * step
    done = [VmOutcome(0.0, t.stop_s, (t.end_s or 0.0) + resume_s, t.number, t.sent) for t in transfers]
    return done, now


def _end_round(transfer: _Transfer, now: float, rounds_max: int) -> None:
    """Stop at the threshold or at the last round; otherwise copy again what the round dirtied."""
    if transfer.final:
        transfer.end_s = now
        return
    vm = transfer.vm
    dirty = vm.dirty_bps * (now - transfer.round_start_s)
    transfer.number += 1
    transfer.final = dirty <= 8 * vm.threshold_bytes * (1 + 1e-12) or transfer.number >= rounds_max
    if transfer.final:
        transfer.stop_s = now
    transfer.round_start_s = now
    transfer.left = dirty
    transfer.sent += dirty


def _set_outcome(outcomes: Sequence[VmOutcome], end_s: float) -> SetOutcome:
    downtime = max(vm.resumed_s for vm in outcomes) - min(vm.stop_s for vm in outcomes)
    return SetOutcome(tuple(outcomes), end_s, downtime)


def _check(vms: Sequence[Vm], rate_bps: float, resume_s: float, rounds_max: int) -> None:
    if not vms:
        raise UsageError("there must be at least one VM to migrate")
    if not (math.isfinite(rate_bps) and rate_bps > 0):
        raise UsageError(f"channel rate R in bit/s must be a finite number above 0; it is {rate_bps:g}")
    if not (math.isfinite(resume_s) and resume_s >= 0):
        raise UsageError(f"resume time Tres in s must be a finite number, 0 or more; it is {resume_s:g}")
    if rounds_max < 1:
        raise UsageError(f"largest number of rounds nmax must be a whole number, 1 or more; it is {rounds_max}")
    for number, vm in enumerate(vms, 1):
        for name, value in (("memory Vm", vm.memory_bytes), ("page size P", vm.page_bytes)):
            if not (math.isfinite(value) and value > 0):
                raise UsageError(f"VM {number}: {name} in bytes must be a finite number above 0; it is {value:g}")
        if not (math.isfinite(vm.pages_per_s) and vm.pages_per_s >= 0):
            raise UsageError(f"VM {number}: dirtying rate D must be finite and 0 or more; it is {vm.pages_per_s:g}")
        if not 0 < vm.threshold_bytes < vm.memory_bytes:
            raise UsageError(
                f"VM {number}: threshold Vth must be above 0 and below the memory Vm; "
                f"it is {vm.threshold_bytes:g} of {vm.memory_bytes:g} bytes"
            )
        if not vm.rate_max_bps > 0:
            raise UsageError(f"VM {number}: largest rate R_j in bit/s must be above 0; it is {vm.rate_max_bps:g}")


def _check_ratio(number: int, vm: Vm, rate_bps: float) -> None:
    ratio = vm.dirty_bps / rate_bps
    if ratio >= 1:
        raise UsageError(f"VM {number + 1}: lambda_j = P*D/R_j must be below 1 {CONVERGENCE}; it is {ratio:.6g}")
