from __future__ import annotations

import pytest

from harness.provision.tasks.address import Addresses
from harness.provision.tasks.link import VethPair
from harness.provision.tasks.neighbour import Neighbours
from harness.provision.tasks.qdisc import Qdiscs
from harness.provision.tasks.sysctl import Sysctls
from harness.testbed.attachment import generator_nodes, inner_links, management_link, port_link
from harness.testbed.conditions import LaterConditions, LinkConditions
from harness.testbed.construction import tasks_for
from harness.testbed.topology import Topology
from tests.testbed.test_construction import FACTS, wanted

GENERATOR = "latency_generator"
LOSSY = LinkConditions(loss=0.1)


def make(**fields: object) -> Topology:
    return Topology("abcdefg1", latency_backend=GENERATOR, **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize("backend", ["netem", "delay_line", "none"])
def test_without_the_generator_every_port_is_on_its_uplink(backend: str) -> None:
    topology = make(links={("loadgen", "up"): LOSSY})
    assert generator_nodes(topology, backend) == ()
    assert {port_link(topology, backend, node) for node in ("source", "loadgen")} == {"up0"}
    assert set(inner_links(topology, backend)) == ({"source", "destination"} if backend == "delay_line" else set())
    assert management_link(backend) == ("mgmt0" if backend == "delay_line" else "up0")


def test_the_generator_stands_before_the_instances_and_whoever_will_ever_have_conditions() -> None:
    assert generator_nodes(make(), GENERATOR) == ("source", "destination")
    metered = make(links={("loadgen", "up"): LinkConditions(rate_bps=10_000_000)})
    assert generator_nodes(metered, GENERATOR) == ("source", "destination"), "a meter is the kernel's"
    now = make(links={("loadgen", "down"): LOSSY})
    assert generator_nodes(now, GENERATOR) == ("loadgen", "source", "destination")
    later = make(later=(LaterConditions("impairment[0]", "echoserver", "up", LOSSY),))
    assert generator_nodes(later, GENERATOR) == ("echoserver", "source", "destination")


def test_behind_the_generator_are_ports_addresses_and_the_nodes_own_mac() -> None:
    topology = make(links={("loadgen", "down"): LOSSY}, kernel_stacks=True)
    tasks = tasks_for(topology, FACTS)
    links = wanted(tasks, VethPair)
    assert links["abcdefg1-source/inner0 mac"] == "02:00:00:00:02:0b"
    assert links["abcdefg1-source/up0 mac"] == "02:00:00:00:04:0b"
    assert links["abcdefg1-loadgen/inner0 mac"] == "02:00:00:00:00:01"
    assert links["abcdefg1-echoserver/up0 mac"] == "02:00:00:00:00:02"
    assert "abcdefg1-echoserver/inner0 mac" not in links
    addresses = wanted(tasks, Addresses)
    assert {"inner0 192.0.2.11/24", "inner0 192.0.2.12/24", "br0 192.0.2.1/24"} <= set(addresses)
    assert {"inner0 10.1.2.1/16", "up0 198.18.2.1/16"} <= set(addresses)
    assert {task.link for task in tasks if isinstance(task, Neighbours)} == {"br0", "inner0"}


def test_the_meters_stay_on_the_uplinks() -> None:
    tasks = [task for task in tasks_for(make(), FACTS) if isinstance(task, Qdiscs)]
    assert {task.link for task in tasks} == {"up0", "source", "destination"}
    assert all("netem" not in str(task.wanted()) for task in tasks)


def test_the_kernel_answers_for_no_address_that_is_behind_the_generator() -> None:
    topology = make(links={("loadgen", "down"): LOSSY})
    answering = {
        task.node: task.wanted().get("net.ipv4.conf.all.arp_ignore")
        for task in tasks_for(topology, FACTS)
        if isinstance(task, Sysctls)
    }
    assert answering == {"loadgen": "1", "source": "1", "destination": "1", "echoserver": None, "fabric": None}
