"""Every task against a real kernel: the contract that the fake of the unit tests keeps, too."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from harness.provision import messages
from harness.provision.clean import clean
from harness.provision.connections.local import LocalConnection
from harness.provision.netlink import NetlinkError
from harness.provision.ownership import Ownership
from harness.provision.task import Context, Task
from harness.provision.tasks.address import Addresses
from harness.provision.tasks.bridge import Bridge, BridgePorts
from harness.provision.tasks.fdb import ForwardingEntries
from harness.provision.tasks.link import LinkEnd, LinkSettings, VethPair
from harness.provision.tasks.neighbour import Neighbours
from harness.provision.tasks.netns import NetworkNamespace
from harness.provision.tasks.offloads import OffloadsOff
from harness.provision.tasks.process import Process
from harness.provision.tasks.qdisc import Qdiscs, Tbf
from harness.provision.tasks.route import DefaultRoute
from harness.provision.tasks.sysctl import Sysctls, read_sysctl
from tests.provision.contract import check_contract
from tests.system.untouched import Machine, connection, run_id, untouched  # noqa: F401 (fixtures)


class Place(NamedTuple):
    """Two namespaces to try tasks in, the first with a bridge br0 that has one port."""

    context: Context
    first: str
    second: str


@pytest.fixture
def place(run_id: str, tmp_path: Path, untouched: Machine) -> Iterator[Place]:
    connection = LocalConnection()
    with Ownership.acquire(run_id, tmp_path) as ownership:
        context = Context(connection, ownership)
        namespaces = [NetworkNamespace(node, f"{run_id}-{node}") for node in ("first", "second")]
        try:
            for task in namespaces:
                task.apply(context, [])
            first, second = (task.netns for task in namespaces)
            Bridge("first", LinkEnd(first, "br0", "02:00:00:00:09:01")).apply(context, [])
            port = LinkEnd(first, "port", "02:00:00:00:09:02", master="br0")
            VethPair("first", port, LinkEnd(second, "up", "02:00:00:00:09:03")).apply(context, [])
            yield Place(context, first, second)
        finally:
            for task in reversed(namespaces):
                task.undo(context)
            connection.close()


def default_route(place: Place) -> DefaultRoute:
    """A gateway has to be in a network of a link that is up."""
    Addresses("n", place.second, "up", "192.0.2.1/24").apply(place.context, [])
    return DefaultRoute("n", place.second, "up", "192.0.2.254")


_PROGRAM = 'print(\'{"event": "ready"}\', flush=True); input(); input()'
REAL: dict[str, tuple[Callable[[Place, Path], Task], bool]] = {
    "netns": (lambda p, _: NetworkNamespace("n", f"{p.first}2"), True),
    "bridge": (lambda p, _: Bridge("n", LinkEnd(p.second, "br1", "02:00:00:00:08:01", 1400, 8192)), True),
    "veth": (
        lambda p, _: VethPair(
            "n",
            LinkEnd(p.first, "x", "02:00:00:00:08:02", 1400, 8192, master="br0"),
            LinkEnd(p.second, "y", "02:00:00:00:08:03", 1300, 4096),
        ),
        True,
    ),
    "veth inside one namespace": (
        lambda p, _: VethPair(
            "n", LinkEnd(p.first, "x", "02:00:00:00:08:02"), LinkEnd(p.first, "y", "02:00:00:00:08:03")
        ),
        True,
    ),
    "link": (lambda p, _: LinkSettings("n", p.second, "lo"), True),
    "bridge_port": (
        lambda p, _: BridgePorts("n", p.first, {"port": {"learning": False, "flood": False, "bcast_flood": False}}),
        False,
    ),
    "fdb": (lambda p, _: ForwardingEntries("n", p.first, {"02:00:00:00:08:04": "port"}), True),
    "address": (lambda p, _: Addresses("n", p.first, "br0", "192.0.2.1/24"), True),
    "offloads": (lambda p, _: OffloadsOff("n", p.second, "up"), False),
    "default_route": (lambda p, _: default_route(p), True),
    "neighbour": (lambda p, _: Neighbours("n", p.first, "br0", {"192.0.2.9": "02:00:00:00:08:05"}), True),
    "qdisc": (lambda p, _: Qdiscs("n", p.first, "port", [Tbf(100_000_000, 250_000, 65536)]), True),
    "sysctl": (lambda p, _: Sysctls("n", p.first, {"net.ipv4.ip_default_ttl": "77"}), False),
    "process": (lambda p, path: Process("n", p.first, "p", [sys.executable, "-c", _PROGRAM], {}, path / "log"), True),
}


@pytest.mark.parametrize("kind", REAL)
def test_every_real_task_keeps_the_contract_the_fake_keeps(kind: str, place: Place, tmp_path: Path) -> None:
    make, reversible = REAL[kind]
    check_contract(make(place, tmp_path), place.context, reversible)


def test_one_refusal_in_a_batch_is_reported_and_the_rest_is_done(place: Place) -> None:
    route = place.context.connection.netlink(place.first)
    requests = [messages.link_set("nosuch", []), messages.link_set("port", [("IFLA_MTU", 1280)])]
    with pytest.raises(NetlinkError, match="set link nosuch"):
        route.transact(requests)
    assert route.dump(messages.link_get("port"))[0].get_attr("IFLA_MTU") == 1280


@pytest.mark.real_root("it changes a parameter of the machine")
def test_a_parameter_of_the_host_gets_its_value_back(
    tmp_path: Path, connection: LocalConnection, run_id: str, untouched: Machine
) -> None:
    name = "net.ipv4.tcp_allowed_congestion_control"
    before = read_sysctl(name)
    assert before is not None
    after = " ".join(reversed(before.split())) if len(before.split()) > 1 else before
    with Ownership.acquire(run_id, tmp_path) as ownership:
        Sysctls("localhost", None, {name: "reno"}).apply(
            Context(connection, ownership), Sysctls("localhost", None, {name: "reno"}).diff({name: before})
        )
        assert read_sysctl(name) == "reno"
    assert [item.kind for item in clean(tmp_path)] == ["sysctl"]
    assert set((read_sysctl(name) or "").split()) == set(after.split())
