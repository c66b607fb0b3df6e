"""When echo requests are due, whatever flow they belong to: exactly N of them within the load, by a chosen law."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from loadgen import randomness
from loadgen.workload import NS_PER_S, Workload

Int64Array = npt.NDArray[np.int64]


def request_offsets_ns(workload: Workload) -> Int64Array:
    """Due times after the start of the load: int64[N], ascending, all within its duration."""
    if workload.arrivals == "poisson":
        return poisson_offsets_ns(workload)
    if workload.arrivals == "on_off":
        return on_off_offsets_ns(workload)
    offset_ns = np.arange(workload.packets, dtype=np.int64)
    offset_ns *= NS_PER_S
    offset_ns //= workload.rate_pps
    return offset_ns


def poisson_offsets_ns(workload: Workload) -> Int64Array:
    """A Poisson process that is known to have N arrivals within the load: these are N uniform times in order."""
    random = randomness.draws(workload.seed, randomness.ARRIVALS)
    offset_ns = random.integers(0, workload.duration_ns, workload.packets)
    offset_ns.sort()
    return offset_ns


def on_off_offsets_ns(workload: Workload) -> Int64Array:
    """Equal gaps within exponential on times, nothing within the exponential off times that follow each.

    Both kinds are stretched so that their sums have the proportion of their means over the whole load. Then the rate
    while on is rate_pps x (on + off) / on in every run, with exactly N requests.
    """
    on_ns, off_ns = on_off_times_ns(workload)
    on_ends_ns = np.cumsum(on_ns)
    off_before_ns = np.cumsum(off_ns) - off_ns
    elapsed_on_ns = np.arange(workload.packets) * (on_ends_ns[-1] / workload.packets)
    cycle = np.minimum(np.searchsorted(on_ends_ns, elapsed_on_ns, side="right"), on_ns.size - 1)
    offset_ns: Int64Array = (elapsed_on_ns + off_before_ns[cycle]).astype(np.int64)
    offset_ns[offset_ns >= workload.duration_ns] = workload.duration_ns - 1
    return offset_ns


def on_off_times_ns(workload: Workload) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """On times and the off times after them, float64[K] each in ns, that fill the load."""
    random = randomness.draws(workload.seed, randomness.ARRIVALS)
    cycle_ns = workload.on_ns + workload.off_ns
    times_ns = np.zeros((0, 2))
    while times_ns.sum() < workload.duration_ns:
        drawn = random.exponential((workload.on_ns, workload.off_ns), (workload.duration_ns // cycle_ns + 16, 2))
        times_ns = np.concatenate([times_ns, drawn])
    ends_ns = np.cumsum(times_ns.sum(axis=1))
    times_ns = times_ns[: int(np.searchsorted(ends_ns, workload.duration_ns)) + 1]
    shares = np.array((workload.on_ns, workload.off_ns)) / cycle_ns
    times_ns *= shares * workload.duration_ns / times_ns.sum(axis=0)
    return times_ns[:, 0], times_ns[:, 1]
