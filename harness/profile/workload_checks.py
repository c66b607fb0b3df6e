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
_AVAILABLE = ("sockets", "subscribers")


def workload_problems(profile: Profile, description: Mapping[str, Any]) -> Iterator[Problem]:
    """What of the profile's workload the image whose image.toml is `description` cannot serve."""
    load, image = profile.load, profile.vnf.image
    if load.workload not in _AVAILABLE:
        yield Problem("load.workload", f"{load.workload!r} is not available in this version")
        return
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
