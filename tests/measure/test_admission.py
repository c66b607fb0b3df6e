from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import maximum_flow

from harness.measure.admission import admit

WIRES = ("a", "b", "c", "d")


def most_that_can_be_explained(vanished: dict[str, int], bounds: list[tuple[tuple[str, ...], int]]) -> int:
    """Maximum flow from a source over bounds and wires to a sink."""
    source, sink = 0, 1 + len(bounds) + len(WIRES)
    edges = np.zeros((sink + 1, sink + 1), np.int32)
    for number, (wires, packets) in enumerate(bounds, 1):
        edges[source, number] = packets
        for name in wires:
            edges[number, 1 + len(bounds) + WIRES.index(name)] = packets
    for number, name in enumerate(WIRES):
        edges[1 + len(bounds) + number, sink] = vanished[name]
    return int(maximum_flow(csr_matrix(edges), source, sink).flow_value)


wires = st.lists(st.sampled_from(WIRES), min_size=1, max_size=4, unique=True).map(tuple)


@given(
    st.fixed_dictionaries({name: st.integers(0, 30) for name in WIRES}),
    st.lists(st.tuples(wires, st.integers(0, 40)), max_size=8),
)
def test_as_much_is_explained_as_the_bounds_allow(
    vanished: dict[str, int], bounds: list[tuple[tuple[str, ...], int]]
) -> None:
    explained = admit(vanished, bounds)
    for (names, packets), parts in zip(bounds, explained, strict=True):
        assert set(parts) <= set(names)
        assert all(part >= 0 for part in parts.values())
        assert sum(parts.values()) <= packets
    for name in WIRES:
        assert sum(parts.get(name, 0) for parts in explained) <= vanished[name]
    total = sum(sum(parts.values()) for parts in explained)
    assert total == most_that_can_be_explained(vanished, bounds)


def test_an_early_bound_makes_room_where_a_later_one_can_explain() -> None:
    vanished = {"a": 80, "b": 5, "c": 0, "d": 0}
    outage, meter = admit(vanished, [(("a", "b"), 45), (("a",), 40)])
    assert outage == {"a": 40, "b": 5}
    assert meter == {"a": 40}


def test_the_first_bound_explains_first() -> None:
    assert admit({"a": 5, "b": 0, "c": 0, "d": 0}, [(("a",), 4), (("a",), 4)]) == [{"a": 4}, {"a": 1}]
