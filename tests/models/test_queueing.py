"""Loss and waiting at C channels: printed situations, other ways to calculate them, thousands of channels."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import UsageError
from harness.models import queueing


def erlang_b_by_sum(load, channels):
    """1/sum of C!/((C - k)! A^k), in exact enough arithmetic for small C."""
    return 1 / math.fsum(math.perm(channels, k) / load**k for k in range(channels + 1))


def test_channels():
    assert float(queueing.channel_count(10e9, 1e9)) == 10
    assert queueing.channel_count([1e9, 2.99e9, 0.3], [1e9, 1e9, 0.1]).tolist() == [1, 2, 3]
    with pytest.raises(UsageError, match=r"C = floor\(B/R\) must be a whole number, 1 or more; it is 0"):
        queueing.channel_count(1e8, 1e9)


@pytest.mark.parametrize(
    ("arrival", "service", "lost", "length", "wait"),
    [
        (0.1, 40.64, 0.005837, 0.00671, 0.06705),
        (0.1, 64, 0.056244, 0.2525, 2.525),
        (0.15, 64, 0.196044, 20.618, 137.45),
    ],
)
def test_ten_channels(arrival, service, lost, length, wait):
    assert float(queueing.blocking(arrival, service, 10)) == pytest.approx(lost, abs=5.1e-7)
    assert float(queueing.queue_length(arrival, service, 10)) == pytest.approx(length, rel=1e-3)
    assert float(queueing.waiting_time(arrival, service, 10)) == pytest.approx(wait, rel=1e-4)


def test_equation_22_as_it_stands():
    load, channels = 6.4, 10
    rho = load / channels
    term = load**channels / math.factorial(channels)
    p0 = 1 / (math.fsum(load**k / math.factorial(k) for k in range(channels)) + term / (1 - rho))
    assert float(queueing.empty_probability_log(0.1, 64, channels)) == pytest.approx(math.log(p0))
    assert float(queueing.waiting_probability(0.1, 64, channels)) == pytest.approx(p0 * term / (1 - rho))
    assert float(queueing.queue_length(0.1, 64, channels)) == pytest.approx(p0 * term * rho / (1 - rho) ** 2)


@given(st.floats(0.01, 300), st.integers(1, 60))
def test_blocking_is_the_sum(load, channels):
    expected = erlang_b_by_sum(load, channels)
    assert float(queueing.blocking(load, 1, channels)) == pytest.approx(expected, rel=1e-11, abs=1e-300)


def test_both_ways_to_calculate_agree():
    channels = np.repeat([1.0, 2, 10, 63, 64, 65, 500, 3000], 60)
    load = channels * np.tile(np.linspace(0.02, 4, 60), 8)
    by_recursion, closed = queueing._recursion(load, channels), queueing._closed(load, channels)
    told = by_recursion > 1e-290
    assert np.isfinite(closed).all()
    assert closed[told] == pytest.approx(by_recursion[told], rel=1e-10)
    assert (closed[~told] < 1e-280).all()


@pytest.mark.parametrize("channels", [1_000, 20_000, 100_000])
def test_thousands_of_channels_stay_stable(channels):
    # At A = C Erlang B is sqrt(2/(pi C)) to first order; above, 1 - C/A is its limit.
    assert float(queueing.blocking(channels, 1, channels)) == pytest.approx(math.sqrt(2 / math.pi / channels), rel=0.02)
    assert float(queueing.blocking(3 * channels, 1, channels)) == pytest.approx(2 / 3, rel=1e-3)
    waits = float(queueing.waiting_probability(0.999 * channels, 1, channels))
    assert 0 < waits < 1
    assert float(queueing.queue_length(0.999 * channels, 1, channels)) == pytest.approx(waits * 0.999 / 0.001)
    assert float(queueing.empty_probability_log(0.5 * channels, 1, channels)) == pytest.approx(-0.5 * channels)


def test_one_channel_is_the_textbook_queue():
    rho = np.linspace(0.05, 0.95, 10)
    assert queueing.waiting_probability(rho, 1, 1).tolist() == pytest.approx(rho.tolist())
    assert queueing.queue_length(rho, 1, 1).tolist() == pytest.approx((rho**2 / (1 - rho)).tolist())


@given(st.floats(0.1, 20), st.integers(1, 40))
def test_more_channels_block_less_and_more_load_blocks_more(load, channels):
    here = float(queueing.blocking(load, 1, channels))
    assert float(queueing.blocking(load, 1, channels + 1)) < here < float(queueing.blocking(load * 1.01, 1, channels))


def test_grids_of_different_channel_counts_large_enough_for_the_closed_form():
    rng = np.random.default_rng(1)
    channels = rng.integers(1, 2000, 40_000)
    load = channels * rng.uniform(0.1, 1.5, 40_000)
    lost = queueing.blocking(load, 1, channels)
    for i in range(0, 40_000, 4_000):
        assert float(lost[i]) == pytest.approx(float(queueing.blocking(load[i], 1, channels[i])), rel=1e-9, abs=1e-280)


def test_an_unstable_queue_is_refused_and_masked_in_grids():
    with pytest.raises(UsageError, match=r"utilisation rho = lambda\*T/C must be below 1 .*unstable.*; it is 1.28"):
        queueing.waiting_time(0.2, 64, 10)
    assert float(queueing.blocking(0.2, 64, 10)) > 0.196
    grid = queueing.waiting_time([0.1, 0.2], 64, 10)
    assert grid.tolist() == [pytest.approx(2.525, abs=1e-3), None]
    assert float(queueing.largest_arrival_per_s(64, 10)) == 10 / 64


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((-0.1, 64, 10), "arrival rate"),
        ((0.1, 0, 10), "service time"),
        ((0.1, 64, 0), "channels"),
        ((0.1, 64, 1.5), "C"),
    ],
)
def test_a_violated_condition_is_named(arguments, message):
    with pytest.raises(UsageError, match=message):
        queueing.blocking(*arguments)


def test_masked_input_stays_masked():
    service = np.array([64.0, -1.0])
    assert queueing.blocking(0.1, service, 10).tolist() == [pytest.approx(0.056244, abs=1e-6), None]
