from __future__ import annotations

import dataclasses

import pytest

from harness.doctor.links import assess_backend
from harness.errors import ProfileError
from harness.testbed.conditions import LinkConditions
from harness.testbed.topology import Topology
from tests.testbed.test_construction import FACTS, WITH_NETEM

LOSSY = Topology("abcdefg1", links={("source", "up"): LinkConditions(loss=0.1)})
CORRUPT = Topology("abcdefg1", links={("source", "up"): LinkConditions(corruption=0.1)})


def test_it_says_what_will_run_and_what_it_costs() -> None:
    plain, lossy, with_netem = (
        assess_backend(*each) for each in ((Topology("abcdefg1"), FACTS), (LOSSY, FACTS), (LOSSY, WITH_NETEM))
    )
    assert (plain.level, lossy.level, with_netem.level) == ("ok", "degraded", "ok")
    assert plain.observed.startswith("delay_line: the kernel 6.0 has no netem")
    assert "links.source.up.loss" in lossy.observed
    assert "extra hop" in lossy.consequence


def test_what_no_backend_here_can_do_is_missing_and_a_contradiction_is_an_error() -> None:
    finding = assess_backend(CORRUPT, FACTS)
    assert (finding.level, finding.consequence.partition(":")[0]) == ("missing", "links.source.up.corruption")
    with pytest.raises(ProfileError):
        assess_backend(dataclasses.replace(LOSSY, latency_backend="none"), FACTS)
