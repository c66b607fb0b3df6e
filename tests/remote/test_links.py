"""Changes of links that are asked of another host arrive as they were meant, or are refused there."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import HarnessError, ProfileError, ProtocolError, UsageError
from harness.remote.caller import LocalCaller
from harness.remote.links import LinksPart, RemoteLinks
from harness.testbed.conditions import Direction, LinkConditions


class Links:
    """Notes what it is asked for."""

    def __init__(self) -> None:
        self.asked: list[tuple[object, ...]] = []

    def set_conditions(self, node: str, way: Direction, conditions: LinkConditions) -> None:
        self.asked.append((node, way, conditions))

    def set_link(self, node: str, up: bool) -> None:
        self.asked.append((node, up))

    def set_partition(self, isolated: bool) -> None:
        self.asked.append((isolated,))


def through_json(call: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    """As over a connection."""
    return lambda **arguments: json.loads(json.dumps(call(**json.loads(json.dumps(arguments)))))


@pytest.fixture
def there() -> Links:
    return Links()


@pytest.fixture
def part(there: Links) -> LinksPart:
    return LinksPart(lambda: there)


def test_what_is_asked_here_is_done_there(there: Links, part: LinksPart) -> None:
    links = RemoteLinks(LocalCaller({name: through_json(call) for name, call in part.calls.items()}))
    conditions = LinkConditions(rate_bps=10**8, latency_ns=5, ipdv_ns=3, ipdv_distribution="pareto", loss=0.25)
    links.set_conditions("source", "up", conditions)
    links.set_link("destination", False)
    links.set_partition(True)
    assert there.asked == [("source", "up", conditions), ("destination", False), (True,)]


WAY = {"node": "source", "direction": "up", "conditions": {"latency_ns": 5}}


@pytest.mark.parametrize(
    ("changed", "kind", "said"),
    [
        ({"node": "fabric"}, UsageError, "'fabric': must be one of loadgen, "),
        ({"direction": "sideways"}, ProtocolError, "link: direction: "),
        ({"conditions": {"latency_ns": "5"}}, ProtocolError, r"link: conditions\.latency_ns: "),
        ({"conditions": {"loss": 2.0}}, ProfileError, "loss"),
        ({"more": 1}, ProtocolError, "link: more: "),
    ],
)
def test_what_cannot_be_is_refused(
    there: Links, part: LinksPart, changed: dict[str, Any], kind: type[HarnessError], said: str
) -> None:
    with pytest.raises(kind, match=said):
        part.set_conditions(**{**WAY, **changed})
    with pytest.raises(UsageError):
        part.set_link("up0", True)
    assert there.asked == []


@given(st.dictionaries(st.sampled_from(["node", "direction", "conditions"]), st.none() | st.text() | st.integers()))
def test_anything_else_is_refused_without_a_defect(asked: dict[str, Any]) -> None:
    there = Links()
    with pytest.raises(HarnessError):
        LinksPart(lambda: there).set_conditions(**asked)
    assert there.asked == []
