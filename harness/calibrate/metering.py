"""The rate of a token bucket from samples of its counters while it is offered more than it lets through. Pure.

Whenever a frame has to wait for tokens the bucket is empty. What the meter has sent between two such moments, divided
by the time between them, is its rate, whatever the sender did meanwhile: that the sender is ahead of the meter is
enough, by how much does not matter (on a small machine the meter's timers take so much of the sender's CPU that it is
slowed to exactly the rate, and nothing is ever refused). A sender that stood still leaves tokens behind, and those
beyond the bucket's depth are lost (tc-tbf(8)): such an interval says nothing, and neither does the next.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

PAUSE_SHARE = 0.25
"""Of the bucket's depth: a longer pause of the sender spoils an interval."""


@dataclass(frozen=True)
class MeterSample:
    """The counters of a meter at `at_ns`. waits: times it was out of tokens; longest_pause_ns: of the sender since the
    sample before."""

    at_ns: int
    sent_bytes: int
    waits: int
    longest_pause_ns: int


def pauses(sample: MeterSample, burst_ns: int) -> bool:
    """Whether the sender stood still for too long before this sample."""
    return sample.longest_pause_ns >= PAUSE_SHARE * burst_ns


@dataclass(frozen=True)
class MeteredRate:
    """Rate over the usable intervals together, and of the slowest and fastest of them; bit/s."""

    intervals: int
    rate_bps: int
    minimum_bps: int
    maximum_bps: int
    duration_ns: int


def metered_rate(samples: Sequence[MeterSample], burst_ns: int) -> MeteredRate | None:
    """From samples in order of time; `burst_ns` is the depth of the bucket. None without a usable interval."""
    intervals = list(pairwise(samples))
    steady = [
        after.waits > before.waits and not pauses(after, burst_ns) and after.at_ns > before.at_ns
        for before, after in intervals
    ]
    parts = [
        (after.sent_bytes - before.sent_bytes, after.at_ns - before.at_ns)
        for number, (before, after) in enumerate(intervals)
        if number > 0 and steady[number] and steady[number - 1]
    ]
    if not parts:
        return None
    rates = [_bps(*part) for part in parts]
    sent_bytes, duration_ns = (sum(column) for column in zip(*parts, strict=True))
    return MeteredRate(len(parts), _bps(sent_bytes, duration_ns), min(rates), max(rates), duration_ns)


def _bps(sent_bytes: int, duration_ns: int) -> int:
    return round(sent_bytes * 8e9 / duration_ns)
