"""Figures of the statelet paper that show its models: 6 (statelet factor) and 7 (delta-based VM migration)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from harness.models import slim, vm_delta
from harness.models.figure import FigureData, Panel, curve
from harness.models.slim import SharedLink
from harness.models.vm_delta import DeltaVm

DURATIONS_S = (0.5, 1.0, 2.0, 5.0, np.inf)
POINTS = 500


def statelet_factor_bound(link: SharedLink | None = None) -> FigureData:
    """Fig. 6: largest statelet factor over the load per direction, one curve per total migration time (Eq. 4)."""
    link = link or SharedLink()
    load = np.linspace(0, float(np.asarray(link.capacity_m_bps)), POINTS + 1)[1:]
    loaded = replace(link, load_ab_bps=load, load_ba_bps=load)
    curves = []
    for duration in DURATIONS_S:
        if duration <= float(np.asarray(link.local_s)):
            continue
        name = "any" if np.isinf(duration) else f"{duration:g} s"
        curves.append(curve(f"T_all = {name}", load / 1e6, slim.largest_statelet_factor(loaded, duration)))
    duplication = np.ma.ones(load.shape)
    curves.append(curve("packet duplication, sigma = 1", load / 1e6, duplication, reference=True))
    panel = Panel(
        "",
        "dataplane load per direction, F_ab = F_ba [Mbit/s]",
        "largest statelet factor sigma",
        tuple(curves),
        y_limits=(0, 2),
    )
    return FigureData("slim-6", "SliM, Fig. 6: statelet factor allowed for a successful migration", (panel,))


def delta_migration(vm: DeltaVm | None = None) -> FigureData:
    """Fig. 7: duration of the last round (top) and of all rounds (bottom) over the dataplane load."""
    vm = vm or DeltaVm()
    load = np.linspace(0, 0.9 * float(np.asarray(vm.capacity_bps)), POINTS + 1)
    loaded = replace(vm, load_bps=load)
    x = load / 1e6
    panels = []
    for title, quantity in (("last round: downtime", vm_delta.downtime), ("all rounds", vm_delta.migration_time)):
        curves = (
            curve("dataplane on in the last round", x, quantity(loaded)),
            curve("off in the last round (r_DP = 0)", x, quantity(loaded, paused=True)),
        )
        panels.append(Panel(title, "dataplane load r_DP [Mbit/s]", "duration [s]", curves))
    title = f"SliM, Fig. 7: lower bound of delta-based VM migration, {vm.rounds} rounds, m_0 assumed"
    return FigureData("slim-7", title, tuple(panels), stacked=True)
