from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import HarnessError
from harness.measure.histogram import (
    BUCKETS,
    EDGES_NS,
    LATE_EDGE_NS,
    RELATIVE_ERROR,
    LatencyHistogram,
    bucket_index,
    nearest_rank,
)

latencies = st.lists(st.integers(1024, 1 << 36), min_size=1, max_size=200)


def histogram_of(values: list[int]) -> LatencyHistogram:
    histogram = LatencyHistogram()
    histogram.record(np.array(values, dtype=np.int64))
    return histogram


def test_late_edge_is_exact() -> None:
    histogram = histogram_of([LATE_EDGE_NS - 1, LATE_EDGE_NS, LATE_EDGE_NS + 1, LATE_EDGE_NS + 2])
    assert histogram.count_above(LATE_EDGE_NS) == 2


def test_edge_between_buckets_is_refused() -> None:
    with pytest.raises(ValueError, match="no bucket edge"):
        histogram_of([1]).count_above(LATE_EDGE_NS + 1)


def test_edges_ascend_and_are_dense_enough() -> None:
    widths = np.diff(EDGES_NS)
    assert (widths > 0).all()
    above = EDGES_NS[:-1] >= 1024
    assert (widths[above] / EDGES_NS[:-1][above] <= 2 * RELATIVE_ERROR).all()


@given(latencies, st.floats(0, 100))
def test_percentile_within_stated_error(values: list[int], percent: float) -> None:
    exact = sorted(values)[nearest_rank(len(values), percent / 100)]
    measured = histogram_of(values).percentile_ns(percent)
    assert measured is not None
    assert abs(measured - exact) <= RELATIVE_ERROR * exact + 1


@given(latencies, latencies)
def test_merge_equals_recording_everything(first: list[int], second: list[int]) -> None:
    merged = histogram_of(first)
    merged.merge(histogram_of(second))
    both = histogram_of(first + second)
    assert merged.as_dict() == both.as_dict()
    assert (merged.mean_ns, merged.count) == (both.mean_ns, len(first) + len(second))


@given(st.integers(-(1 << 40), 1 << 40))
def test_bucket_index_agrees_with_recording(value: int) -> None:
    assert int(np.flatnonzero(histogram_of([value]).counts)[0]) == bucket_index(EDGES_NS, value)


@given(latencies)
def test_survives_json(values: list[int]) -> None:
    histogram = histogram_of(values)
    again = LatencyHistogram.from_dict(json.loads(json.dumps(histogram.as_dict(), allow_nan=False)))
    assert (again.counts == histogram.counts).all()
    assert (again.minimum_ns, again.maximum_ns, again.sum_ns) == (min(values), max(values), sum(values))


def test_empty_knows_nothing() -> None:
    empty = LatencyHistogram()
    empty.merge(LatencyHistogram())
    empty.record(np.array([], dtype=np.int64))
    assert (empty.count, empty.mean_ns, empty.percentile_ns(50), empty.maximum_ns) == (0, None, None, None)


def test_out_of_range_is_counted() -> None:
    histogram = histogram_of([-5, 0, 1 << 40])
    assert histogram.counts[0] == 2
    assert histogram.counts[BUCKETS - 1] == 1
    assert histogram.percentile_ns(100) == 1 << 40


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"upper_edge_ns": [15_000_000], "count": [], "sum_ns": 0},
        {"upper_edge_ns": [15_000_001], "count": [1], "sum_ns": 0, "minimum_ns": 1, "maximum_ns": 1},
        {"upper_edge_ns": [15_000_000], "count": [-1], "sum_ns": 0},
        {"upper_edge_ns": [15_000_000], "count": [1], "sum_ns": 5, "minimum_ns": None, "maximum_ns": 4},
    ],
)
def test_foreign_data_is_refused(data: dict[str, object]) -> None:
    with pytest.raises(HarnessError):
        LatencyHistogram.from_dict(data)


@pytest.mark.parametrize(("count", "quantile", "rank"), [(10, 0.5, 4), (10, 0.9, 8), (1000, 0.999, 998), (1, 0.0, 0)])
def test_nearest_rank_by_hand(count: int, quantile: float, rank: int) -> None:
    assert nearest_rank(count, quantile) == rank
