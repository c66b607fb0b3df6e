"""Kernel arrival timestamps (CLOCK_REALTIME) on the clock of everything else (CLOCK_MONOTONIC)."""

from __future__ import annotations

from typing import Any

from harness.dataplane.jit import compiled
from harness.dataplane.libc import clock_ns

_CLOSE_NS = 500
_OLDEST_ARRIVAL_NS = 60_000_000_000


@compiled
def monotonic_minus_realtime_ns(scratch: Any) -> int:
    """Difference of the two clocks, from the closest of three readings: a preempted one would be off by its delay."""
    best_width = 1 << 62
    best = 0
    for _ in range(3):
        before = clock_ns(1, scratch)
        realtime = clock_ns(0, scratch)
        after = clock_ns(1, scratch)
        if after - before < best_width:
            best_width = after - before
            best = (before + after) // 2 - realtime
        if best_width < _CLOSE_NS:
            break
    return best


@compiled
def arrival_ns(realtime_ns: int, difference_ns: int, now_ns: int) -> int:
    """Arrival on CLOCK_MONOTONIC; `now_ns` where the kernel gave no timestamp or a step of the wall clock spoilt it."""
    arrival = realtime_ns + difference_ns
    if realtime_ns == 0 or arrival > now_ns or now_ns - arrival > _OLDEST_ARRIVAL_NS:
        return now_ns
    return arrival
