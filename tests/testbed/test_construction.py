from __future__ import annotations

import dataclasses

import pytest

from harness.errors import MachineError
from harness.provision.facts import Facts, KernelFeatures
from harness.provision.task import State, Task
from harness.provision.tasks.address import Addresses
from harness.provision.tasks.fdb import ForwardingEntries
from harness.provision.tasks.link import VethPair
from harness.provision.tasks.netns import NetworkNamespace
from harness.provision.tasks.offloads import OffloadsOff
from harness.provision.tasks.qdisc import Qdiscs
from harness.provision.tasks.route import DefaultRoute
from harness.provision.tasks.sysctl import SysctlMember, Sysctls
from harness.testbed.attachment import management_link
from harness.testbed.construction import receive_mask, tasks_for, usable_congestion_control
from harness.testbed.topology import Topology, UplinkSpec

FACTS = Facts(
    kernel_release="6.0",
    machine="x86_64",
    cpus=2,
    cap_net_admin=True,
    cap_net_raw=True,
    cap_sys_admin=True,
    cap_sys_nice=True,
    rmem_max_bytes=0,
    wmem_max_bytes=0,
    clock_source="tsc",
    steal_fraction=0.0,
    congestion_controls=("reno", "cubic"),
    allowed_congestion_controls=("reno", "cubic"),
    features=KernelFeatures(namespaces=True, veth=True, bridge=True, tbf=True, netem=False),
)
WITH_NETEM = dataclasses.replace(FACTS, features=dataclasses.replace(FACTS.features, netem=True))


def wanted(tasks: list[Task], kind: type[Task]) -> State:
    return {key: value for task in tasks if isinstance(task, kind) for key, value in task.wanted().items()}


def test_a_congestion_control_the_kernel_lacks_is_refused() -> None:
    with pytest.raises(MachineError, match=r"'vegas'.*reno, cubic"):
        tasks_for(Topology("abcdefg1", congestion_control="vegas"), FACTS)


def test_a_congestion_control_is_allowed_on_the_host_before_a_namespace_asks_for_it() -> None:
    first, *rest = tasks_for(Topology("abcdefg1"), FACTS)
    assert first.wanted() == {"net.ipv4.tcp_allowed_congestion_control cubic": "present"}
    assert all(isinstance(task, NetworkNamespace) for task in rest[:5])


@pytest.mark.parametrize(
    ("rootless", "allowed", "expected"),
    [(True, ("reno",), "reno"), (True, ("reno", "cubic"), "cubic"), (False, ("reno",), "cubic")],
)
def test_without_root_the_instances_use_what_the_host_allows(
    rootless: bool, allowed: tuple[str, ...], expected: str
) -> None:
    facts = dataclasses.replace(FACTS, rootless=rootless, allowed_congestion_controls=allowed)
    assert usable_congestion_control("cubic", facts) == expected
    tasks = tasks_for(Topology("abcdefg1"), facts)
    assert wanted(tasks, SysctlMember) == {f"net.ipv4.tcp_allowed_congestion_control {expected}": "present"}
    assert wanted(tasks, Sysctls)["net.ipv4.tcp_congestion_control"] == expected


def test_the_vnf_addresses_belong_to_the_source_and_each_node_has_its_own() -> None:
    entries = wanted(tasks_for(Topology("abcdefg1"), FACTS), ForwardingEntries)
    assert entries["02:00:00:00:01:00"] == entries["02:00:00:00:01:01"] == "source"
    assert entries["02:00:00:00:00:01"] == "loadgen"
    assert entries["02:00:00:00:02:0c"] == "destination"
    assert "02:00:00:00:02:01" not in entries, "the controller's address is the bridge's own"


@pytest.mark.parametrize(
    ("facts", "backend", "uplink_mac", "link"),
    [(FACTS, "delay_line", "02:00:00:00:04:0b", "mgmt0"), (WITH_NETEM, "netem", "02:00:00:00:02:0b", "up0")],
)
def test_the_management_address_sits_behind_the_delay_or_on_the_uplink(
    facts: Facts, backend: str, uplink_mac: str, link: str
) -> None:
    links = wanted(tasks_for(Topology("abcdefg1"), facts), VethPair)
    assert links["abcdefg1-source/up0 mac"] == uplink_mac
    assert links[f"abcdefg1-source/{link} mac"] == "02:00:00:00:02:0b"
    assert management_link(backend) == link


def test_both_directions_of_both_uplinks_are_metered_and_nothing_else() -> None:
    tasks = [task for task in tasks_for(Topology("abcdefg1"), FACTS) if isinstance(task, Qdiscs)]
    assert sorted((task.netns, task.link) for task in tasks) == [
        ("abcdefg1-destination", "up0"),
        ("abcdefg1-fabric", "destination"),
        ("abcdefg1-fabric", "source"),
        ("abcdefg1-source", "up0"),
    ]
    assert all(task.wanted() == tasks[0].wanted() or task.link != tasks[0].link for task in tasks)


def test_netem_delays_before_the_meter() -> None:
    (task, *_) = [task for task in tasks_for(Topology("abcdefg1"), WITH_NETEM) if isinstance(task, Qdiscs)]
    assert [type(item).__name__ for item in task.chain] == ["Netem", "Tbf"]


def test_no_meter_and_no_latency_means_no_queueing_discipline() -> None:
    topology = Topology("abcdefg1", UplinkSpec(rate_bps=None), latency_backend="none")
    assert not [task for task in tasks_for(topology, FACTS) if isinstance(task, Qdiscs)]


def test_everything_inside_a_namespace_goes_with_it() -> None:
    _of_the_host, *tasks = tasks_for(Topology("abcdefg1"), FACTS)
    made = {task.provides for task in tasks if task.provides}
    assert all(task.container in made for task in tasks if task.provides is None)


@pytest.mark.parametrize(
    ("receive_order", "cpu_mask", "expected"),
    [("cpu", 0b11, "0"), ("link", 0b11, "1"), ("link", 0b110000, "10"), ("flow", 0b11, "3"), ("flow", 0b110000, "30")],
)
def test_the_receiving_cpus_follow_from_the_order_to_be_kept(receive_order: str, cpu_mask: int, expected: str) -> None:
    assert receive_mask(receive_order, cpu_mask) == expected


def test_an_instance_receives_its_whole_uplink_in_order_so_that_no_drain_frame_overtakes() -> None:
    assert receive_mask("flow", 0b1111, "source") == "1"
    assert receive_mask("flow", 0b1111, "destination") == "8"
    assert receive_mask("flow", 0b1111, "loadgen") == "f"
    assert receive_mask("flow", 0b1, "source") == receive_mask("flow", 0b1, "destination") == "1"
    assert receive_mask("cpu", 0b1111, "source") == "0"


def test_programs_at_both_ends_get_addresses_a_way_through_the_vnf_and_whole_frames() -> None:
    kinds = (Addresses, DefaultRoute, OffloadsOff)
    plain, with_stacks = (tasks_for(Topology("abcdefg1", kernel_stacks=stacks), FACTS) for stacks in (False, True))
    added = with_stacks[len(plain) :]
    assert all(isinstance(task, kinds) for task in added)
    assert {task.node for task in added} == {"loadgen", "echoserver"}
    assert wanted(added, Addresses) == {"up0 10.1.2.1/16": "present", "up0 198.18.2.1/16": "present"}
    assert wanted(added, DefaultRoute) == {"default route": "10.1.0.1 by up0"}
    assert set(wanted(added, OffloadsOff).values()) == {"off"}
