"""Results as the paper publishes them, cell by cell, and altered at will: what every claim must hold for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from harness.record.sweep import Results
from tests.report.sweeps import cell, result, results, summary

LOADS = (100, 200, 300, 400, 500, 600, 700, 800, 850, 900, 950)


@dataclass(frozen=True)
class Place:
    image: str
    frame: int
    load: int
    mode: str


Alter = Callable[[Place], dict[str, Any] | None]


def nat_statelet(load: int, frame: int) -> dict[str, Any]:
    failing = {900: (0.3, 60), 950: (0.8, 90)}.get(load, (0.0, 10.6))
    duration_s = 1.2 if load >= 900 else 0.3 + 0.5 * load / 800
    return figures(
        failing[0], failing[0] + 0.01, failing[1], duration_s, 100_000 * load // 50, 20, statelets=100 * load
    )


def nat_duplication(load: int, frame: int) -> dict[str, Any]:
    if load < 300:
        return figures(0.0, 0.02, 11, 0.9 + (load - 100) / 1000, 10_000_000, 200, statelets=10)
    loss_s = {850: 2.0, 900: 3.0, 950: 3.9}.get(load, 0.05 + 1.45 * (load - 300) / 500)
    over = load > 300
    return figures(
        loss_s,
        loss_s + 0.1,
        200 if over else 50,
        0.9 + 4.1 * (load - 100) / 700,
        50_000_000,
        65_536 if over else 20_000,
        statelets=10,
        ledger={"pkt_q_overflow": 500 if over else 0, "meter": 100},
    )


def pg(load: int, frame: int) -> dict[str, Any]:
    lossy = load > 500
    ledger = {"wrong_cell": 300, "meter": 10} if lossy else {}
    loss_s = 0.03 if lossy else 0.0
    duration_s = 0.38 if load > 600 else 0.35
    return figures(loss_s, loss_s + 0.01, 10.6, duration_s, 500_000, 20, statelets=500, ledger=ledger)


def figures(
    loss_s: float, late_s: float, mean_rtt_ms: float, duration_s: float, stream_bytes: int, pkt_q: int, **more: Any
) -> dict[str, Any]:
    return {
        "loss_s": loss_s,
        "rtt_late_s": late_s,
        "largest_bin_mean_rtt_ns": mean_rtt_ms * 1e6,
        "duration_ns": round(duration_s * 1e9),
        "statelet_stream_bytes": stream_bytes,
        "pkt_q_max_packets": {"interior": pkt_q, "exterior": 0},
        **more,
    }


MODES: dict[tuple[str, str], Callable[[int, int], dict[str, Any]]] = {
    ("nat", "statelet"): nat_statelet,
    ("nat", "duplication"): nat_duplication,
    ("nat", "none"): lambda load, frame: {},
    ("pg", "statelet"): pg,
}


def published(alter: Alter = lambda at: {}, repetitions: int = 1, scale: float = 1.0) -> Results:
    """The published evaluation. `alter` gives what is different at a place; None: nothing was measured there."""
    found = []
    for (image, mode), figures_of in MODES.items():
        for frame in (512, 1400):
            for load in LOADS:
                changed = alter(Place(image, frame, load, mode))
                if changed is None:
                    continue
                fields = {"one_way_pps": load * scale * 1e6 / 16 / frame, **figures_of(load, frame), **changed}
                fields |= {"frame_bytes": frame, "offered_bps": round(load * scale * 1e6)}
                fields = scaled(fields, mode, scale)
                at = cell(image, frame, load, scale)
                run = summary(mode, **fields)
                found += [result(at, run, repetition) for repetition in range(1, repetitions + 1)]
    return results(*found)


def scaled(fields: dict[str, Any], mode: str, scale: float) -> dict[str, Any]:
    """Bytes and queues of a smaller link; rates are those of the cell."""
    if mode == "none":
        return fields
    sizes = {"snapshot_bytes": 21_000_000, "filler_bytes": 20_971_520} | fields
    for name in ("snapshot_bytes", "filler_bytes", "statelet_stream_bytes"):
        sizes[name] = round(sizes[name] * scale)
    depths = sizes["pkt_q_max_packets"]
    return sizes | {"pkt_q_max_packets": {port: round(depth * scale) for port, depth in depths.items()}}
