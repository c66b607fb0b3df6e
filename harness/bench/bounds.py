"""What the project promises on the reference machine (two cores), to be read beside the figures. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from harness.bench.figures import Bound, Figure

BOUNDS: tuple[tuple[str, Literal["at least", "at most"], float], ...] = (
    ("round_trips_512B_per_s", "at least", 80_000),
    ("announcing_forwarding_512B_ratio", "at least", 0.95),
    ("announcing_forwarding_1400B_ratio", "at least", 0.95),
    ("freeze_pause_ns", "at most", 1_000_000),
    ("freeze_pause_maximum_ns", "at most", 1_000_000),
    ("points_formatted_per_s", "at least", 100_000),
    ("start_to_first_forwarded_s", "at most", 5.0),
    ("testbed_provision_s", "at most", 1.0),
    ("testbed_teardown_s", "at most", 0.5),
    ("instances_answered_s", "at most", 6.0),
    ("memory_peak_source_bytes", "at most", 250e6),
    ("memory_peak_destination_bytes", "at most", 250e6),
    ("memory_peak_loadgen_bytes", "at most", 250e6),
    ("memory_peak_echoserver_bytes", "at most", 250e6),
    ("memory_peak_controller_bytes", "at most", 250e6),
)
"""(figure, relation, limit of its median). The issue's "less than 1 ms" and "at most 5 %" included."""


def check_bounds(figures: Mapping[str, Figure]) -> list[Bound]:
    """Every promise about a figure that was measured."""
    return [
        Bound(
            figure=name,
            relation=relation,
            limit=limit,
            met=figures[name].median >= limit if relation == "at least" else figures[name].median <= limit,
        )
        for name, relation, limit in BOUNDS
        if name in figures
    ]
