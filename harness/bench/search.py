"""Searching the highest rate a system carries without loss (RFC 2544, section 26.1), on a machine that is noisy. Pure.

A trial on a shared machine fails now and then at a rate the system carries easily, because the hypervisor took the CPU
away. A rate therefore holds when one of `attempts` trials is without loss, and what the search finds must hold once
more in most of `confirmations` further trials, or the rate is lowered by one step of the resolution.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

Trial = Callable[[int], bool]


@dataclass(frozen=True)
class SearchSettings:
    """Rates in 1/s; `resolution` is the relative width of the final bracket, `growth` the first step from `start`."""

    start: int
    lowest: int = 500
    highest: int = 2_000_000
    growth: float = 2.0
    resolution: float = 0.02
    attempts: int = 2
    confirmations: int = 2

    def __post_init__(self) -> None:
        if not 0 < self.lowest <= self.start <= self.highest:
            raise ValueError(f"rates {self.lowest} <= {self.start} <= {self.highest} are not in order above 0")
        if self.growth <= 1.0 or not 0.0 < self.resolution < 1.0:
            raise ValueError("growth must be above 1, resolution between 0 and 1")
        if self.attempts < 1 or self.confirmations < 0:
            raise ValueError("at least one attempt, and no negative number of confirmations")


@dataclass(frozen=True)
class SearchResult:
    """`rate` is the highest rate found to hold, 0 where not even the lowest did; every trial in order."""

    rate: int
    trials: tuple[tuple[int, bool], ...]


@dataclass
class _Search:
    trial: Trial
    settings: SearchSettings
    trials: list[tuple[int, bool]] = field(default_factory=list)

    def once(self, rate: int) -> bool:
        passed = self.trial(rate)
        self.trials.append((rate, passed))
        return passed

    def holds(self, rate: int) -> bool:
        return any(self.once(rate) for _ in range(self.settings.attempts))

    def bracket(self) -> tuple[int, int]:
        """(a rate that holds, or 0; a rate that does not, or `highest` where all hold)."""
        s = self.settings
        rate = s.start
        step = s.growth
        if self.holds(rate):
            while rate < s.highest:
                next_rate = min(math.ceil(rate * step), s.highest)
                if not self.holds(next_rate):
                    return rate, next_rate
                rate, step = next_rate, step * s.growth
            return rate, rate
        while rate > s.lowest:
            next_rate = max(math.floor(rate / step), s.lowest)
            if self.holds(next_rate):
                return next_rate, rate
            rate, step = next_rate, step * s.growth
        return 0, s.lowest

    def confirmed(self, rate: int) -> bool:
        wanted = self.settings.confirmations // 2 + 1
        passed = 0
        for number in range(self.settings.confirmations):
            passed += self.once(rate)
            left = self.settings.confirmations - number - 1
            if passed >= wanted or passed + left < wanted:
                break
        return passed >= wanted or self.settings.confirmations == 0


def search_rate(trial: Trial, settings: SearchSettings) -> SearchResult:
    """The highest rate at which `trial` holds: bracket by growing steps, halve the bracket geometrically, confirm."""
    search = _Search(trial, settings)
    low, high = search.bracket()
    while low and high / low > 1 + settings.resolution:
        middle = round(math.sqrt(low * high))
        if middle in (low, high):
            break
        if search.holds(middle):
            low = middle
        else:
            high = middle
    while low and not search.confirmed(low):
        low = math.floor(low / (1 + settings.resolution))
        if low < settings.lowest:
            low = 0
    return SearchResult(low, tuple(search.trials))
