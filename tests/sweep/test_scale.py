from __future__ import annotations

import pytest

from harness.errors import UsageError
from harness.profile.derived import requests_per_s, snapshot_rate_bps
from harness.profile.load import parse_profile
from harness.sweep.scale import factor_for, scaled


def profile(**tables):
    return parse_profile({"profile": {"name": "p"}, **tables})


def test_rates_and_what_they_fill_scale_and_times_do_not():
    whole = profile(load={"rate": "800M", "new_flows_per_s": 40}, migration={"snapshot_rate": "80Mbit"})
    part = scaled(whole, 0.25)
    assert part.uplink.rate_bps == 250_000_000
    assert part.load.rate_bps == 200_000_000
    assert part.migration.filler_bytes == whole.migration.filler_bytes // 4
    assert part.migration.snapshot_rate_bps == 20_000_000
    assert (part.migration.pkt_q_packets, part.migration.st_q_in_packets) == (16_384, 131_072)
    assert part.migration.st_q_out_packets == 16_384
    assert (part.load.new_flows_per_s, part.load.server_packets_per_s) == (10, 12)
    assert part.timing == whole.timing
    assert (part.uplink.latency_ns, part.uplink.burst_ns) == (whole.uplink.latency_ns, whole.uplink.burst_ns)
    assert (part.load.frame_bytes, part.load.flows) == (whole.load.frame_bytes, whole.load.flows)
    assert part.load.seed == whole.load.seed


def test_rates_of_links_and_of_impairments_scale_and_probabilities_do_not():
    whole = profile(
        load={"rate": "100M"},
        links={"destination": {"down": {"rate": "800Mbit", "queue_limit": "400kB", "loss": 0.1, "latency": "3ms"}}},
        impairment=[
            {"at": "1s", "link": "source", "rate": "40Mbit"},
            {"at": "2s", "link": "source", "loss": 0.5, "queue_limit": "20kB"},
        ],
    )
    part = scaled(whole, 0.25)
    down = part.links.destination.down
    assert (down.rate_bps, down.queue_limit_bytes) == (200_000_000, 100_000)
    assert (down.loss, down.latency_ns) == (0.1, 3_000_000)
    assert (part.impairment[0].rate_bps, part.impairment[0].at_ns) == (10_000_000, 1_000_000_000)
    assert (part.impairment[1].loss, part.impairment[1].queue_limit_bytes) == (0.5, 16_384 + 1514)


def test_the_dimensionless_figures_stay():
    whole = profile(load={"rate": "600M", "frame": "1400B"})
    part = scaled(whole, 0.1)

    def figures(p):
        rate = snapshot_rate_bps(p)
        return (
            p.load.rate_bps / p.uplink.rate_bps,
            p.migration.filler_bytes * 8 / rate,
            p.migration.pkt_q_packets / requests_per_s(p),
            p.migration.st_q_in_packets / requests_per_s(p),
        )

    assert figures(part) == pytest.approx(figures(whole), rel=0.01)


def test_a_queue_holds_at_least_four_frames_and_a_superframe():
    assert scaled(profile(load={"rate": "600M"}), 0.5).uplink.queue_limit_bytes == 32_768
    for factor in (0.25, 0.01):
        least = scaled(profile(load={"rate": "600M"}), factor).uplink.queue_limit_bytes
        assert 4 * 1514 < 16_384 < least < 20_000
    short = profile(load={"rate": "600M"}, uplink={"queue_limit": "17kB"})
    assert scaled(short, 0.5).uplink.queue_limit_bytes == 17_000


def test_scale_one_is_the_profile_itself():
    whole = profile()
    assert scaled(whole, 1.0) is whole


@pytest.mark.parametrize("factor", [0.0, -1.0, 1.01, float("nan")])
def test_factors_out_of_range(factor):
    with pytest.raises(UsageError, match="above 0 and at most 1"):
        scaled(profile(), factor)


def test_auto_takes_half_of_what_was_measured_for_the_highest_load():
    cells = [profile(load={"rate": rate}) for rate in ("100M", "800M", "300M")]
    # 800M at 512 bytes: 800e6 / (2 x 8 x 512) = 97,656 round trips/s; half of 60,000 is 0.307 of it.
    factor, reason = factor_for(cells, {512: 60_000.0, 1400: 50_000.0})
    assert factor == 0.3
    assert "97,656 round trips/s of 800Mbit at 512 bytes" in reason
    assert "50% of the 60,000/s" in reason


def test_auto_uses_the_nearest_frame_size():
    large = [profile(load={"rate": "800M", "frame": "1400B"})]
    assert factor_for(large, {512: 1.0, 1500: 35_714.0})[0] == 0.5


def test_auto_never_exceeds_one():
    assert factor_for([profile(load={"rate": "10M"})], {512: 80_000.0})[0] == 1.0


def test_auto_without_figures():
    with pytest.raises(UsageError, match="harness bench"):
        factor_for([profile()], {})
