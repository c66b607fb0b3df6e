"""Log-linear latency histogram with an exact bucket edge at 15 ms.

Buckets are right-inclusive, (edge[i-1], edge[i]], so that the bucket ending at 15 ms holds exactly the RTTs
that are not late (late is RTT > 15 ms). Between two powers of two the edges are evenly spaced, SUB_BUCKETS to
the octave: a percentile is off by at most RELATIVE_ERROR of its value between FIRST_EDGE_NS and LAST_EDGE_NS.
Below, the error is at most FIRST_EDGE_NS; above, only the maximum is known. NumPy only, so that a process
which must start fast can import it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from harness.errors import HarnessError

LATE_EDGE_NS = 15_000_000
FIRST_EDGE_NS = 1 << 10
LAST_EDGE_NS = 1 << 36
SUB_BUCKETS = 128
RELATIVE_ERROR = 1 / (2 * SUB_BUCKETS)
"""A bucket is represented by its middle, half of octave / SUB_BUCKETS away from its ends."""

_INT64_MAX = (1 << 63) - 1


def log_linear_edges_ns() -> npt.NDArray[np.int64]:
    """Upper edges of all buckets but the last (which is unbounded): int64[B - 1], strictly ascending."""
    octaves = [
        np.arange(1, SUB_BUCKETS + 1, dtype=np.int64) * (low // SUB_BUCKETS) + low
        for low in (1 << k for k in range(FIRST_EDGE_NS.bit_length() - 1, LAST_EDGE_NS.bit_length() - 1))
    ]
    first = np.array([0, FIRST_EDGE_NS, LATE_EDGE_NS], dtype=np.int64)
    return np.unique(np.concatenate([first, *octaves]))


EDGES_NS = log_linear_edges_ns()
EDGES_NS.flags.writeable = False
BUCKETS = EDGES_NS.size + 1


def bucket_index(edges_ns: npt.NDArray[np.int64], value_ns: int) -> int:
    """Index of the bucket that holds `value_ns`: the first edge not below it.

    Plain arithmetic without allocation, so that a compiled loop may wrap it with numba.njit and count by itself.
    """
    low = 0
    high = edges_ns.size
    while low < high:
        middle = (low + high) // 2
        if edges_ns[middle] < value_ns:
            low = middle + 1
        else:
            high = middle
    return low


def nearest_rank(count: int, quantile: float) -> int:
    """Index (from 0) of the nearest-rank quantile in `count` sorted values; ValueError outside count > 0, 0..1."""
    if count <= 0 or not 0.0 <= quantile <= 1.0:
        raise ValueError(f"no rank for quantile {quantile} of {count} values")
    # The product of a decimal quantile and a count may lie a rounding error above the whole number that is meant.
    return min(count, max(1, math.ceil(round(quantile * count, 6)))) - 1


class LatencyHistogram:
    """Counts of latencies in ns; exact count, sum, minimum and maximum, percentiles within RELATIVE_ERROR."""

    def __init__(self) -> None:
        self.counts: npt.NDArray[np.int64] = np.zeros(BUCKETS, dtype=np.int64)
        self.sum_ns = 0
        self._minimum_ns = _INT64_MAX
        self._maximum_ns = -_INT64_MAX

    @property
    def count(self) -> int:
        return int(self.counts.sum())

    @property
    def minimum_ns(self) -> int | None:
        return self._minimum_ns if self.count else None

    @property
    def maximum_ns(self) -> int | None:
        return self._maximum_ns if self.count else None

    @property
    def mean_ns(self) -> float | None:
        return self.sum_ns / self.count if self.count else None

    def record(self, values_ns: npt.NDArray[np.int64]) -> None:
        """Count every value of int64[n]. Values of 0 or less (a reply stamped before its due time) share bucket 0."""
        if values_ns.size == 0:
            return
        values_ns = np.asarray(values_ns, dtype=np.int64).ravel()
        self.counts += np.bincount(np.searchsorted(EDGES_NS, values_ns, side="left"), minlength=BUCKETS)
        self.sum_ns += int(values_ns.sum())
        self._minimum_ns = min(self._minimum_ns, int(values_ns.min()))
        self._maximum_ns = max(self._maximum_ns, int(values_ns.max()))

    def merge(self, other: LatencyHistogram) -> None:
        """Add all that `other` counted; merging is associative and commutative."""
        self.counts += other.counts
        self.sum_ns += other.sum_ns
        self._minimum_ns = min(self._minimum_ns, other._minimum_ns)
        self._maximum_ns = max(self._maximum_ns, other._maximum_ns)

    def percentile_ns(self, percent: float) -> int | None:
        """Nearest-rank percentile (0..100), None while nothing is counted."""
        count = self.count
        if count == 0:
            return None
        rank = nearest_rank(count, percent / 100.0)
        bucket = int(np.searchsorted(np.cumsum(self.counts), rank, side="right"))
        if bucket == 0:
            middle = 0
        elif bucket == BUCKETS - 1:
            middle = self._maximum_ns
        else:
            middle = (int(EDGES_NS[bucket - 1]) + int(EDGES_NS[bucket])) // 2
        return max(self._minimum_ns, min(self._maximum_ns, middle))

    def count_above(self, edge_ns: int) -> int:
        """Exact number of values > `edge_ns`, which must be a bucket edge (LATE_EDGE_NS is); ValueError otherwise."""
        bucket = bucket_index(EDGES_NS, edge_ns)
        if bucket >= EDGES_NS.size or int(EDGES_NS[bucket]) != edge_ns:
            raise ValueError(f"{edge_ns} ns is no bucket edge, so the values above it are not known exactly")
        return int(self.counts[bucket + 1 :].sum())

    def as_dict(self) -> dict[str, object]:
        """Sparse form for JSON: the buckets in use by their upper edge (None is the unbounded bucket)."""
        used = np.flatnonzero(self.counts)
        return {
            "upper_edge_ns": [int(EDGES_NS[i]) if i < EDGES_NS.size else None for i in used],
            "count": [int(c) for c in self.counts[used]],
            "sum_ns": self.sum_ns,
            "minimum_ns": self.minimum_ns,
            "maximum_ns": self.maximum_ns,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, object]) -> LatencyHistogram:
        """Inverse of `as_dict`; HarnessError for anything that `as_dict` cannot have written."""
        edges, counts, total = data.get("upper_edge_ns"), data.get("count"), data.get("sum_ns")
        if not (isinstance(edges, Sequence) and isinstance(counts, Sequence) and isinstance(total, int)):
            raise HarnessError("histogram: upper_edge_ns, count and sum_ns are needed")
        if len(edges) != len(counts):
            raise HarnessError(f"histogram: {len(edges)} edges for {len(counts)} counts")
        histogram = cls()
        for edge, count in zip(edges, counts, strict=True):
            if not isinstance(count, int) or count < 0 or not (edge is None or isinstance(edge, int)):
                raise HarnessError("histogram: a count or an edge is not a whole number of 0 or more")
            bucket = BUCKETS - 1 if edge is None else bucket_index(EDGES_NS, edge)
            if edge is not None and (bucket >= EDGES_NS.size or int(EDGES_NS[bucket]) != edge):
                raise HarnessError(f"histogram: {edge} ns is no edge of this version's buckets")
            histogram.counts[bucket] += count
        minimum, maximum = data.get("minimum_ns"), data.get("maximum_ns")
        if histogram.count:
            if not (isinstance(minimum, int) and isinstance(maximum, int) and minimum <= maximum):
                raise HarnessError("histogram: minimum_ns and maximum_ns are needed")
            histogram.sum_ns, histogram._minimum_ns, histogram._maximum_ns = total, minimum, maximum
        return histogram
