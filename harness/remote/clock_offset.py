"""How far a host's CLOCK_MONOTONIC is from ours, with a bound that holds whatever way the messages took.

One exchange says that the host's clock showed `theirs_ns` at some instant between `sent_ns` and `received_ns` of ours.
As in NTP (RFC 5905, section 8) the offset is taken at the middle, and is wrong by at most half the round trip; of
several exchanges the one with the shortest round trip is believed. All times and offsets are ns; an offset is their
clock minus ours. Clocks whose rates differ move apart: bounds grow with the distance from a measurement.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from harness.errors import ProtocolError
from harness.remote.caller import Caller

EXCHANGES = 16
"""Enough that one of them meets no queue."""
DRIFT_PPM = 200
"""Largest difference of two clocks' rates of which nothing is known: two quartzes of 100 ppm each."""
WANDER_PPM = 30
"""Largest change of that difference between two measurements: twice the tolerance of RFC 5905 (PHI, 15 ppm)."""

_PPM = 1_000_000
_CLOCK_MAX_NS = 1 << 63


@dataclass(frozen=True)
class Exchange:
    """A question and its answer: our clock before and after, and theirs at some instant between."""

    sent_ns: int
    theirs_ns: int
    received_ns: int

    @property
    def round_trip_ns(self) -> int:
        """Our time between question and answer."""
        return self.received_ns - self.sent_ns


@dataclass(frozen=True)
class Reading:
    """A value in ns, and by how much it may be wrong at most."""

    value_ns: int
    error_bound_ns: int


@dataclass(frozen=True)
class ClockEstimate:
    """The offset at `at_ns` of our clock, wrong by at most `error_bound_ns` there."""

    at_ns: int
    offset_ns: int
    error_bound_ns: int

    def offset(self, ours_ns: int) -> Reading:
        """The offset when our clock shows `ours_ns`."""
        return Reading(self.offset_ns, self.error_bound_ns + _allowance_ns(ours_ns - self.at_ns, DRIFT_PPM))

    def to_ours(self, theirs_ns: int) -> Reading:
        """What our clock showed when theirs showed `theirs_ns`."""
        return _to_ours(self, theirs_ns, theirs_ns - self.offset_ns)


@dataclass(frozen=True)
class ClockCourse:
    """The offset from before a run until after it.

    Between the two it is taken to have changed evenly. The bound covers all the drift that was seen, so that it holds
    also when the clocks moved apart at once, early or late; beyond the two it is as that of the nearer one.
    """

    before: ClockEstimate
    after: ClockEstimate

    @property
    def drift_ns(self) -> int:
        """By how much the measured offset changed."""
        return self.after.offset_ns - self.before.offset_ns

    def offset(self, ours_ns: int) -> Reading:
        """The offset when our clock shows `ours_ns`."""
        first, last = self.before, self.after
        if ours_ns <= first.at_ns:
            return first.offset(ours_ns)
        if ours_ns >= last.at_ns:
            return last.offset(ours_ns)
        passed_ns, left_ns = ours_ns - first.at_ns, last.at_ns - ours_ns
        offset_ns = first.offset_ns + self.drift_ns * passed_ns // (passed_ns + left_ns)
        bound_ns = max(first.error_bound_ns, last.error_bound_ns) + abs(self.drift_ns) + 1
        return Reading(offset_ns, bound_ns + _allowance_ns(min(passed_ns, left_ns), WANDER_PPM))

    def to_ours(self, theirs_ns: int) -> Reading:
        """What our clock showed when theirs showed `theirs_ns`."""
        first_guess_ns = theirs_ns - self.before.offset_ns
        return _to_ours(self, theirs_ns, theirs_ns - self.offset(first_guess_ns).value_ns)


def estimate(exchanges: Sequence[Exchange]) -> ClockEstimate:
    """The estimate of the exchange with the shortest round trip; ValueError without any."""
    best = min(exchanges, key=lambda exchange: exchange.round_trip_ns)
    at_ns = (best.sent_ns + best.received_ns) // 2
    # Half of an odd round trip is rounded up, and the clocks move apart meanwhile.
    bound_ns = -(-best.round_trip_ns // 2) + 1 + _allowance_ns(best.round_trip_ns, DRIFT_PPM)
    return ClockEstimate(at_ns, best.theirs_ns - at_ns, bound_ns)


def measure_clock(agent: Caller, exchanges: int = EXCHANGES, deadline_s: float = 5.0) -> ClockEstimate:
    """Estimate a host's offset by asking its agent; each exchange has the deadline. What `call` raises; ProtocolError
    for an answer that is no time."""
    return estimate([_exchange(agent, deadline_s) for _ in range(exchanges)])


def _exchange(agent: Caller, deadline_s: float) -> Exchange:
    sent_ns = time.monotonic_ns()
    answer = agent.call("clock", deadline_s)
    received_ns = time.monotonic_ns()
    theirs_ns = answer.get("monotonic_ns")
    if not isinstance(theirs_ns, int) or isinstance(theirs_ns, bool) or not 0 <= theirs_ns < _CLOCK_MAX_NS:
        raise ProtocolError(f"clock: {theirs_ns!r:.40} is no time")
    return Exchange(sent_ns, theirs_ns, received_ns)


def _allowance_ns(distance_ns: int, ppm: int) -> int:
    return -(-abs(distance_ns) * ppm // _PPM)


def _to_ours(clock: ClockEstimate | ClockCourse, theirs_ns: int, guess_ns: int) -> Reading:
    """The bound is that of the offset at the guess, and what it may grow within the guess's own error."""
    offset = clock.offset(guess_ns)
    grown_ns = _allowance_ns(offset.error_bound_ns, 2 * DRIFT_PPM)
    return Reading(theirs_ns - offset.value_ns, offset.error_bound_ns + grown_ns)
