"""The search against synthetic systems of known capacity, noise included."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.bench.search import SearchSettings, search_rate


def steady(capacity: int):
    return lambda rate: rate <= capacity


@given(
    capacity=st.integers(600, 1_900_000),
    start=st.integers(500, 1_000_000),
    resolution=st.sampled_from([0.01, 0.05, 0.3]),
)
def test_a_steady_capacity_is_found_within_the_resolution(capacity: int, start: int, resolution: float) -> None:
    result = search_rate(steady(capacity), SearchSettings(start=start, resolution=resolution))
    assert capacity / (1 + resolution) - 1 <= result.rate <= capacity


@given(capacity=st.integers(1_000, 1_500_000), seed=st.integers(0, 2**32))
def test_an_unlucky_trial_now_and_then_costs_little(capacity: int, seed: int) -> None:
    """One trial in twenty fails although the rate is held; never the other way round."""
    noise = random.Random(seed)
    settings = SearchSettings(start=50_000, resolution=0.02, attempts=3, confirmations=3)
    result = search_rate(lambda rate: rate <= capacity and noise.random() > 0.05, settings)
    assert result.rate <= capacity
    assert result.rate >= 0.5 * capacity or capacity < 2 * settings.lowest


def test_noise_is_what_the_attempts_are_for() -> None:
    def median_rate(attempts: int) -> int:
        noise = random.Random(7)
        settings = SearchSettings(start=50_000, resolution=0.02, attempts=attempts, confirmations=2)
        found = [search_rate(lambda r: r <= 80_000 and noise.random() > 0.2, settings).rate for _ in range(101)]
        return sorted(found)[50]

    assert median_rate(1) < median_rate(3)
    assert median_rate(3) >= 76_000


def test_a_rate_that_held_once_by_luck_is_not_confirmed() -> None:
    lucky = {90_000}

    def trial(rate: int) -> bool:
        if rate in lucky:
            lucky.discard(rate)
            return True
        return rate <= 60_000

    settings = SearchSettings(start=90_000, resolution=0.05, attempts=1, confirmations=3)
    assert search_rate(trial, settings).rate <= 60_000


def test_nothing_holds() -> None:
    settings = SearchSettings(start=50_000, lowest=1_000)
    result = search_rate(lambda _: False, settings)
    assert result.rate == 0
    assert min(rate for rate, _ in result.trials) == 1_000


def test_everything_holds_up_to_the_highest() -> None:
    assert search_rate(lambda _: True, SearchSettings(start=50_000, highest=300_000)).rate == 300_000


def test_every_trial_is_reported_in_order() -> None:
    asked: list[int] = []

    def trial(rate: int) -> bool:
        asked.append(rate)
        return rate <= 70_000

    result = search_rate(trial, SearchSettings(start=50_000, resolution=0.1))
    assert [rate for rate, _ in result.trials] == asked
    assert all(passed == (rate <= 70_000) for rate, passed in result.trials)


def test_a_search_from_near_the_answer_needs_few_trials() -> None:
    far = search_rate(steady(81_000), SearchSettings(start=10_000, resolution=0.03))
    near = search_rate(steady(81_000), SearchSettings(start=80_000, growth=1.15, resolution=0.03))
    assert len(near.trials) < len(far.trials)


@pytest.mark.parametrize(
    "wrong",
    [
        {"start": 0},
        {"start": 100, "lowest": 200},
        {"start": 9, "lowest": 1, "highest": 8},
        {"start": 600, "growth": 1.0},
        {"start": 600, "resolution": 0.0},
        {"start": 600, "attempts": 0},
        {"start": 600, "confirmations": -1},
    ],
)
def test_settings_that_cannot_be_searched_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"order|growth|attempt"):
        SearchSettings(**wrong)  # type: ignore[arg-type]
