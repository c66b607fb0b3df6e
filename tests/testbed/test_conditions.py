from __future__ import annotations

import math

import pytest

from harness.errors import ProfileError
from harness.testbed.conditions import LinkConditions
from harness.testbed.topology import Topology, UplinkSpec


def test_unless_said_otherwise_instances_are_as_the_uplink_and_the_ends_are_free() -> None:
    lossy = LinkConditions(loss=0.5)
    topology = Topology("abcdefg1", UplinkSpec(10**8, latency_ns=7), links={("destination", "down"): lossy})
    assert topology.conditions["source", "up"] == LinkConditions(10**8, latency_ns=7)
    assert topology.conditions["destination", "up"] == LinkConditions(10**8, latency_ns=7)
    assert topology.conditions["destination", "down"] == lossy
    assert topology.conditions["loadgen", "up"] == topology.conditions["echoserver", "down"] == LinkConditions()
    assert len(topology.conditions) == 8


@pytest.mark.parametrize("burst_bytes", [1514, 9000, 2_500_000])
def test_the_bucket_of_the_uplink_survives_as_time(burst_bytes: int) -> None:
    assert UplinkSpec(999_999_999, burst_bytes).conditions.bucket_bytes == burst_bytes


@pytest.mark.parametrize(
    ("fields", "asks"),
    [
        ({}, False),
        ({"rate_bps": 10**7, "latency_ns": 10**6}, False),
        ({"ipdv_ns": 1}, True),
        ({"loss": 1e-6}, True),
        ({"duplication": 1.0}, True),
        ({"reordering": 0.1}, True),
        ({"corruption": 0.1}, True),
    ],
)
def test_what_counts_as_an_impairment(fields: dict[str, float], asks: bool) -> None:
    topology = Topology("abcdefg1", links={("echoserver", "up"): LinkConditions(**fields)})  # type: ignore[arg-type]
    assert topology.asks_for_impairments is asks


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"loss": -0.1}, "loss -0.1: must be a probability"),
        ({"duplication": 1.01}, "duplication"),
        ({"reordering": math.nan}, "reordering nan"),
        ({"corruption": math.inf}, "corruption"),
        ({"ipdv_distribution": "cauchy"}, "uniform, normal, pareto, paretonormal"),
        ({"ipdv_ns": -1}, "ipdv"),
        ({"latency_ns": 61 * 10**9}, "latency"),
        ({"rate_bps": 0}, "rate 0"),
    ],
)
def test_values_without_a_meaning_are_refused(fields: dict[str, object], words: str) -> None:
    with pytest.raises(ProfileError, match=words):
        LinkConditions(**fields)  # type: ignore[arg-type]


def test_an_unknown_link_is_refused() -> None:
    with pytest.raises(ProfileError, match=r"fabric.up: unknown; nodes are loadgen"):
        Topology("abcdefg1", links={("fabric", "up"): LinkConditions()})
