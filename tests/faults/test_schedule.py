"""Schedules drawn from seeds, and what a fault may not contradict."""

from __future__ import annotations

from collections import Counter

import pytest

from harness.faults.schedule import ACTIONS, LASTING, PHASES, STREAMS, Fault, generate, problems
from harness.migration.phases import ControllerPhase

SEEDS = range(2000)


def test_a_seed_is_a_schedule_for_ever() -> None:
    assert [generate(seed) for seed in range(50)] == [generate(seed) for seed in range(50)]
    assert generate(1) != generate(2)
    assert [fault.describe() for fault in generate(4, 1 << 18)] == ["kill destination at snapshot + 14.4 ms"]


def test_no_schedule_contradicts_itself() -> None:
    for seed in SEEDS:
        for fault in generate(seed):
            assert list(problems(fault)) == [], fault


def test_everything_that_can_happen_does() -> None:
    drawn = [fault for seed in SEEDS for fault in generate(seed, 1 << 18, 100_000_000)]
    assert {(fault.target, fault.action) for fault in drawn} == {
        (target, action) for target, actions in ACTIONS.items() for action in actions
    }
    assert {fault.phase for fault in drawn if fault.target not in STREAMS} == {*PHASES, None}
    assert all(fault.for_ns > 0 for fault in drawn if fault.action in LASTING)
    assert {fault.node for fault in drawn if fault.target == "management"} == {"source", "destination"}
    assert {fault.bit for fault in drawn if fault.action == "corrupt"} == set(range(8))
    offsets = [fault.offset_bytes for fault in drawn if fault.target == "snapshot_stream"]
    assert min(offsets) < 200 < 1 << 16 < max(offsets) < 1 << 18
    assert all(fault.at_ns >= 100_000_000 for fault in drawn if fault.at_ns is not None)
    counts = Counter(len(generate(seed)) for seed in SEEDS)
    assert set(counts) == {1, 2}
    assert 0.15 < counts[2] / len(SEEDS) < 0.25


@pytest.mark.parametrize(
    ("fault", "key"),
    [
        (Fault("source", "cut", ControllerPhase.DRAIN), "action"),
        (Fault("source", "kill"), "phase"),
        (Fault("source", "kill", ControllerPhase.DRAIN, at_ns=5), "phase"),
        (Fault("source", "kill", at_ns=5, delay_ns=1), "delay"),
        (Fault("source", "stop", ControllerPhase.DRAIN), "for"),
        (Fault("source", "kill", ControllerPhase.DRAIN, for_ns=1), "for"),
        (Fault("source", "kill", ControllerPhase.DRAIN, offset_bytes=7), "offset"),
        (Fault("disk", "fill", ControllerPhase.DRAIN, for_ns=1, bit=1), "offset"),
    ],
)
def test_a_contradiction_is_named_by_its_key(fault: Fault, key: str) -> None:
    assert [found for found, _ in problems(fault)] == [key]


def test_a_fault_in_words() -> None:
    cut = Fault("management", "cut", ControllerPhase.COMMIT, delay_ns=5_000_000, for_ns=300_000_000, node="source")
    assert cut.describe() == "cut management of the source for 300 ms at commit + 5 ms"
    flip = Fault("snapshot_stream", "corrupt", ControllerPhase.PREPARE, offset_bytes=1024, bit=3)
    assert flip.describe() == "corrupt snapshot_stream after 1KiB, bit 3 at prepare"
    assert Fault("loadgen", "kill", at_ns=6_000_000_000).describe() == "kill loadgen at s+6 s"
    assert [fault.is_before_switchover for fault in (cut, Fault("source", "kill", ControllerPhase.DRAIN))] == [
        True,
        False,
    ]
