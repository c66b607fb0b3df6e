"""What the probes are sent with, for links and loads of every kind."""

from __future__ import annotations

import pytest
from scapy.layers.l2 import ARP, Ether

from harness.calibrate.neighbours import arp_request
from harness.calibrate.overload import FRAME_BYTES_MAX, FRAME_BYTES_MIN, MEASURE_NS, frame_bytes_for
from harness.calibrate.probe_profile import (
    PROBES_PER_S,
    REQUESTS_PER_S_MAX,
    REQUESTS_PER_S_MIN,
    UPLINK_SHARE_MAX,
    half_load,
    probe_profile,
    traffic_profile,
)
from harness.profile.derived import offered_bps, requests_per_s
from harness.profile.load import parse_profile


@pytest.mark.parametrize("rate", ["1Mbit", "20Mbit", "1Gbit", "30Gbit"])
@pytest.mark.parametrize("latency", ["0s", "2.5ms", "80ms"])
def test_probes_fit_every_link(rate: str, latency: str) -> None:
    document = {
        "load": {"rate": "500kbit", "frame": "128B", "flows": 4, "hosts": 1, "new_flows_per_s": 0},
        "uplink": {"rate": rate, "latency": latency, "burst": "100ms"},
        "timing": {"late": "1s"},
        "migration": {"filler": "0B"},
    }
    document["load"]["server_packets_per_s"] = 0
    document["dataplane"] = {"tick": "300us", "verify": False}
    profile = parse_profile(document)
    probes = probe_profile(profile, profile.uplink.rate_bps)
    assert probes.uplink == profile.uplink
    assert probes.dataplane.tick_ns == 300_000
    assert probes.dataplane.verify
    assert 1 <= requests_per_s(probes) <= PROBES_PER_S
    assert offered_bps(probes) <= UPLINK_SHARE_MAX * profile.uplink.rate_bps
    assert probes.load.flows == 1
    assert probes.load.server_packets_per_s == probes.load.new_flows_per_s == 0


@pytest.mark.parametrize("rate", ["1Mbit", "20Mbit", "1Gbit", "30Gbit"])
def test_half_load_is_half_of_each_direction_or_what_a_machine_carries(rate: str) -> None:
    document = {
        "load": {"rate": "500kbit", "frame": "128B", "flows": 4, "hosts": 1, "new_flows_per_s": 0},
        "uplink": {"rate": rate, "latency": "80ms", "burst": "100ms"},
        "timing": {"late": "1s"},
        "migration": {"filler": "0B"},
    }
    profile = parse_profile(document)
    rate_bps = profile.uplink.rate_bps
    traffic = half_load(rate_bps, 2_700_000_000)
    assert traffic.requests_per_s >= REQUESTS_PER_S_MIN
    made = traffic_profile(profile, traffic)
    assert offered_bps(made) == pytest.approx(traffic.load_bps, rel=0.01)
    if traffic.requests_per_s < REQUESTS_PER_S_MAX:
        assert traffic.load_bps == pytest.approx(rate_bps / 2, rel=0.05)
    else:
        assert traffic.load_bps < rate_bps / 2


@pytest.mark.parametrize(("rate_bps", "expected"), [(1_000_000, 80), (1_000_000_000, FRAME_BYTES_MAX)])
def test_a_slow_meter_is_offered_small_frames(rate_bps: int, expected: int) -> None:
    size = frame_bytes_for(rate_bps)
    assert size == expected
    assert size >= FRAME_BYTES_MIN
    # One frame more or less is less than half of the tolerance.
    assert rate_bps * MEASURE_NS / 8e9 / size >= 200


def test_an_arp_request_asks_for_the_gateway() -> None:
    frame = Ether(arp_request("02:00:00:00:00:01", "10.1.1.1", "10.1.0.1"))
    assert (frame.src, frame.dst) == ("02:00:00:00:00:01", "ff:ff:ff:ff:ff:ff")
    assert len(frame) == 60
    arp = frame[ARP]
    assert (arp.op, arp.hwsrc, arp.psrc, arp.pdst) == (1, "02:00:00:00:00:01", "10.1.1.1", "10.1.0.1")
