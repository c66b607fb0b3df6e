"""Figures that follow from a profile alone. Pure."""

from __future__ import annotations

from harness.profile.link_conditions import start_conditions
from harness.profile.model import Profile
from harness.profile.workloads import IMIX
from harness.testbed.topology import DESTINATION, SOURCE

NS_PER_S = 1_000_000_000
AUTO_SNAPSHOT_SHARE = (9, 10)
"""Share of the capacity the offered load leaves that an 'auto' snapshot rate takes."""


def load_duration_ns(profile: Profile) -> int:
    """From the first intended send time to the last."""
    return profile.timing.warm_up_ns + profile.timing.load_until_ns


def frame_mix(profile: Profile) -> tuple[tuple[int, int], ...]:
    """(frame size in bytes, share) of every size the load sends; of a capture, its mean size."""
    if profile.load.workload == "capture" and profile.load.capture.mean_frame_bytes:
        return ((profile.load.capture.mean_frame_bytes, 1),)
    return IMIX if profile.load.frame_sizes == "imix" else ((profile.load.frame_bytes, 1),)


def mean_frame_bytes(profile: Profile) -> int:
    """Mean size of the load's frames, rounded to whole bytes (it is whole for both kinds of frame_sizes)."""
    mix = frame_mix(profile)
    return round(sum(size * share for size, share in mix) / sum(share for _, share in mix))


def requests_per_s(profile: Profile) -> int:
    """Requests of all flows: half of load.rate in whole frames, the other half are their replies."""
    return profile.load.rate_bps // (2 * 8 * mean_frame_bytes(profile))


def peak_rate_bps(profile: Profile) -> int:
    """Bit/s through the VNF while the load is on: load.rate, but for the arrivals 'on_off', whose off times make it
    more."""
    load = profile.load
    if load.arrivals != "on_off":
        return load.rate_bps
    return load.rate_bps * (load.on_ns + load.off_ns) // load.on_ns


def requests(profile: Profile) -> int:
    """Requests in the whole load."""
    return requests_per_s(profile) * load_duration_ns(profile) // NS_PER_S


def offered_bps(profile: Profile) -> int:
    """Bit/s that cross each direction of the VNF's uplink: all requests, all replies, server-originated packets."""
    return profile.load.rate_bps + 8 * mean_frame_bytes(profile) * profile.load.server_packets_per_s


def new_flows(profile: Profile) -> int:
    """Flows opened in the whole load."""
    return profile.load.new_flows_per_s * load_duration_ns(profile) // NS_PER_S


def snapshot_rate_bps(profile: Profile) -> int | None:
    """Pacing of the snapshot stream; None is unpaced. 0 or less: 'auto' finds nothing left."""
    rate = profile.migration.snapshot_rate_bps
    if rate == "unlimited":
        return None
    if rate == "auto":
        # What the load leaves while it is on: the meter would drop whatever came beside that.
        conditions = start_conditions(profile)
        leaving_bps = conditions[SOURCE, "up"].rate_bps or profile.uplink.rate_bps
        left = leaving_bps - peak_rate_bps(profile) - (offered_bps(profile) - profile.load.rate_bps)
        # The destination's link carries nothing else as yet.
        left = min(left, conditions[DESTINATION, "down"].rate_bps or left)
        return left * AUTO_SNAPSHOT_SHARE[0] // AUTO_SNAPSHOT_SHARE[1]
    return rate
