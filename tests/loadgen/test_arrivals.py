from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from loadgen.arrivals import on_off_times_ns, request_offsets_ns
from loadgen.workload import Workload

S, MS = 1_000_000_000, 1_000_000


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from(["constant", "poisson", "on_off"]),
    st.integers(1, 20_000),
    st.integers(S, 3 * S),
    st.integers(MS, 4 * S),
    st.integers(MS, 4 * S),
    st.integers(0, 2**31 - 1),
)
def test_every_law_has_exactly_the_requests_of_the_rate_in_order(law, rate_pps, duration_ns, on_ns, off_ns, seed):
    workload = Workload(rate_pps, duration_ns, 1, 100, arrivals=law, seed=seed, on_ns=on_ns, off_ns=off_ns)
    offset_ns = request_offsets_ns(workload)
    assert (offset_ns.dtype, offset_ns.size) == (np.int64, rate_pps * duration_ns // S)
    assert np.all(np.diff(offset_ns) >= 0)
    assert offset_ns[0] >= 0
    assert offset_ns[-1] < duration_ns


@pytest.mark.parametrize("law", ["poisson", "on_off"])
def test_the_seed_decides(law):
    of_seed = [request_offsets_ns(Workload(1_000, S, 1, 100, arrivals=law, seed=seed)) for seed in (1, 1, 2)]
    np.testing.assert_array_equal(of_seed[0], of_seed[1])
    assert not np.array_equal(of_seed[0], of_seed[2])


def test_gaps_of_poisson_arrivals_are_exponential_and_their_counts_poisson():
    offset_ns = request_offsets_ns(Workload(2_000, 20 * S, 1, 100, arrivals="poisson", seed=7))
    assert stats.kstest(np.diff(offset_ns), "expon", args=(0, S / 2_000)).pvalue > 0.01
    counts = np.bincount(offset_ns // (100 * MS))
    # Index of dispersion: 1 for a Poisson process, 0 for a constant rate; 200 intervals scatter it by 10 %.
    assert 0.7 < counts.var(ddof=1) / counts.mean() < 1.3


def test_on_off_sends_at_the_raised_rate_while_on_and_not_at_all_while_off():
    workload = Workload(1_000, 60 * S, 1, 100, arrivals="on_off", seed=3, on_ns=50 * MS, off_ns=150 * MS)
    gaps_ns = np.diff(request_offsets_ns(workload))
    # 1,000 a second in a quarter of the time.
    within = gaps_ns < 300_000
    assert np.all(np.abs(gaps_ns[within] - 250_000) <= 1)
    assert 0.99 < within.mean() < 1
    assert gaps_ns[~within].sum() == pytest.approx(45 * S, rel=0.01)


def test_on_and_off_times_are_exponential_with_their_means():
    workload = Workload(10, 200 * S, 1, 100, arrivals="on_off", seed=5, on_ns=40 * MS, off_ns=160 * MS)
    for times_ns, mean_ns in zip(on_off_times_ns(workload), (40 * MS, 160 * MS), strict=True):
        assert times_ns.size == pytest.approx(1_000, rel=0.1)
        assert times_ns.sum() == pytest.approx(200 * S * mean_ns / (200 * MS))
        assert stats.kstest(times_ns, "expon", args=(0, times_ns.mean())).pvalue > 0.01


def test_times_longer_than_the_load_leave_one_of_each():
    workload = Workload(1_000, S, 1, 100, arrivals="on_off", seed=1, on_ns=3_600 * S, off_ns=3_600 * S)
    offset_ns = request_offsets_ns(workload)
    assert offset_ns.tolist() == (np.arange(1_000) * 500_000).tolist()
