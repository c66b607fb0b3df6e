"""The profile probes are sent with: the links and the dataplane of the one that is calibrated, a load of its own."""

from __future__ import annotations

from dataclasses import dataclass

from harness.profile.load import parse_profile
from harness.profile.model import Profile
from harness.units import format_rate, format_time

PROBES_PER_S = 400
PROBE_FRAME_BYTES = 128
UPLINK_SHARE_MAX = 0.1
"""Of the uplink's rate that probes may take: they must not wait for each other."""
FRAME_BYTES_MAX = 1400
REQUESTS_PER_S_MIN, REQUESTS_PER_S_MAX = 200, 25_000
"""Of the half load: enough for a p99, and what two CPUs carry through the whole testbed with time to spare."""
PROBING_NS = 600_000_000
"""Half of it for each instance."""
_IMAGE = "nat"
_INTERVAL_NS = 100_000_000
_WARM_UP_NS = _INTERVAL_NS


def probe_profile(profile: Profile, rate_bps: int) -> Profile:
    """Small frames, evenly spaced, few enough for a link of `rate_bps` not to notice. As `traffic_profile`."""
    frame_bits = 8 * PROBE_FRAME_BYTES
    per_s = min(PROBES_PER_S, int(UPLINK_SHARE_MAX * rate_bps / (2 * frame_bits)))
    return traffic_profile(profile, Traffic(max(1, per_s), PROBE_FRAME_BYTES, PROBING_NS))


@dataclass(frozen=True)
class Traffic:
    """Evenly spaced requests of one flow for `duration_ns`, each answered by an equally long reply."""

    requests_per_s: int
    frame_bytes: int
    duration_ns: int

    @property
    def load_bps(self) -> int:
        """Through the VNF, both directions together."""
        return 2 * 8 * self.frame_bytes * self.requests_per_s


def half_load(rate_bps: int, duration_ns: int) -> Traffic:
    """Traffic that is half of each direction of a link of `rate_bps`, requests and replies together; fewer requests
    where that is more than REQUESTS_PER_S_MAX."""
    wanted = rate_bps // 2 // (2 * 8 * REQUESTS_PER_S_MIN)
    frame_bytes = min(FRAME_BYTES_MAX, max(PROBE_FRAME_BYTES, wanted))
    per_s = max(1, rate_bps // 2 // (2 * 8 * frame_bytes))
    return Traffic(min(per_s, REQUESTS_PER_S_MAX), frame_bytes, duration_ns)


def traffic_profile(profile: Profile, traffic: Traffic) -> Profile:
    """A single flow through a NAT whatever the profile's image and load are.

    What a link does depends on neither, and the NAT is known to let them through. The uplink and the dataplane's
    timing stay as they are; the packets are traced. ProfileError where the result is no profile.
    """
    window = format_time(traffic.duration_ns - _WARM_UP_NS)
    late = format_time(8 * profile.uplink.latency_ns + _INTERVAL_NS)
    document = profile.document()
    return parse_profile(
        {
            "profile": {"name": "calibration"},
            "vnf": {"image": _IMAGE},
            "load": {
                "rate": format_rate(traffic.load_bps),
                "frame": f"{traffic.frame_bytes}B",
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
                "late": late,
                "wait_for_replies": late,
            },
            "uplink": document["uplink"],
            **({"links": document["links"]} if document.get("links") else {}),
            "migration": {"filler": "0B", "pkt_q_packets": 64, "st_q_out_packets": 64, "st_q_in_packets": 64},
            "dataplane": {**document["dataplane"], "verify": True},
        },
        source="calibration",
    )
