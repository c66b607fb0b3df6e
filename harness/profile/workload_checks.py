"""Whether workload and image fit each other. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from harness.profile.checks import Problem
from harness.profile.derived import NS_PER_S, load_duration_ns, new_flows
from harness.profile.model import Profile
from harness.units import format_time

HANDOVERS_MAX = 1 << 24
"""What the load generator can draw ahead."""
CELLS = "cells"
"""An image with a parameter of this name is a gateway of subscribers: it reads and writes the cell tag."""
MAX_SUBSCRIBERS = "max_subscribers"


def own_problems(profile: Profile) -> Iterator[Problem]:
    """What of the keys of the workload itself is wrong, whatever the image."""
    load, timing = profile.load, profile.timing
    if load.workload == "capture":
        if not load.capture.path:
            yield Problem("load.capture.path", "names no file; give the path of a pcap or pcapng file")
        if load.capture.pace == "rate" and load.capture.speed != 1:
            yield Problem("load.capture.speed", "is for the pace 'capture' only; with 'rate', load.rate is the pace")
        for name, plain in (("arrivals", "constant"), ("frame_sizes", "fixed")):
            if getattr(load, name) != plain:
                yield Problem(f"load.{name}", f"a capture has its own; leave it at {plain!r}")
    if load.workload == "command":
        for name in ("client", "server"):
            words = getattr(load.command, name)
            if any("\0" in word for word in words) or (words and not words[0].strip()):
                yield Problem(f"load.command.{name}", "is no command: a name of a program comes first, without NUL")
        if not load.command.client:
            yield Problem("load.command.client", 'names no program; give a list such as ["curl", "http://{server}/"]')
        begins_ns = timing.warm_up_ns + timing.migrate_at_ns
        if load.command.deadline_ns <= begins_ns:
            yield Problem(
                "load.command.deadline",
                f"{format_time(load.command.deadline_ns)} is over before the migration, {format_time(begins_ns)} after "
                "the client's start (timing.warm_up + timing.migrate_at)",
            )


def workload_problems(profile: Profile, description: Mapping[str, Any]) -> Iterator[Problem]:
    """What of the profile's workload the image whose image.toml is `description` cannot serve."""
    load, image = profile.load, profile.vnf.image
    declared = description.get("parameters", {})
    if load.workload != "subscribers":
        if CELLS in declared:
            yield Problem(
                "load.workload",
                f"{load.workload!r} sends no cell tags, without which the image {image!r} knows no subscriber; "
                "'subscribers' does",
            )
        return
    if CELLS not in declared:
        yield Problem(
            "load.workload",
            f"'subscribers' needs an image that tags packets with cells, and {image!r} has no parameter {CELLS!r}; "
            "set vnf.image",
        )
        return

    def parameter(name: str) -> Any:
        return profile.vnf.parameters.get(name, declared[name].get("default"))

    cells, subscribers = load.subscribers.cells, load.flows + new_flows(profile)
    if cells > parameter(CELLS):
        yield Problem(
            "load.subscribers.cells",
            f"{cells} cells are more than the {parameter(CELLS)} the image knows (vnf.parameters.{CELLS})",
        )
    if MAX_SUBSCRIBERS in declared and subscribers > parameter(MAX_SUBSCRIBERS):
        yield Problem(
            "load.flows",
            f"{load.flows} subscribers and {new_flows(profile)} that come later are more than the "
            f"{parameter(MAX_SUBSCRIBERS)} the image holds (vnf.parameters.{MAX_SUBSCRIBERS})",
        )
    mean_ns = load.subscribers.handover_mean_ns
    if subscribers * load_duration_ns(profile) // mean_ns > HANDOVERS_MAX:
        yield Problem(
            "load.subscribers.handover_mean",
            f"{format_time(mean_ns)} makes more than {HANDOVERS_MAX} handovers of {subscribers} subscribers in "
            f"{load_duration_ns(profile) / NS_PER_S:g} s of load",
        )
