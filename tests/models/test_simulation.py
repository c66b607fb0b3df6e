"""The simulation agrees with the closed forms where they hold, and notices where they do not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.errors import UsageError
from harness.measure.statistics import Estimate
from harness.models import simulation
from harness.models.chain import Chain
from harness.models.multi_vm import VmSet
from harness.models.simulation import Agreement, simulate_migration, simulate_queue

REFERENCE = VmSet()
CHAIN = Chain()


@pytest.mark.parametrize("strategy", ["serial", "parallel"])
@pytest.mark.parametrize("vms", [1, 4, 8])
def test_migration_of_equal_vms(strategy, vms):
    for found in simulate_migration(replace(REFERENCE, vms=vms), strategy, replications=40, seed=7)[:3]:
        assert found.agrees, found
        assert found.simulated.half_width <= 0.01 * found.simulated.mean


@pytest.mark.parametrize("m", [1, 3, 5])
def test_mixed_migration_of_a_chain(m):
    chain = replace(CHAIN, copied_fraction=0.7)
    results = simulate_migration(chain, "mixed", parallel_vms=m, page_bytes=4000, replications=40, seed=3)
    assert [found.agrees for found in results[:3]] == [True] * 3


def test_saturated_rounds():
    results = simulate_migration(replace(REFERENCE, vms=12), "parallel", replications=60, seed=1)
    assert [found.agrees for found in results] == [True, True, True, None]
    assert results[2].simulated.mean == 8


def test_the_spread_of_parallel_vms_is_more_than_the_model_knows():
    _, downtime, _, spread = simulate_migration(REFERENCE, "parallel", replications=20, seed=1)
    assert spread.closed_form is None
    assert spread.simulated.mean > downtime.simulated.mean + downtime.simulated.half_width


@pytest.mark.parametrize(("arrival", "service", "channels"), [(0.1, 40.64, 10), (0.15, 64, 10), (3.0, 1.0, 2)])
def test_lost_requests(arrival, service, channels):
    (found,) = simulate_queue(arrival, service, channels, discipline="lost", replications=12, seed=5, requests=2500)
    assert found.agrees, found
    assert found.simulated.half_width < 0.02


@pytest.mark.parametrize(("arrival", "service", "channels"), [(0.1, 64, 10), (0.6, 1.0, 1)])
def test_waiting_requests(arrival, service, channels):
    results = simulate_queue(arrival, service, channels, discipline="queued", replications=12, seed=5, requests=2500)
    assert [found.agrees for found in results] == [True] * 3
    for found in results:
        assert found.simulated.half_width < 0.3 * found.simulated.mean


def test_a_wrong_closed_form_would_be_noticed(monkeypatch):
    true = simulation.queueing.blocking
    monkeypatch.setattr(simulation.queueing, "blocking", lambda a, t, c: true(a * 1.1, t, c))
    (found,) = simulate_queue(0.15, 64, 10, discipline="lost", replications=12, seed=5, requests=2500)
    assert found.agrees is False
    monkeypatch.setattr(simulation.multi_vm, "serial_time", lambda vm_set: 75.0)
    assert simulate_migration(REFERENCE, "serial", replications=20, seed=1)[0].agrees is False


def test_equal_seeds_give_equal_results():
    first, again, other = (
        simulate_queue(0.1, 64, 10, discipline="lost", replications=3, seed=s, requests=300) for s in (1, 1, 2)
    )
    assert first == again != other


def test_agreement():
    assert Agreement("x", "s", 1.0, Estimate(5, 1.05, 0.1)).agrees is True
    assert Agreement("x", "s", 1.0, Estimate(5, 1.2, 0.1)).agrees is False
    assert Agreement("x", "s", 3.0, Estimate(5, 3.0, 0.0)).agrees is True
    assert Agreement("x", "s", None, Estimate(5, 3.0, 0.0)).agrees is None


def test_mistakes_are_named():
    with pytest.raises(UsageError, match="at least 2 replications; there are 1"):
        simulate_migration(REFERENCE, "serial", replications=1, seed=1)
    with pytest.raises(UsageError, match="unstable"):
        simulate_queue(0.2, 64, 10, discipline="queued", replications=2, seed=1)
    with pytest.raises(UsageError, match="service chain"):
        simulate_migration(REFERENCE, "mixed", replications=2, seed=1)
    with pytest.raises(UsageError, match="seed"):
        simulate_migration(REFERENCE, "serial", replications=2, seed=-1)
