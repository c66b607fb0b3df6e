"""The rate of a meter comes out of its counters, and stalls of the machine do not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.calibrate.metering import MeterSample, metered_rate

MS = 1_000_000
BURST_NS = 20 * MS


class Bucket:
    """A token bucket of `rate_bps` under a sender that always has more, but for the pauses it is told to make."""

    def __init__(self, rate_bps: int) -> None:
        self.rate_bps = rate_bps
        self.now_ns, self.waits, self.longest_pause_ns = 0, 0, 0
        self.sent_bytes = 0.0
        self.tokens = 0.0

    def busy(self, duration_ns: int) -> None:
        self.now_ns += duration_ns
        self.sent_bytes += self.tokens + self.rate_bps / 8e9 * duration_ns
        self.tokens = 0.0
        self.waits += 1
        self.longest_pause_ns = max(self.longest_pause_ns, MS // 2)

    def pause(self, duration_ns: int) -> None:
        self.now_ns += duration_ns
        depth = self.rate_bps / 8e9 * BURST_NS
        self.tokens = min(depth, self.tokens + self.rate_bps / 8e9 * duration_ns)
        self.longest_pause_ns = max(self.longest_pause_ns, duration_ns)

    def sample(self) -> MeterSample:
        taken = MeterSample(self.now_ns, round(self.sent_bytes), self.waits, self.longest_pause_ns)
        self.longest_pause_ns = 0
        return taken


@given(
    rate_bps=st.integers(1_000_000, 10_000_000_000),
    pauses_ns=st.lists(st.sampled_from([0, 0, 0, MS, 8 * MS, 70 * MS]), min_size=6, max_size=25),
)
def test_pauses_of_the_sender_do_not_change_the_rate(rate_bps: int, pauses_ns: list[int]) -> None:
    bucket = Bucket(rate_bps)
    samples = [bucket.sample()]
    for pause_ns in pauses_ns:
        bucket.busy(15 * MS)
        bucket.pause(pause_ns)
        bucket.busy(5 * MS)
        samples.append(bucket.sample())
    found = metered_rate(samples, BURST_NS)
    usable = [
        number
        for number in range(1, len(pauses_ns))
        if pauses_ns[number] < BURST_NS / 4 and pauses_ns[number - 1] < BURST_NS / 4
    ]
    if not usable:
        assert found is None
        return
    assert found is not None
    assert found.intervals == len(usable)
    assert found.rate_bps == pytest.approx(rate_bps, rel=1e-3)
    assert found.minimum_bps <= found.rate_bps <= found.maximum_bps


def test_tokens_left_over_at_a_pause_are_not_counted_as_rate() -> None:
    bucket = Bucket(100_000_000)
    samples = [bucket.sample()]
    for _ in range(5):
        bucket.busy(20 * MS)
        samples.append(bucket.sample())
    bucket.pause(15 * MS)
    samples.append(bucket.sample())
    for _ in range(3):
        bucket.busy(20 * MS)
        samples.append(bucket.sample())
    found = metered_rate(samples, BURST_NS)
    assert found is not None
    assert (found.minimum_bps, found.maximum_bps) == (100_000_000, 100_000_000)
    assert found.duration_ns == 6 * 20 * MS


def test_a_meter_that_was_never_at_its_limit_has_no_rate() -> None:
    samples = [MeterSample(20 * MS * i, 1000 * i, 7, MS) for i in range(10)]
    assert metered_rate(samples, BURST_NS) is None
    assert metered_rate([], BURST_NS) is None
