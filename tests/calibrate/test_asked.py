"""What the links of a path amount to, per node and direction."""

from __future__ import annotations

from harness.calibrate.asked import MANAGEMENT_ROUND_TRIP, asked_of, meter_of, paths_of, slowest_bps
from harness.testbed.conditions import LinkConditions
from harness.testbed.topology import Topology

MS = 1_000_000
TOPOLOGY = Topology(
    "a0000000",
    links={
        ("source", "down"): LinkConditions(rate_bps=300_000_000, latency_ns=7 * MS),
        ("destination", "up"): LinkConditions(rate_bps=None, latency_ns=3 * MS, ipdv_ns=MS),
        ("echoserver", "down"): LinkConditions(latency_ns=2 * MS, loss=0.01),
    },
)


def test_a_path_takes_what_each_of_its_links_takes() -> None:
    source, destination = paths_of("source"), paths_of("destination")
    asked = lambda path: asked_of(TOPOLOGY, "latency_generator", path).latency_ns / MS  # noqa: E731
    assert (asked(source.towards), asked(source.back), asked(source.beyond)) == (7, 2.5, 2.5 + 2 + 7)
    assert asked(source.round_trip) == 7 + 2.5 + 11.5
    assert (asked(destination.towards), asked(destination.back)) == (2.5, 3)
    assert asked(MANAGEMENT_ROUND_TRIP) == 2.5 + 2.5 + 3 + 7


def test_impairments_of_a_path_are_named() -> None:
    said = lambda path: asked_of(TOPOLOGY, "netem", path).impairment  # noqa: E731
    assert said(paths_of("source").towards) == ""
    assert said(paths_of("destination").back) == "has IPDV on purpose"
    assert said(paths_of("source").beyond) == "loses, doubles or reorders frames on purpose"


def test_without_a_backend_nothing_is_delayed() -> None:
    assert asked_of(TOPOLOGY, "none", paths_of("source").round_trip).latency_ns == 0


def test_the_meter_of_each_direction_and_the_slowest() -> None:
    assert meter_of(TOPOLOGY, "source", "towards").rate_bps == 300_000_000
    assert meter_of(TOPOLOGY, "source", "from").rate_bps == 1_000_000_000
    assert meter_of(TOPOLOGY, "destination", "from").rate_bps is None
    assert slowest_bps(TOPOLOGY) == 300_000_000
