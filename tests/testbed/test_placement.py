from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import HarnessError, ProfileError, ProtocolError
from harness.provision.task import Task
from harness.provision.tasks.address import Addresses
from harness.provision.tasks.bridge import Bridge
from harness.provision.tasks.fdb import ForwardingEntries
from harness.provision.tasks.link import VethPair
from harness.provision.tasks.netns import NetworkNamespace
from harness.provision.tasks.vxlan import VxlanLink
from harness.testbed import topology as names
from harness.testbed.backend import common_facts
from harness.testbed.conditions import LaterConditions, LinkConditions
from harness.testbed.construction import ANY_HOST, tasks_for
from harness.testbed.document import parse_topology, topology_document
from harness.testbed.placement import LOCALHOST, Placement, Underlay
from harness.testbed.topology import Topology, UplinkSpec
from tests.testbed.test_construction import FACTS, WITH_NETEM

UNDERLAY = {"alpha": Underlay("192.0.2.10", "192.0.2.1"), "beta": Underlay("192.0.2.11", "192.0.2.1")}
SPREAD = Topology("abcdefg1", placement=Placement({"source": "alpha", "destination": "beta"}, UNDERLAY))
FROM_ALPHA = {LOCALHOST: Underlay("192.0.2.1", "192.0.2.10"), "beta": Underlay("192.0.2.11", "192.0.2.10")}
APART = Topology(
    "abcdefg1", placement=Placement({"fabric": "alpha", "source": "alpha", "destination": "beta"}, FROM_ALPHA)
)
"""Neither source nor controller is on the host that the nodes between them are on."""


def of_each_host(topology: Topology) -> dict[str, list[Task]]:
    """Tasks by host."""
    hosts = [LOCALHOST, *topology.placement.others]
    return {host: tasks_for(topology, FACTS, host) for host in hosts}


@pytest.mark.parametrize("topology", [SPREAD, APART])
def test_every_task_is_carried_out_by_exactly_one_host_but_for_what_belongs_to_each(topology: Topology) -> None:
    of_host = of_each_host(topology)
    for host, tasks in of_host.items():
        assert {task.node for task in tasks} == {ANY_HOST, *topology.nodes_on(host)}
    made = [task.netns for tasks in of_host.values() for task in tasks if isinstance(task, NetworkNamespace)]
    assert sorted(made) == sorted(topology.netns(node) for node in topology.nodes)


def test_a_tunnel_has_an_end_on_either_host_where_a_veth_pair_is_one_task() -> None:
    whole = tasks_for(Topology("abcdefg1"), FACTS)
    # Beside that, host parameters are each host's.
    assert sum(map(len, of_each_host(SPREAD).values())) == len(whole) + 2 + 2


def test_a_node_elsewhere_has_a_tunnel_in_place_of_its_link() -> None:
    here, there = tasks_for(SPREAD, FACTS), tasks_for(SPREAD, FACTS, "beta")
    (port,) = [task for task in here if isinstance(task, VxlanLink) and task.end.name == "destination"]
    (uplink,) = [task for task in there if isinstance(task, VxlanLink)]
    assert (port.tunnel.vni, port.tunnel.port) == (uplink.tunnel.vni, uplink.tunnel.port)
    assert (port.tunnel.local, port.tunnel.remote) == (uplink.tunnel.remote, uplink.tunnel.local)
    assert uplink.tunnel.local == "192.0.2.11"
    assert (port.end.netns, port.end.master) == ("abcdefg1-fabric", names.BRIDGE)
    assert (uplink.end.netns, uplink.end.name) == ("abcdefg1-destination", names.UPLINK)
    assert uplink.end.mac == names.UPLINK_MACS["destination"], "the node's own is behind the delay line"
    local = [task.end.name for task in here if isinstance(task, VethPair)]
    assert local == ["loadgen", "echoserver"]


def test_tunnels_of_a_run_have_identifiers_of_their_own() -> None:
    hosts_of = dict.fromkeys(names.LINKED_NODES, "alpha")
    topology = Topology("abcdefg1", placement=Placement(hosts_of, UNDERLAY))
    vnis = [topology.tunnels(node)[0].vni for node in names.LINKED_NODES]  # type: ignore[index]
    assert len(set(vnis)) == len(names.LINKED_NODES)
    assert topology.tunnels("fabric") is None


def test_where_the_fabric_is_elsewhere_the_controller_has_a_tunnel_to_it() -> None:
    assert (SPREAD.controller, APART.controller) == ("fabric", "controller")
    assert "controller" not in SPREAD.nodes
    of_host = of_each_host(APART)
    (uplink,) = [task for task in of_host[LOCALHOST] if isinstance(task, VxlanLink) and task.node == "controller"]
    ports = {task.end.name: task for task in of_host["alpha"] if isinstance(task, VxlanLink)}
    assert sorted(ports) == ["controller", "destination", "echoserver", "loadgen"], "the source is on that host"
    assert uplink.tunnel.vni == ports["controller"].tunnel.vni
    assert (uplink.tunnel.local, uplink.tunnel.remote) == ("192.0.2.1", "192.0.2.10")
    assert (uplink.end.netns, uplink.end.mac) == ("abcdefg1-controller", names.CONTROLLER_MAC)
    (address,) = [task for task in of_host[LOCALHOST] if isinstance(task, Addresses)]
    assert (address.netns, address.link, address.address) == ("abcdefg1-controller", "up0", "192.0.2.1")
    (bridge,) = [task for task in of_host["alpha"] if isinstance(task, Bridge)]
    assert bridge.end.mac != names.CONTROLLER_MAC, "frames for the controller would end at the bridge"
    (table,) = [task for task in of_host["alpha"] if isinstance(task, ForwardingEntries)]
    assert table.entries[names.CONTROLLER_MAC] == "controller"


@pytest.mark.parametrize(
    ("placement", "said"),
    [
        (Placement({"sauce": "alpha"}, UNDERLAY), r"placement\.sauce: unknown"),
        (Placement({"source": "gamma"}, UNDERLAY), "host 'gamma': no address"),
        (Placement({"fabric": "alpha"}, {"beta": UNDERLAY["beta"]}), "host 'localhost': no address"),
    ],
)
def test_what_cannot_be_placed_is_refused(placement: Placement, said: str) -> None:
    with pytest.raises(ProfileError, match=said):
        Topology("abcdefg1", placement=placement)


def test_netem_is_used_only_where_every_host_has_it() -> None:
    assert common_facts(WITH_NETEM, [WITH_NETEM]).features.netem
    lacking = replace(FACTS, kernel_release="5.9-without")
    common = common_facts(WITH_NETEM, [WITH_NETEM, lacking])
    assert (common.features.netem, common.kernel_release) == (False, "5.9-without")
    assert not common_facts(FACTS, [WITH_NETEM]).features.netem


FULL = Topology(
    "abcdefg1",
    uplink=UplinkSpec(rate_bps=100_000_000, latency_ns=1_000_000),
    links={("source", "up"): LinkConditions(rate_bps=10**8, loss=0.01)},
    later=(LaterConditions("impairment[0]", "source", "up", LinkConditions(latency_ns=5)),),
    flapping=frozenset({"source"}),
    placement=SPREAD.placement,
    mtu_bytes=1450,
)


@pytest.mark.parametrize("topology", [Topology("abcdefg1"), SPREAD, APART, FULL])
def test_a_topology_is_the_same_on_the_other_side(topology: Topology) -> None:
    assert parse_topology(json.loads(json.dumps(topology_document(topology)))) == topology


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@given(st.sampled_from(sorted(topology_document(FULL))), JSON)
def test_a_topology_with_anything_in_one_of_its_places_is_one_or_refused(name: str, value: object) -> None:
    try:
        parsed = parse_topology({**topology_document(FULL), name: value})
    except HarnessError:
        return
    assert isinstance(parsed, Topology)


def test_a_refused_topology_says_where() -> None:
    with pytest.raises(ProtocolError, match=r"^topology: uplink\.latency_ns: "):
        parse_topology({**topology_document(FULL), "uplink": {"latency_ns": "soon"}})
    with pytest.raises(ProtocolError, match="topology: nodes: "):
        parse_topology({**topology_document(FULL), "nodes": 3})
