"""The profile probes are sent with: the links and the dataplane of the one that is calibrated, a load of its own."""

from __future__ import annotations

from harness.profile.load import parse_profile
from harness.profile.model import Profile
from harness.units import format_rate, format_time

PROBES_PER_S = 400
PROBE_FRAME_BYTES = 128
UPLINK_SHARE_MAX = 0.1
"""Of the uplink's rate that probes may take: they must not wait for each other."""
PROBING_NS = 700_000_000
"""Half of it for each instance."""
_IMAGE = "nat"
_INTERVAL_NS = 100_000_000
_WARM_UP_NS = _INTERVAL_NS


def probe_profile(profile: Profile) -> Profile:
    """A single flow of small frames, evenly spaced, through a NAT whatever the profile's image and load are.

    What a link does depends on neither, and the NAT is known to let them through. The uplink and the dataplane's
    timing stay as they are; the packets are traced. ProfileError where the result is no profile.
    """
    frame_bits = 8 * PROBE_FRAME_BYTES
    per_s = min(PROBES_PER_S, int(UPLINK_SHARE_MAX * profile.uplink.rate_bps / (2 * frame_bits)))
    window = format_time(PROBING_NS - _WARM_UP_NS)
    return parse_profile(
        {
            "profile": {"name": "calibration"},
            "vnf": {"image": _IMAGE},
            "load": {
                "rate": format_rate(2 * frame_bits * max(1, per_s)),
                "frame": f"{PROBE_FRAME_BYTES}B",
                "flows": 1,
                "hosts": 1,
                "echo_addresses": 1,
                "new_flows_per_s": 0,
                "server_packets_per_s": 0,
            },
            "timing": {
                "warm_up": format_time(_WARM_UP_NS),
                "window": window,
                "migrate_at": "0s",
                "load_until": window,
                "interval": format_time(_INTERVAL_NS),
                "late": format_time(8 * profile.uplink.latency_ns + _INTERVAL_NS),
            },
            "uplink": profile.document()["uplink"],
            "migration": {"filler": "0B", "pkt_q_packets": 64, "st_q_out_packets": 64, "st_q_in_packets": 64},
            "dataplane": {**profile.document()["dataplane"], "verify": True},
        },
        source="calibration",
    )
