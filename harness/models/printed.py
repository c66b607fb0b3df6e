"""What the papers print, beside what their equations give with the printed parameters.

A printed number counts as reproduced when the computed one lies within one unit of its last printed digit (the papers
round some and cut off others). Where it does not, variants of the parameters say which reading of them comes nearest;
nothing is tuned to hide a difference.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache

import numpy as np

from harness.errors import UsageError
from harness.models import chain, multi_vm, saturation, slim, vm_delta
from harness.models.chain import Chain
from harness.models.multi_vm import VmSet
from harness.models.slim import SharedLink
from harness.models.statelet_factor import TABLE_II, TABLE_II_PACKET_BYTES, statelet_factor
from harness.models.vm_delta import DeltaVm

MIB, GIB = 2**20, 2**30


@dataclass(frozen=True)
class Variant:
    """Other parameters, in words, and what they give."""

    parameters: str
    computed: float


@dataclass(frozen=True)
class Printed:
    """A number a paper prints: where, its unit and digits, and what `computed` gives with the printed parameters."""

    where: str
    quantity: str
    unit: str
    printed: float
    digits: int
    computed: float
    variants: tuple[Variant, ...] = ()
    note: str = ""

    @property
    def reproduced(self) -> bool:
        """Computed and printed differ by less than one unit of the last printed digit."""
        return self._matches(self.computed)

    def reproducing(self) -> list[Variant]:
        """The variants that do reproduce it."""
        return [variant for variant in self.variants if self._matches(variant.computed)]

    def sentence(self) -> str:
        """`printed X, computed Y`, and the variants where it is not reproduced."""
        unit = f" {self.unit}" if self.unit else ""
        shown = f"printed {self.printed:.{self.digits}f}{unit}, computed {_digits(self.computed, self.digits)}{unit}"
        if self.reproduced:
            return shown
        parts = [shown, "not reproduced"]
        parts += [f"{v.parameters} gives {_digits(v.computed, self.digits)}{unit}" for v in self.variants]
        return "; ".join(parts + ([self.note] if self.note else []))

    def _matches(self, value: float) -> bool:
        return abs(value - self.printed) < 10.0**-self.digits * (1 + 1e-9)


def printed_numbers(paper: str) -> tuple[Printed, ...]:
    """Of the paper `slim`, `multi-vm` or `chain`."""
    try:
        return PAPERS[paper]()
    except KeyError:
        raise UsageError(f"no paper {paper!r}; there are {', '.join(PAPERS)}") from None


def _digits(value: float, digits: int) -> str:
    return f"{value:.{digits + 2}f}"


@cache
def _multi_vm() -> tuple[Printed, ...]:
    reference, rounded = VmSet(), VmSet(dirty_bps=82e6)
    tenth = replace(reference, threshold_bytes=0.1 * GIB)
    sizes = np.arange(1, 13)
    saturates = saturation.saturated(replace(reference, vms=sizes))
    memory = np.arange(101, 1881) * MIB
    fluctuating = multi_vm.parallel_downtime(replace(reference, memory_bytes=memory))
    return (
        Printed(
            "Section IV, Fig. 2",
            "lambda above which parallel migration saturates nmax",
            "",
            0.0897,
            4,
            float(saturation.largest_ratio(reference)),
            (Variant("Vth/Vm = 0.1", float(saturation.largest_ratio(tenth))),),
        ),
        Printed(
            "Section IV, Fig. 3",
            "memory Vm above which it saturates",
            "GB",
            1.87,
            2,
            float(saturation.largest_memory_bytes(reference)) / GIB,
            (Variant("lambda = 0.082", float(saturation.largest_memory_bytes(rounded)) / GIB),),
        ),
        Printed(
            "Section IV, Fig. 3",
            "parallel downtime below saturation, around (mean over Vm)",
            "s",
            5,
            0,
            float(fluctuating.mean()),
        ),
        Printed(
            "Section IV, Fig. 4",
            "threshold Vth below which it saturates",
            "MB",
            53.5,
            1,
            float(saturation.smallest_threshold_bytes(reference)) / MIB,
            (Variant("lambda = 0.082", float(saturation.smallest_threshold_bytes(rounded)) / MIB),),
        ),
        Printed(
            "Section IV, Fig. 5",
            "rate R below which it saturates",
            "Mb/s",
            913.71,
            2,
            float(saturation.smallest_rate_bps(reference)) / 1e6,
            (Variant("lambda = 0.082", float(saturation.smallest_rate_bps(rounded)) / 1e6),),
        ),
        Printed(
            "Section IV, Fig. 6",
            "smallest M that saturates",
            "",
            9,
            0,
            float(sizes[np.flatnonzero(saturates)[0]]),
        ),
        Printed("Section IV, Fig. 6", "validity limit of M", "", 12, 0, float(saturation.largest_set(reference))),
    )


@cache
def _chain() -> tuple[Printed, ...]:
    rows = []
    for m, printed in ((1, 40.64), (2, 42.74), (3, 46.82), (4, 53.55), (5, 64.0)):
        variants = (
            Variant("whole rounds (ceil)", float(chain.mixed_time(Chain(), m, "ceil"))),
            Variant("P = 4096 bytes", float(chain.mixed_time(Chain(dirty_bps=8 * 4096 * 2500), m))),
        )
        digits = 0 if m == 5 else 2
        computed = float(chain.mixed_time(Chain(), m))
        rows.append(Printed("Section 4", f"migration time, m = {m}", "s", printed, digits, computed, variants))
    return tuple(rows)


@cache
def _slim() -> tuple[Printed, ...]:
    rows = [
        Printed(
            "Table II",
            f"statelet factor, {example.name}",
            "",
            example.printed,
            3,
            float(statelet_factor(example.shares, TABLE_II_PACKET_BYTES)),
            note=f"as the table describes it: {example.workload}",
        )
        for example in TABLE_II
    ]
    small, copied = (float(slim.largest_load_bps(SharedLink(), sigma, np.inf)) for sigma in (0.025, 1.0))
    rows.append(Printed("Section V, Fig. 6", 'bandwidth utilisation "almost tripled"', "times", 3, 0, small / copied))
    kink = float(vm_delta.wrap_load_bps(DeltaVm())) / 1e6
    rows.append(Printed("Section V-A, Fig. 7", "load of the cut in downtime and total time", "Mb/s", 500, 0, kink))
    return tuple(rows)


PAPERS: dict[str, Callable[[], tuple[Printed, ...]]] = {"slim": _slim, "multi-vm": _multi_vm, "chain": _chain}
