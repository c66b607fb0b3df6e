from __future__ import annotations

import pytest

from harness.errors import UsageError
from harness.provision.connections.local import LocalConnection
from harness.provision.inventory import Inventory, Node, check_run_id


@pytest.mark.parametrize("bad", ["", "short", "1abcdefg", "UPPERCAS", "abcdefghi", "abc-defg", "abcdefg\n"])
def test_refuses_run_ids_that_are_no_names(bad: str) -> None:
    with pytest.raises(UsageError, match="run id"):
        check_run_id(bad)


def test_names_namespaces_by_run_and_node() -> None:
    inventory = Inventory.on_one_host("abcdefg1", ("source", "fabric"), LocalConnection())
    assert inventory.node("source").netns == "abcdefg1-source"
    assert [node.name for node in inventory] == ["source", "fabric"]
    with pytest.raises(UsageError, match="nodes are source, fabric"):
        inventory.node("sink")


def test_refuses_a_node_on_a_host_nobody_can_reach() -> None:
    with pytest.raises(UsageError, match="far"):
        Inventory({"a": Node("a", "x-a", host="far")}, {"localhost": LocalConnection()})
