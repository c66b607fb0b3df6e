"""Figures 1-7 of the paper on several VMs: serial and parallel migration as one parameter varies."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from harness.models import multi_vm
from harness.models.domain import Grid, array
from harness.models.figure import Curve, FigureData, Panel, curve
from harness.models.multi_vm import VmSet

POINTS = 1200
TITLES = {
    1: "migration time and downtime over the dirtying rate",
    2: "rounds per VM over the dirtying rate",
    3: "migration time and downtime over the memory of a VM",
    4: "migration time and downtime over the stop-and-copy threshold",
    5: "migration time and downtime over the rate of the channel",
    6: "migration time and downtime over the number of VMs",
    7: "downtime over the dirtying rate, by size of the critical subset",
}
_RATIO = "lambda = P*D/R, dirtying rate over channel rate"
_TIMES: tuple[tuple[str, Callable[[VmSet], Grid]], ...] = (
    ("serial, total migration time", multi_vm.serial_time),
    ("parallel, total migration time", multi_vm.parallel_time),
    ("serial, downtime", multi_vm.serial_downtime),
    ("parallel, downtime", multi_vm.parallel_downtime),
)


def figure(number: int, vm_set: VmSet | None = None) -> FigureData:
    """Figure 1-7; `vm_set`: the parameters that are not varied, by default the paper's."""
    vm_set = vm_set or VmSet()
    return FigureData(f"multi-vm-{number}", f"Several VMs, Fig. {number}: {TITLES[number]}", (_PANELS[number](vm_set),))


def _over_ratio(vm_set: VmSet) -> Panel:
    ratio, swept = _ratios(vm_set)
    return _times(ratio, swept, _RATIO)


def _rounds(vm_set: VmSet) -> Panel:
    ratio, swept = _ratios(vm_set)
    curves = (
        curve("serial", ratio, multi_vm.rounds(swept, parallel=False)),
        curve("parallel", ratio, multi_vm.rounds(swept, parallel=True)),
    )
    return Panel("", _RATIO, "rounds per VM, n", curves, y_limits=(0, None))


def _over_memory(vm_set: VmSet) -> Panel:
    threshold = float(array(vm_set.threshold_bytes))
    memory = np.linspace(threshold, max(2.5 * 2**30, 20 * threshold), POINTS + 1)[1:]
    return _times(memory / 2**30, replace(vm_set, memory_bytes=memory), "memory of a VM, Vm [GiB]")


def _over_threshold(vm_set: VmSet) -> Panel:
    threshold = np.linspace(0, float(array(vm_set.memory_bytes)), POINTS + 2)[1:-1]
    return _times(threshold / 2**20, replace(vm_set, threshold_bytes=threshold), "threshold Vth [MiB]")


def _over_rate(vm_set: VmSet) -> Panel:
    least = float(array(vm_set.vms)) * float(array(vm_set.dirty_bps))
    rate = np.linspace(least, 4 * least, POINTS + 1)[1:]
    return _times(rate / 1e6, replace(vm_set, rate_bps=rate), "channel rate R [Mbit/s]")


def _over_size(vm_set: VmSet) -> Panel:
    dirty, rate = float(array(vm_set.dirty_bps)), float(array(vm_set.rate_bps))
    largest = int(np.ceil(rate / dirty)) - 1 if dirty else 20
    size = np.arange(1, min(largest, 100) + 1)
    swept = replace(vm_set, vms=size)
    curves = tuple(curve(label, size, quantity(swept), dots=True) for label, quantity in _TIMES)
    return Panel("", "number of VMs, M", "time [s]", curves, y_scale="log")


def _critical(vm_set: VmSet) -> Panel:
    ratio, swept = _ratios(vm_set)
    curves: list[Curve] = [
        curve(f"serial, m = {m} critical", ratio, multi_vm.serial_downtime(swept, critical=m))
        for m in range(1, int(array(vm_set.vms)) + 1)
    ]
    curves.append(curve("parallel", ratio, multi_vm.parallel_downtime(swept), reference=True))
    return Panel("", _RATIO, "downtime [s]", tuple(curves), y_scale="log")


def _ratios(vm_set: VmSet) -> tuple[Any, VmSet]:
    """lambda over the validity range of parallel migration, 0 < lambda < 1/M."""
    ratio = np.linspace(0, 1 / float(array(vm_set.vms)), POINTS + 2)[1:-1]
    return ratio, replace(vm_set, dirty_bps=ratio * float(array(vm_set.rate_bps)))


def _times(x: Any, swept: VmSet, x_label: str) -> Panel:
    curves = tuple(curve(label, x, quantity(swept)) for label, quantity in _TIMES)
    return Panel("", x_label, "time [s]", curves, y_scale="log")


_PANELS: dict[int, Callable[[VmSet], Panel]] = {
    1: _over_ratio,
    2: _rounds,
    3: _over_memory,
    4: _over_threshold,
    5: _over_rate,
    6: _over_size,
    7: _critical,
}
