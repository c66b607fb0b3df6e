"""What a profile must satisfy beyond the type of each value: relations between keys, known names. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from difflib import get_close_matches
from typing import NamedTuple

from harness.profile.derived import (
    NS_PER_S,
    mean_frame_bytes,
    offered_bps,
    peak_rate_bps,
    requests,
    requests_per_s,
    snapshot_rate_bps,
)
from harness.profile.faults import fault_problems
from harness.profile.link_checks import link_problems
from harness.profile.link_conditions import base_rtt_ns
from harness.profile.links import Links
from harness.profile.model import MODES, Profile
from harness.profile.placement import placement_problems
from harness.profile.quantities import MAX_FRAME_BYTES
from harness.profile.tasks import task_problems
from harness.testbed.topology import Topology
from harness.units import format_rate, format_size, format_time

REQUESTS_MAX = 1 << 26
"""What the load generator can schedule ahead."""
WAIT_FOR_REPLIES_MAX_NS = 60 * NS_PER_S


class Problem(NamedTuple):
    """Something wrong: dotted path of the key, and one sentence."""

    path: str
    message: str


def suggestion(name: str, known: tuple[str, ...]) -> str:
    """'; did you mean x?' for the nearest known name, or the list of what is known."""
    near = get_close_matches(name, known, n=1, cutoff=0.6)
    if near:
        return f"; did you mean {near[0]}?"
    return f"; known: {', '.join(known)}" if known else ""


def problems(profile: Profile, images: tuple[str, ...]) -> Iterator[Problem]:
    """Every broken relation of a profile whose values are each valid; `images` are the known image names."""
    yield from unknown_names(profile.vnf.image, profile.migration.modes, images)
    of_links = link_problems(profile)
    yield from (Problem(*found) for found in of_links)
    if of_links:  # the rest is checked without them
        profile = profile.model_copy(update={"links": Links(), "impairment": ()})
    yield from _load(profile)
    yield from _timing(profile)
    yield from _uplink(profile)
    yield from _migration(profile)
    yield from _dataplane(profile)
    yield from (Problem(path, message) for path, message in fault_problems(profile.fault))
    yield from (Problem(path, message) for path, message in task_problems(profile.task))
    yield from (Problem(path, message) for path, message in placement_problems(profile))


def unknown_names(image: object, modes: object, images: tuple[str, ...]) -> Iterator[Problem]:
    """Image and modes that do not exist, or stand there twice; what has a wrong type is not looked at."""
    if isinstance(image, str) and image not in images:
        yield Problem("vnf.image", f"unknown image {image!r}{suggestion(image, images)}")
    seen: set[str] = set()
    for index, mode in enumerate(modes if isinstance(modes, list | tuple) else ()):
        if not isinstance(mode, str):
            continue
        path = f"migration.modes[{index}]"
        if mode not in MODES:
            yield Problem(path, f"unknown mode {mode!r}{suggestion(mode, MODES)}")
        elif mode in seen:
            yield Problem(path, f"mode {mode!r} stands here twice")
        seen.add(mode)


def _load(profile: Profile) -> Iterator[Problem]:
    load, uplink = profile.load, profile.uplink
    if load.rate_bps > uplink.rate_bps:
        yield Problem(
            "load.rate",
            f"{format_rate(load.rate_bps)} is above uplink.rate {format_rate(uplink.rate_bps)}: requests and replies "
            "both leave the VNF on its one uplink, so the load (both directions together) must fit there",
        )
    elif peak_rate_bps(profile) > uplink.rate_bps:
        yield Problem(
            "load.on",
            f"while the load is on, {format_rate(load.rate_bps)} in {format_time(load.on_ns)} of every "
            f"{format_time(load.on_ns + load.off_ns)} are {format_rate(peak_rate_bps(profile), 4)}, above uplink.rate "
            f"{format_rate(uplink.rate_bps)}: the meter would drop with no migration; lower load.rate or load.off",
        )
    count, per_s = requests(profile), requests_per_s(profile)
    rate = f"{format_rate(load.rate_bps)} in frames of {mean_frame_bytes(profile)} bytes"
    if count < load.flows:
        yield Problem(
            "load.rate",
            f"{rate} are {count} requests in the whole load, less than one for each of load.flows = {load.flows}",
        )
    if count > REQUESTS_MAX:
        yield Problem(
            "load.rate", f"{rate} are {count} requests in the whole load; at most {REQUESTS_MAX} are possible"
        )
    of_new_flows = load.new_flows_per_s * load.new_flow_packets
    if 2 * of_new_flows > per_s:
        yield Problem(
            "load.new_flows_per_s",
            f"{load.new_flows_per_s} x load.new_flow_packets = {of_new_flows} requests/s are more than half of the "
            f"{per_s} requests/s of load.rate",
        )
    if load.hosts > load.flows:
        yield Problem(
            "load.hosts", f"{load.hosts} hosts are more than load.flows = {load.flows}; each has at least one"
        )


def _timing(profile: Profile) -> Iterator[Problem]:
    timing = profile.timing
    window, until = format_time(timing.window_ns), format_time(timing.load_until_ns)
    if timing.load_until_ns > timing.window_ns:
        yield Problem("timing.load_until", f"{until} is after the end of timing.window ({window})")
    if timing.migrate_at_ns >= timing.load_until_ns:
        yield Problem(
            "timing.migrate_at",
            f"{format_time(timing.migrate_at_ns)} is not before timing.load_until ({until}): "
            "the migration would move an idle VNF",
        )
    if timing.interval_ns > timing.window_ns or timing.window_ns % timing.interval_ns:
        yield Problem(
            "timing.interval",
            f"{format_time(timing.interval_ns)} does not divide timing.window ({window}) into whole intervals",
        )
    if timing.window_ns // timing.interval_ns > 100_000:
        yield Problem("timing.interval", f"{format_time(timing.interval_ns)} makes more than 100000 intervals")
    base_ns = base_rtt_ns(profile)
    if timing.late_ns <= base_ns:
        yield Problem(
            "timing.late",
            f"{format_time(timing.late_ns)} is not above the base RTT of {format_time(base_ns)} "
            "(4 x uplink.latency, or what [links] says): every packet would be late",
        )
    elif not timing.late_ns <= timing.wait_for_replies_ns <= WAIT_FOR_REPLIES_MAX_NS:
        yield Problem(
            "timing.wait_for_replies",
            f"{format_time(timing.wait_for_replies_ns)} is not between timing.late "
            f"({format_time(timing.late_ns)}), or late packets would be lost, and "
            f"{format_time(WAIT_FOR_REPLIES_MAX_NS)}",
        )


def _uplink(profile: Profile) -> Iterator[Problem]:
    uplink = profile.uplink
    burst_bytes = uplink.rate_bps * uplink.burst_ns // (8 * NS_PER_S)
    if burst_bytes < MAX_FRAME_BYTES:
        yield Problem(
            "uplink.burst",
            f"{format_time(uplink.burst_ns)} at {format_rate(uplink.rate_bps)} is {burst_bytes} bytes, less than one "
            f"frame of {MAX_FRAME_BYTES}: nothing would pass the meter",
        )
    if burst_bytes >= 2**32:
        yield Problem("uplink.burst", f"{format_size(burst_bytes)} is more than the kernel's meter can hold (4 GiB)")
    least = Topology.gso_max_size_bytes
    if not least < uplink.queue_limit_bytes < 2**32:
        yield Problem(
            "uplink.queue_limit",
            f"{format_size(uplink.queue_limit_bytes)} must be more than {least} bytes, the largest piece in which TCP "
            "hands segments over, and less than 4 GiB",
        )


def _dataplane(profile: Profile) -> Iterator[Problem]:
    """What the processes of a run would refuse when it is too late."""
    dataplane, timing = profile.dataplane, profile.timing
    if not 1_000 <= dataplane.tick_ns <= 10_000_000:
        yield Problem("dataplane.tick", f"{format_time(dataplane.tick_ns)} is not between 1us and 10ms")
    if not 1 << 16 <= dataplane.receive_buffer_bytes <= 1 << 30:
        size = format_size(dataplane.receive_buffer_bytes)
        yield Problem("dataplane.receive_buffer", f"{size} is not between 64KiB and 1GiB")
    if timing.warm_up_ns + timing.load_until_ns > 3_600_000_000_000:
        yield Problem("timing.load_until", "the load lasts longer than an hour with timing.warm_up; shorten it")


def _migration(profile: Profile) -> Iterator[Problem]:
    migration, uplink = profile.migration, profile.uplink
    rate_bps = snapshot_rate_bps(profile)
    if rate_bps is not None and rate_bps <= 0:
        # A load above the uplink rate has been reported already.
        if peak_rate_bps(profile) <= uplink.rate_bps:
            yield Problem(
                "migration.snapshot_rate",
                "'auto' is 0.9 x (uplink.rate - offered load while it is on), and "
                f"{format_rate(peak_rate_bps(profile) + offered_bps(profile) - profile.load.rate_bps, 4)} of load with "
                "server packets leave nothing; give a rate, or 'unlimited'",
            )
        return
    if rate_bps is not None and rate_bps > uplink.rate_bps:
        yield Problem(
            "migration.snapshot_rate",
            f"{format_rate(rate_bps)} is above uplink.rate {format_rate(uplink.rate_bps)}; 'unlimited' does not pace",
        )
    deadline_ns = migration.deadlines.snapshot_ns
    transfer_ns = migration.filler_bytes * 8 * NS_PER_S // (rate_bps or uplink.rate_bps)
    if transfer_ns >= deadline_ns:
        yield Problem(
            "migration.deadlines.snapshot",
            f"{format_time(deadline_ns)} is too short: migration.filler alone takes "
            f"{format_time(transfer_ns, 3)} at {format_rate(rate_bps or uplink.rate_bps)}",
        )
