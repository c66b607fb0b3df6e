from __future__ import annotations

import numpy as np
import pytest

from harness.measure import invariants
from harness.measure.hops import HopCounters, InstanceCounters, PortCounters
from harness.measure.invariants import CounterPair, StateletCounters
from harness.measure.ledger import attribute


def test_mappings_unchanged(records) -> None:
    assert invariants.mappings_unchanged(records([10, 10])).verdict == "holds"
    changed = records([10, 10], flow_mapping_changes=np.array([0, 1], np.uint32))
    found = invariants.mappings_unchanged(changed)
    assert (found.verdict, "flow 1" in found.detail) == ("broken", True)
    unseen = records([10, 10], flow_packets=np.zeros(2, np.uint64))
    assert invariants.mappings_unchanged(unseen).verdict == "unknown"


def test_mappings_unique(records) -> None:
    assert invariants.mappings_unique(records([10] * 3, flows=3)).verdict == "holds"
    ports = np.array([7, 8, 7], np.uint16)
    shared = invariants.mappings_unique(records([10] * 3, flows=3, flow_external_port=ports))
    assert (shared.verdict, "flows 0 and 2" in shared.detail) == ("broken", True)
    # The same port on another address is another mapping; a flow never seen has none.
    addresses = np.array([1, 1, 2], np.uint32)
    other = records([10] * 3, flows=3, flow_external_port=ports, flow_external_ip=addresses)
    assert invariants.mappings_unique(other).verdict == "holds"
    unseen = records([10] * 3, flows=3, flow_external_port=ports, flow_packets=np.array([1, 1, 0], np.uint64))
    assert invariants.mappings_unique(unseen).verdict == "holds"
    # TCP and UDP have external ports of their own.
    for protocols, verdict in ((np.array([6, 6, 17], np.uint8), "holds"), (np.array([6, 17, 6], np.uint8), "broken")):
        mixed = records([10] * 3, flows=3, flow_external_port=ports, flow_protocol=protocols)
        assert invariants.mappings_unique(mixed).verdict == verdict


@pytest.mark.parametrize(
    ("comparison", "verdict"),
    [
        ({"equal": True, "difference": ""}, "holds"),
        ({"equal": False, "difference": "port 1024"}, "broken"),
        ({"equal": None, "difference": "reference timed out"}, "unknown"),
        ({"equal": 1}, "unknown"),
        ({}, "unknown"),
        (None, "unknown"),
    ],
)
def test_state_equals_reference(comparison, verdict) -> None:
    assert invariants.state_equals_reference(comparison).verdict == verdict


@pytest.mark.parametrize(
    ("counters", "verdict"),
    [
        (StateletCounters(5, 5, 5, 5, 0, 4), "holds"),
        (StateletCounters(0, 0, 0, 0, None, None), "holds"),
        (StateletCounters(5, 5, 5, 5, 0, 5), "broken"),
        (StateletCounters(5, 5, 4, 4, 0, 3), "broken"),
        (StateletCounters(5, 5, 5, 4, 0, 4), "broken"),
        (StateletCounters(0, 0, 0, 0, 0, 1), "broken"),
        (StateletCounters(5, 5, 5, 5, None, 4), "unknown"),
        (None, "unknown"),
    ],
)
def test_statelets_contiguous(counters, verdict) -> None:
    assert invariants.statelets_contiguous(counters).verdict == verdict


@pytest.mark.parametrize(("packets", "verdict"), [(0, "holds"), (1, "broken"), (None, "unknown")])
def test_silence(packets, verdict) -> None:
    assert invariants.destination_silent(packets).verdict == verdict
    assert invariants.source_silent(packets).verdict == verdict


@pytest.mark.parametrize(
    ("pairs", "verdict"),
    [
        ([CounterPair("a", 3, 3)], "holds"),
        ([CounterPair("a", 3, 3), CounterPair("b", 3, 4)], "broken"),
        ([CounterPair("a", None, 3)], "unknown"),
        ([CounterPair("a", None, 3), CounterPair("b", 1, 2)], "broken"),
        ([], "unknown"),
    ],
)
def test_counters_exact(pairs, verdict) -> None:
    assert invariants.counters_exact(pairs).verdict == verdict


def test_every_loss_named(records) -> None:
    port = PortCounters(received_packets=2, sent_packets=2)
    even = HopCounters(2, 2, 2, 2, 0, InstanceCounters(interior=port, exterior=port))
    assert invariants.every_loss_named(attribute(records([10, 10]), even)).verdict == "holds"
    found = invariants.every_loss_named(attribute(records([10, None]), even))
    assert (found.verdict, "loadgen records +1" in found.detail) == ("broken", True)
    assert invariants.every_loss_named(None).verdict == "unknown"


def test_run_without_migration_is_not_asked_about_one(records) -> None:
    without = invariants.check_invariants(records([10]), None, None, [], migrated=False)
    full = invariants.check_invariants(records([10]), None, None, [], migrated=True)
    extra = {i.name for i in full} - {i.name for i in without}
    assert extra == {
        "statelet sequence contiguous",
        "destination silent before it is active",
        "source silent after the drain",
    }
    assert all(i.verdict == "unknown" for i in full if i.name in extra)
