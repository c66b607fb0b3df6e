from __future__ import annotations

from dataclasses import replace

import pytest

from harness.errors import UsageError
from harness.models import chain as model
from harness.models import queueing
from harness.models.chain import Chain
from harness.models.decision import Limits, decide

CHAIN = Chain()


def chosen(limits, chain=CHAIN, rounding="real"):
    return decide(chain, limits, 0.1, 10, rounding).chosen


def test_without_limits_the_fastest_strategy_is_chosen():
    assert chosen(Limits()).parallel_vms == 1
    assert "no strategy migrates faster" in decide(CHAIN, Limits(), 0.1, 10).explanation


@pytest.mark.parametrize(("downtime_s", "m"), [(33, 1), (32.8, 2), (25.7, 2), (20, 3), (11.3, 4), (5, 5)])
def test_the_smallest_m_that_keeps_the_downtime_is_chosen(downtime_s, m):
    assert chosen(Limits(downtime_s)).parallel_vms == m
    found = decide(CHAIN, Limits(downtime_s), 0.1, 10, "real")
    if found.required_m is not None:
        assert float(model.smallest_integer(model.required_parallel_vms(CHAIN, downtime_s))) == m


def test_every_candidate_tells_its_costs():
    found = decide(CHAIN, Limits(20.0), 0.1, 10, "real")
    assert [c.name for c in found.candidates] == [
        "serial",
        "improved serial (m = 1)",
        "2-mixed",
        "3-mixed",
        "4-mixed",
        "parallel (m = M = 5)",
    ]
    three = found.candidates[3]
    assert three is found.chosen
    assert three.blocking == float(queueing.blocking(0.1, three.time_s, 10))
    assert three.waiting_s == float(queueing.waiting_time(0.1, three.time_s, 10))
    assert found.required_m == pytest.approx(2.7917, abs=1e-4)
    assert "it costs 6.195 s of migration time" in found.explanation
    assert "saves 14.4 s of downtime" in found.explanation


def test_blocking_rules_out_what_takes_too_long():
    found = decide(CHAIN, Limits(12.0, 0.02), 0.1, 10)
    assert found.chosen is None
    assert [c.broken for c in found.candidates][-2:] == [("blocking 0.0282",), ("blocking 0.0596",)]
    assert "no strategy keeps the limits: the shortest downtime is 2.66 s (parallel (m = M = 5))" in found.explanation
    assert decide(CHAIN, Limits(20.0, 0.02), 0.1, 10).chosen.parallel_vms == 3


def test_an_unstable_queue_has_no_waiting_time():
    found = decide(CHAIN, Limits(waiting_s=100.0), 0.2, 10)
    assert found.candidates[-1].waiting_s is None
    assert found.candidates[-1].broken == ("unstable queue",)
    assert found.chosen.parallel_vms == 1


def test_an_m_that_does_not_converge_is_no_candidate():
    found = decide(replace(CHAIN, dirty_bps=3e8), Limits(), 0.1, 10)
    assert [c.time_s is None for c in found.candidates] == [False, False, False, False, True, True]
    assert found.candidates[-1].broken == ("does not converge: m*lambda is 1 or more",)


@pytest.mark.parametrize("limits", [Limits(-1.0), Limits(blocking=1.5), Limits(waiting_s=-2.0)])
def test_what_is_no_limit_is_refused(limits):
    with pytest.raises(UsageError, match=r"must be 0 or more|is a probability"):
        decide(CHAIN, limits, 0.1, 10)


def test_a_chain_that_cannot_be_moved_is_refused():
    with pytest.raises(UsageError, match="lambda"):
        decide(replace(CHAIN, dirty_bps=2e9), Limits(), 0.1, 10)
