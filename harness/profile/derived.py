"""Figures that follow from a profile alone. Pure."""

from __future__ import annotations

from harness.profile.model import Profile

NS_PER_S = 1_000_000_000
AUTO_SNAPSHOT_SHARE = (9, 10)
"""Share of the capacity the offered load leaves that an 'auto' snapshot rate takes."""


def load_duration_ns(profile: Profile) -> int:
    """From the first intended send time to the last."""
    return profile.timing.warm_up_ns + profile.timing.load_until_ns


def requests_per_s(profile: Profile) -> int:
    """Requests of all flows: half of load.rate in whole frames, the other half are their replies."""
    return profile.load.rate_bps // (2 * 8 * profile.load.frame_bytes)


def requests(profile: Profile) -> int:
    """Requests in the whole load."""
    return requests_per_s(profile) * load_duration_ns(profile) // NS_PER_S


def offered_bps(profile: Profile) -> int:
    """Bit/s that cross each direction of the VNF's uplink: all requests, all replies, server-originated packets."""
    return profile.load.rate_bps + 8 * profile.load.frame_bytes * profile.load.server_packets_per_s


def snapshot_rate_bps(profile: Profile) -> int | None:
    """Pacing of the snapshot stream; None is unpaced. 0 or less: 'auto' finds nothing left."""
    rate = profile.migration.snapshot_rate_bps
    if rate == "unlimited":
        return None
    if rate == "auto":
        left = profile.uplink.rate_bps - offered_bps(profile)
        return left * AUTO_SNAPSHOT_SHARE[0] // AUTO_SNAPSHOT_SHARE[1]
    return rate
