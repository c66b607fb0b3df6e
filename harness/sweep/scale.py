"""The same experiment at a fraction of its rates, for a machine that cannot carry them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from harness.errors import UsageError
from harness.profile.derived import mean_frame_bytes, peak_rate_bps
from harness.profile.load import parse_profile
from harness.profile.model import Migration, Profile
from harness.profile.quantities import MAX_FRAME_BYTES
from harness.testbed.topology import Topology
from harness.units import format_rate, format_size, parse_rate, parse_size

AUTO_SHARE = 0.5
"""Share of the loss-free round trips/s of this machine the highest load may take with `--scale auto`. The other half is
for what the bench does not have: the second instance, the state streams, tracing, and the noise of other machines."""
LEAST_QUEUE_BYTES = max(4 * MAX_FRAME_BYTES, Topology.gso_max_size_bytes + MAX_FRAME_BYTES)
"""Four frames, and one of the superframes in which TCP hands segments to the meter, which drops what cannot wait."""
LEAST_QUEUE_PACKETS = min(
    bound.ge
    for name in ("pkt_q_packets", "st_q_out_packets", "st_q_in_packets")
    for bound in Migration.model_fields[name].metadata
    if hasattr(bound, "ge")
)


def scaled(profile: Profile, factor: float) -> Profile:
    """The profile with every rate multiplied by `factor` (0 < factor <= 1), and every size that a rate fills or drains.

    Scaled: rate and queue limit (not below LEAST_QUEUE_BYTES) of uplink, links and impairments, load rate, new flows
    and server packets per second, filler, snapshot rate where it is given, and the capacities of pkt_q, st_q_out and
    st_q_in. Not scaled: times, latency, probabilities, frame sizes, flows and subscribers.

    Why the dimensionless picture stays: what decides about loss and lateness are ratios of a rate to a rate (load, and
    load with its duplicate, to the uplink) and times against times: filler / what the load leaves of the uplink, the
    time pkt_q or a statelet queue holds at the load, the bucket of the meter (defined as time), against latency, the
    late limit and the window. Sizes over rates keep these times, so that seconds of loss, seconds of RTT > 15 ms and
    durations are comparable, bytes and packets are `factor` of what they were. What does not stay: one frame takes
    1/factor longer on the uplink and on the queue limit's floor (12 us at 1 Gbit/s, 48 us at a quarter, beside 2.5 ms),
    and events that come per time and not per packet (handovers) are 1/factor more of the state traffic.

    Raises UsageError where `factor` is out of range, ProfileError where nothing sensible is left.
    """
    if not 0 < factor <= 1:
        raise UsageError(f"scale {factor:g}: must be above 0 and at most 1")
    if factor == 1:
        return profile
    uplink, migration = profile.uplink, profile.migration
    document = profile.document()
    queue_bytes = min(uplink.queue_limit_bytes, max(_times(uplink.queue_limit_bytes, factor), LEAST_QUEUE_BYTES))
    document["uplink"]["rate"] = format_rate(_times(uplink.rate_bps, factor))
    document["uplink"]["queue_limit"] = format_size(queue_bytes)
    _scale_links(document, factor)
    document["load"]["rate"] = format_rate(_times(profile.load.rate_bps, factor))
    for key in ("new_flows_per_s", "server_packets_per_s"):
        document["load"][key] = _times(document["load"][key], factor)
    if profile.load.workload == "capture" and profile.load.capture.pace == "capture":
        document["load"]["capture"]["speed"] *= factor  # the rate of such a load is that of its file
    document["migration"]["filler"] = format_size(_times(migration.filler_bytes, factor))
    if isinstance(migration.snapshot_rate_bps, int):
        document["migration"]["snapshot_rate"] = format_rate(_times(migration.snapshot_rate_bps, factor))
    for key in ("pkt_q_packets", "st_q_out_packets", "st_q_in_packets"):
        document["migration"][key] = max(_times(document["migration"][key], factor), LEAST_QUEUE_PACKETS)
    return parse_profile(document, source=f"{profile.name} scaled by {factor:g}")


def _scale_links(document: dict[str, Any], factor: float) -> None:
    """Rates and queue limits that single links and changes during the run give."""
    ways = [way for link in document.get("links", {}).values() for way in link.values()]
    for table in (*ways, *document.get("impairment", [])):
        if "rate" in table:
            table["rate"] = format_rate(_times(parse_rate(table["rate"]), factor))
        if "queue_limit" in table:
            given = parse_size(table["queue_limit"])
            table["queue_limit"] = format_size(min(given, max(_times(given, factor), LEAST_QUEUE_BYTES)))


def _times(value: int, factor: float) -> int:
    return round(value * factor)


def factor_for(profiles: Sequence[Profile], round_trips_per_s: Mapping[int, float]) -> tuple[float, str]:
    """(largest factor <= 1 that every profile fits with, why): round trips/s of the highest load at most AUTO_SHARE of
    those measured without loss at the nearest frame size. Rounded down to two digits.

    round_trips_per_s: measured, by bytes of a frame. UsageError without any.
    """
    if not round_trips_per_s or not profiles:
        raise UsageError("scale auto: no figure of loss-free round trips/s; measure with 'harness bench --output FILE'")
    factor, reason = 1.0, ""
    for profile in profiles:
        mean_bytes = mean_frame_bytes(profile)
        frame_bytes = _nearest(mean_bytes, round_trips_per_s)
        needed, measured = peak_rate_bps(profile) // (2 * 8 * mean_bytes), round_trips_per_s[frame_bytes]
        allowed = min(1.0, AUTO_SHARE * measured / needed) if needed else 1.0
        if not reason or allowed < factor:
            factor = allowed
            reason = (
                f"{needed:,} round trips/s of {format_rate(peak_rate_bps(profile))} at {mean_bytes} bytes "
                f"may take {AUTO_SHARE:.0%} of the {measured:,.0f}/s this machine carried without loss at "
                f"{frame_bytes} bytes"
            )
    if factor <= 0:
        raise UsageError(f"scale auto: no load fits ({reason})")
    return (1.0 if factor == 1 else _floor_digits(factor, 2)), reason


def _nearest(size_bytes: int, measured: Iterable[int]) -> int:
    return min(measured, key=lambda size: (abs(size - size_bytes), size))


def _floor_digits(value: float, digits: int) -> float:
    places = digits - 1 - math.floor(math.log10(value))
    return float(math.floor(value * 10.0**places + 1e-9) / 10.0**places)
