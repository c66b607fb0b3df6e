"""Figures 2-5 of the paper on service chains (Fig. 1 is a drawing of the queue)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from harness.models import chain as model
from harness.models import queueing
from harness.models.chain import Chain
from harness.models.domain import Grid, array
from harness.models.figure import Curve, FigureData, Panel, curve

POINTS = 400
SIZES = (4, 5, 6)
COPIED_FRACTIONS = (1.0, 0.7)
TOTAL_BPS = 10_000_000_000
RATIO_MAX = 0.1
_RATIO = "r = P*D/R, dirtying rate over transmission rate"


def comparison(chain: Chain | None = None) -> FigureData:
    """Fig. 2: serial, improved serial and parallel over r (a), with alpha (b), over the number of VNFs (c)."""
    chain = chain or Chain()
    ratio, swept = _ratios(chain)
    fraction = float(array(chain.copied_fraction))
    first = Panel("(a) the three strategies", _RATIO, "time [s]", _strategies(ratio, swept), y_limits=(0, None))
    curves: list[Curve] = []
    for name, serial, improved in (
        ("downtime", model.serial_downtime, model.improved_serial_downtime),
        ("migration time", model.serial_time, model.improved_serial_time),
    ):
        curves.append(curve(f"serial, {name}", ratio, serial(swept)))
        for alpha in dict.fromkeys((*COPIED_FRACTIONS, fraction)):
            less = replace(swept, copied_fraction=alpha)
            curves.append(curve(f"improved serial, alpha = {alpha:g}, {name}", ratio, improved(less)))
    second = Panel("(b) what post-copy has to move", _RATIO, "time [s]", tuple(curves), y_limits=(0, None))
    dirty, rate = float(array(chain.dirty_bps)), float(array(chain.rate_bps))
    vnfs = np.arange(1, min(int(np.ceil(rate / dirty)) - 1 if dirty else 20, 100) + 1)
    third = Panel(
        "(c) number of VNFs",
        "number of VNFs, M",
        "time [s]",
        _strategies(vnfs, replace(chain, vms=vnfs), dots=True),
        y_limits=(0, 200),
    )
    return FigureData("chain-2", "Service chain, Fig. 2: migration time and downtime", (first, second, third))


def migration_time(chain: Chain | None = None) -> FigureData:
    """Fig. 3: migration time of the m-mixed strategies over r, for M = 4, 5 and 6."""
    return _mixed(chain or Chain(), 3, "migration time", model.mixed_time)


def downtime(chain: Chain | None = None) -> FigureData:
    """Fig. 4: downtime of the m-mixed strategies over r, for M = 4, 5 and 6."""
    return _mixed(chain or Chain(), 4, "downtime", model.mixed_downtime)


def queues(chain: Chain | None = None, total_bps: float = TOTAL_BPS) -> FigureData:
    """Fig. 5: blocking, waiting requests and waiting time over the arrival rate, one curve per m."""
    chain = chain or Chain()
    times = model.mixed_time(chain, np.arange(1, int(array(chain.vms)) + 1))
    return queues_of([float(t) for t in times], total_bps, float(array(chain.rate_bps)))


def queues_of(service_s: Sequence[float], total_bps: float, rate_bps: float) -> FigureData:
    """Fig. 5 for mean service times of its own; several are those of m = 1, 2, ..."""
    count = float(queueing.channel_count(total_bps, rate_bps))
    arrival = np.linspace(0, 0.97 * count / max(service_s), POINTS + 1)[1:]
    names = [f"m = {m}, T = {t:.2f} s" if len(service_s) > 1 else f"T = {t:.4g} s" for m, t in enumerate(service_s, 1)]
    rows: tuple[tuple[str, str, Callable[..., Grid], float], ...] = (
        ("blocking (M/M/C/C)", "blocking probability", queueing.blocking, 1e-4),
        ("waiting queue (M/M/C)", "mean number of waiting requests, Lq", queueing.queue_length, 1e-4),
        ("waiting time (M/M/C)", "mean waiting time, Wq [s]", queueing.waiting_time, 1e-3),
    )
    panels = []
    for title, unit, quantity, least in rows:
        curves = tuple(
            curve(name, arrival, quantity(arrival, t, count)) for name, t in zip(names, service_s, strict=True)
        )
        limits = (least, 1.5 * max(float(c.y.max()) for c in curves))
        panels.append(Panel(title, "arrival rate lambda [1/s]", unit, curves, y_scale="log", y_limits=limits))
    return FigureData("chain-5", f"Service chain, Fig. 5: requests at C = {count:g} channels", tuple(panels))


def _mixed(chain: Chain, number: int, name: str, quantity: Callable[[Chain, Any], Grid]) -> FigureData:
    panels = []
    for size in SIZES:
        ratio, swept = _ratios(replace(chain, vms=size))
        curves = tuple(curve(f"m = {m}", ratio, quantity(swept, m)) for m in range(1, size + 1))
        panels.append(Panel(f"M = {size}", _RATIO, f"{name} [s]", curves, y_limits=(0, None)))
    title = f"Service chain, Fig. {number}: {name} of the m-mixed strategies"
    return FigureData(f"chain-{number}", title, tuple(panels))


def _ratios(chain: Chain) -> tuple[Any, Chain]:
    """r over the range of the paper's figures, as far as parallel migration converges."""
    largest = min(RATIO_MAX, 0.999 / float(array(chain.vms)))
    ratio = np.linspace(0, largest, POINTS + 1)[1:]
    return ratio, replace(chain, dirty_bps=ratio * float(array(chain.rate_bps)))


def _strategies(x: Any, swept: Chain, *, dots: bool = False) -> tuple[Curve, ...]:
    rows = (
        ("serial, downtime", model.serial_downtime),
        ("improved serial, downtime", model.improved_serial_downtime),
        ("parallel, downtime", model.parallel_downtime),
        ("serial, migration time", model.serial_time),
        ("improved serial, migration time", model.improved_serial_time),
        ("parallel, migration time", model.parallel_time),
    )
    return tuple(curve(label, x, quantity(swept), dots=dots) for label, quantity in rows)
