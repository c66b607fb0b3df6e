from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import ProtocolError
from harness.remote.clock_offset import (
    DRIFT_PPM,
    EXCHANGES,
    ClockCourse,
    ClockEstimate,
    Exchange,
    estimate,
    measure_clock,
)

SECOND_NS = 1_000_000_000
OFFSETS = st.integers(-(10**16), 10**16)
RATES_PPM = st.integers(-DRIFT_PPM, DRIFT_PPM)
DELAYS = st.integers(0, SECOND_NS)
WAYS = st.lists(st.tuples(DELAYS, DELAYS, st.integers(0, SECOND_NS)), min_size=1, max_size=10)
"""Of each exchange: ns there, ns back, ns of ours since the one before."""


def theirs(ours_ns: int, offset_ns: int, rate_ppm: int, zero_ns: int = 0) -> int:
    """A clock that showed ours + offset when ours showed `zero_ns`, and has gone faster since."""
    return ours_ns + offset_ns + (ours_ns - zero_ns) * rate_ppm // 1_000_000


def exchanges(ways: list[tuple[int, int, int]], start_ns: int, offset_ns: int, rate_ppm: int) -> list[Exchange]:
    made, now_ns = [], start_ns
    for there_ns, back_ns, pause_ns in ways:
        at_ns = now_ns + there_ns
        made.append(Exchange(now_ns, theirs(at_ns, offset_ns, rate_ppm, start_ns), at_ns + back_ns))
        now_ns = at_ns + back_ns + pause_ns
    return made


@given(WAYS, OFFSETS, RATES_PPM, st.integers(-60 * SECOND_NS, 60 * SECOND_NS))
def test_the_true_offset_is_within_the_bound_whatever_way_the_messages_took(
    ways: list[tuple[int, int, int]], offset_ns: int, rate_ppm: int, later_ns: int
) -> None:
    start_ns = 10**15
    found = estimate(exchanges(ways, start_ns, offset_ns, rate_ppm))
    for ours_ns in (found.at_ns, found.at_ns + later_ns):
        reading = found.offset(ours_ns)
        true_ns = theirs(ours_ns, offset_ns, rate_ppm, start_ns) - ours_ns
        assert abs(reading.value_ns - true_ns) <= reading.error_bound_ns


@given(WAYS, OFFSETS)
def test_the_bound_is_half_of_the_shortest_round_trip(ways: list[tuple[int, int, int]], offset_ns: int) -> None:
    made = exchanges(ways, 10**15, offset_ns, 0)
    shortest_ns = min(exchange.round_trip_ns for exchange in made)
    assert shortest_ns / 2 <= estimate(made).error_bound_ns <= shortest_ns / 2 * 1.001 + 3


@given(WAYS, OFFSETS, RATES_PPM, st.integers(0, 600 * SECOND_NS))
def test_times_of_the_host_become_ours_within_the_bound(
    ways: list[tuple[int, int, int]], offset_ns: int, rate_ppm: int, later_ns: int
) -> None:
    start_ns = 10**15
    ours_ns = start_ns + later_ns
    found = estimate(exchanges(ways, start_ns, offset_ns, rate_ppm))
    reading = found.to_ours(theirs(ours_ns, offset_ns, rate_ppm, start_ns))
    assert abs(reading.value_ns - ours_ns) <= reading.error_bound_ns


def course(
    ways: list[tuple[int, int, int]], again: list[tuple[int, int, int]], offset_ns: int, drift_ns: int, length_ns: int
) -> ClockCourse:
    """Measured when the offset was still as at first, and again when all of the drift had happened."""
    before = estimate(exchanges(ways, 10**15, offset_ns, 0))
    end_ns = before.at_ns + 20 * SECOND_NS + length_ns
    return ClockCourse(before, estimate(exchanges(again, end_ns, offset_ns + drift_ns, 0)))


@given(
    WAYS,
    WAYS,
    OFFSETS,
    st.integers(-(10**8), 10**8),
    st.integers(SECOND_NS, 600 * SECOND_NS),
    st.floats(0, 1),
    st.floats(0, 1),
)
def test_between_two_measurements_the_bound_covers_any_course_from_one_to_the_other(
    ways: list[tuple[int, int, int]],
    again: list[tuple[int, int, int]],
    offset_ns: int,
    drift_ns: int,
    length_ns: int,
    when: float,
    drifted: float,
) -> None:
    found = course(ways, again, offset_ns, drift_ns, length_ns)
    ours_ns = found.before.at_ns + round((found.after.at_ns - found.before.at_ns) * when)
    true_ns = offset_ns + round(drift_ns * drifted)
    if found.before.at_ns < ours_ns < found.after.at_ns:
        reading = found.offset(ours_ns)
        assert abs(reading.value_ns - true_ns) <= reading.error_bound_ns
        back = found.to_ours(ours_ns + true_ns)
        if found.before.at_ns < back.value_ns < found.after.at_ns:
            assert abs(back.value_ns - ours_ns) <= back.error_bound_ns


@given(WAYS, WAYS, OFFSETS, RATES_PPM, st.integers(-60, 120))
def test_an_even_drift_is_followed_before_between_and_after(
    ways: list[tuple[int, int, int]], again: list[tuple[int, int, int]], offset_ns: int, rate_ppm: int, second: int
) -> None:
    start_ns = 10**15
    end_ns = start_ns + 60 * SECOND_NS
    first = estimate(exchanges(ways, start_ns, offset_ns, rate_ppm))
    shifted_ns = theirs(end_ns, offset_ns, rate_ppm, start_ns) - end_ns
    found = ClockCourse(first, estimate(exchanges(again, end_ns, shifted_ns, rate_ppm)))
    ours_ns = start_ns + second * SECOND_NS
    reading = found.offset(ours_ns)
    # Two roundings of the clock of this test.
    assert abs(reading.value_ns - (theirs(ours_ns, offset_ns, rate_ppm, start_ns) - ours_ns)) <= (
        reading.error_bound_ns + 2
    )


def test_an_even_drift_between_good_measurements_is_taken_out() -> None:
    found = ClockCourse(ClockEstimate(0, 1000, 10), ClockEstimate(20 * SECOND_NS, 401_000, 10))
    assert found.drift_ns == 400_000
    assert found.offset(10 * SECOND_NS).value_ns == 201_000
    assert found.offset(0).error_bound_ns == 10
    assert found.offset(10 * SECOND_NS).error_bound_ns == 10 + 400_000 + 1 + 300_000


class Host:
    """An agent whose clock is so far from ours."""

    def __init__(self, answers: list[dict[str, Any]]) -> None:
        self.answers = answers
        self.deadlines: list[float] = []

    def call(self, name: str, deadline_s: float = 30.0, **_arguments: Any) -> dict[str, Any]:
        assert name == "clock"
        self.deadlines.append(deadline_s)
        return self.answers.pop(0)


def test_every_exchange_has_the_deadline() -> None:
    host = Host([{"monotonic_ns": 1}] * EXCHANGES)
    measure_clock(host, deadline_s=2.5)
    assert host.deadlines == [2.5] * EXCHANGES


@pytest.mark.parametrize("time", [None, -1, True, 1.5, "1", 1 << 63, [1]])
def test_what_is_no_time_is_refused(time: object) -> None:
    with pytest.raises(ProtocolError, match="is no time"):
        measure_clock(Host([{"monotonic_ns": time}]), 1)
