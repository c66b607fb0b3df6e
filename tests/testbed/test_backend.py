from __future__ import annotations

import dataclasses

import pytest

from harness.errors import MachineError, ProfileError
from harness.provision.tasks.qdisc import Netem, Qdiscs, Tbf
from harness.testbed.backend import resolve_backend
from harness.testbed.conditions import LaterConditions, LinkConditions
from harness.testbed.construction import link_task, tasks_for
from harness.testbed.topology import Topology, UplinkSpec
from tests.testbed.test_construction import FACTS, WITH_NETEM

BASE = UplinkSpec().conditions
LOSSY = dataclasses.replace(BASE, loss=0.01)
CORRUPT = dataclasses.replace(BASE, corruption=0.01)
SLOWER = dataclasses.replace(BASE, rate_bps=10**8)
FARTHER = dataclasses.replace(BASE, latency_ns=5_000_000)


def topology(backend: str = "auto", links=None, later=(), **fields) -> Topology:  # type: ignore[no-untyped-def]
    changes = tuple(LaterConditions(f"impairment[{i}]", *item) for i, item in enumerate(later))
    return Topology("abcdefg1", latency_backend=backend, links=links or {}, later=changes, **fields)


DOWN = ("destination", "down")
FREE_END = ("loadgen", "up")


@pytest.mark.parametrize(
    ("asked", "facts", "expected"),
    [
        (topology(), FACTS, "delay_line"),
        (topology(), WITH_NETEM, "netem"),
        (topology("delay_line"), WITH_NETEM, "delay_line"),
        (topology("none"), FACTS, "none"),
        (topology("none", later=[(*DOWN, SLOWER)]), FACTS, "none"),
        (topology("latency_generator"), WITH_NETEM, "latency_generator"),
        (topology(uplink=UplinkSpec(latency_ns=0)), WITH_NETEM, "none"),
        (topology(later=[(*DOWN, SLOWER)]), FACTS, "delay_line"),
        (topology(links={DOWN: LOSSY}), FACTS, "latency_generator"),
        (topology(links={DOWN: FARTHER}), FACTS, "latency_generator"),
        (topology(links={FREE_END: LinkConditions(latency_ns=1)}), FACTS, "latency_generator"),
        (topology(later=[(*DOWN, LOSSY)]), FACTS, "latency_generator"),
        (topology(later=[(*DOWN, FARTHER)]), FACTS, "latency_generator"),
        (topology(links={DOWN: CORRUPT}), WITH_NETEM, "netem"),
    ],
)
def test_the_backend_is_the_least_that_does_what_is_asked(asked, facts, expected):  # type: ignore[no-untyped-def]
    found = resolve_backend(asked, facts)
    assert found.name == expected
    assert found.reason


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (topology("none", links={DOWN: LOSSY}), r"^links.destination.down.loss: .*'none'.*use 'auto'"),
        (topology("delay_line", links={DOWN: LOSSY}), r"^links.destination.down.loss: .*'delay_line'"),
        (topology("delay_line", later=[(*DOWN, FARTHER)]), r"^impairment\[0\].latency: .*by the same"),
        (topology("latency_generator", links={DOWN: CORRUPT}), r"^links.destination.down.corruption"),
    ],
)
def test_a_backend_that_cannot_do_what_is_asked_contradicts_it(asked, words):  # type: ignore[no-untyped-def]
    with pytest.raises(ProfileError, match=words) as caught:
        resolve_backend(asked, WITH_NETEM)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (topology("netem"), "sch_netem"),
        (topology(later=[(*DOWN, CORRUPT)]), r"^impairment\[0\].corruption: the kernel 6.0 has no netem"),
    ],
)
def test_what_this_machine_lacks_is_told_before_anything_is_made(asked, words):  # type: ignore[no-untyped-def]
    with pytest.raises(MachineError, match=words) as caught:
        tasks_for(asked, FACTS)
    assert caught.value.exit_code == 4


def chains(asked: Topology, facts=WITH_NETEM):  # type: ignore[no-untyped-def]
    return {(task.node, task.link): task.chain for task in tasks_for(asked, facts) if isinstance(task, Qdiscs)}


def test_each_direction_of_each_link_has_its_own_conditions() -> None:
    made = chains(topology(links={DOWN: LOSSY, FREE_END: LinkConditions(latency_ns=7)}))
    assert made["fabric", "destination"] == (Netem(2_500_000, loss=0.01), Tbf(10**9, 2_500_000, 65536))
    assert made["destination", "up0"] == (Netem(2_500_000), Tbf(10**9, 2_500_000, 65536))
    assert made["loadgen", "up0"] == (Netem(7),)
    assert ("fabric", "loadgen") not in made


def test_what_a_change_will_need_is_there_from_the_start() -> None:
    """A queueing discipline put in or taken out under traffic would drop what waits."""
    metered = LinkConditions(10**8, ipdv_ns=5, ipdv_distribution="normal")
    asked = topology(later=[(*FREE_END, metered)])
    assert chains(asked)["loadgen", "up0"] == (Netem(0, distribution="uniform"), Tbf(34 * 10**9, 85_000_000, 65536))
    task = link_task(asked, "netem", *FREE_END, metered)
    assert task.chain == (Netem(0, ipdv_ns=5, distribution="normal"), Tbf(10**8, 250_000, 65536))
    assert [request.data[24:32] for request in task.requests(3)] == [
        request.data[24:32] for request in link_task(asked, "netem", *FREE_END, asked.conditions[FREE_END]).requests(3)
    ]


def test_without_a_queueing_discipline_there_shall_be_none() -> None:
    task = Qdiscs("n", "ns", "up0", [])
    assert task.wanted() == {"up0 0 kind": "noqueue"}
    (request,) = task.requests(3)
    assert int.from_bytes(request.data[4:6], "little") == 37


@pytest.mark.parametrize("later", [False, True])
def test_a_queue_that_holds_no_frame_is_refused_wherever_it_stands(later: bool) -> None:
    short = dataclasses.replace(BASE, queue_limit_bytes=1514)
    with pytest.raises(ProfileError, match=r"impairment\[0\]: queue limit" if later else r"links.destination.down: q"):
        topology(later=[(*DOWN, short)]) if later else topology(links={DOWN: short})
