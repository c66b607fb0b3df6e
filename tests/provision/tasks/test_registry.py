from __future__ import annotations

import pytest

from harness.provision.connections.errors import NamespaceExists
from harness.provision.task import Task
from harness.provision.tasks import TASKS
from harness.provision.tasks.link import LinkEnd, VethPair
from harness.provision.tasks.netns import NetworkNamespace
from harness.provision.tasks.qdisc import Netem, Qdiscs, Tbf


def test_every_kind_is_a_task_with_a_name_of_its_own() -> None:
    assert all(issubclass(kind, Task) for kind in TASKS.values())


def test_a_foreign_namespace_is_refused_before_anything_is_done() -> None:
    task = NetworkNamespace("fabric", "abcdefg1-fabric")
    assert task.diff({"abcdefg1-fabric": "present"}) == []
    assert [change.after for change in task.diff({})] == ["present"]
    with pytest.raises(NamespaceExists, match="abcdefg1-fabric"):
        task.diff({"abcdefg1-fabric": "foreign"})


def test_a_link_asks_only_for_the_settings_given() -> None:
    end, peer = LinkEnd("a", "x", "02:00:00:00:00:01", master="br0"), LinkEnd("b", "y", "02:00:00:00:00:02", 9000, 4096)
    wanted = VethPair("n", end, peer).wanted()
    assert wanted["a/x master"] == "br0"
    assert "a/x gso_max_size_bytes" not in wanted
    assert wanted["b/y gso_max_size_bytes"] == 4096
    assert wanted["b/y mtu_bytes"] == 9000
    observed = {**wanted, "b/y mtu_bytes": 1500, "b/y other": 1}
    (change,) = VethPair("n", end, peer).diff(observed)
    assert change.line() == "b/y mtu_bytes: 1500 -> 9000"


def test_netem_stands_at_the_root_with_the_meter_behind_it() -> None:
    task = Qdiscs("n", "ns", "up0", [Netem(2_500_000), Tbf(1_000_000_000, 2_500_000, 65536)])
    wanted = task.wanted()
    assert wanted["up0 0 kind"] == "netem"
    assert wanted["up0 1 kind"] == "tbf"
    first, second = task.requests(5)
    parents = [int.from_bytes(request.data[28:32], "little") for request in (first, second)]
    handles = [int.from_bytes(request.data[24:28], "little") for request in (first, second)]
    assert parents == [0xFFFFFFFF, 0x10001]
    assert handles == [0x10000, 0x20000]
