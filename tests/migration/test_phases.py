"""Every transition of both tables, permitted and not."""

from __future__ import annotations

from enum import Enum

import pytest

from harness.migration.phases import (
    CONTROLLER_TRANSITIONS,
    INSTANCE_TRANSITIONS,
    ControllerPhase,
    InstancePhase,
    PhaseError,
    PhaseEvent,
    PhaseMachine,
)

PAIRS = [
    (table, before, after)
    for table in (CONTROLLER_TRANSITIONS, INSTANCE_TRANSITIONS)
    for before in table
    for after in table
]


@pytest.mark.parametrize(("table", "before", "after"), PAIRS)
def test_only_what_the_table_has_is_done_and_journaled(
    table: dict[Enum, frozenset[Enum]], before: Enum, after: Enum
) -> None:
    journal: list[PhaseEvent] = []
    machine: PhaseMachine[Enum] = PhaseMachine("node", before, table, journal.append)
    if after in table[before]:
        machine.move(after, "why")
        assert machine.phase is after
        (event,) = journal
        assert (event.node, event.previous, event.phase, event.detail) == ("node", before.value, after.value, "why")
        assert 0 < event.monotonic_ns < event.wall_ns
    else:
        with pytest.raises(PhaseError, match=f"no transition from {before.value} to {after.value}"):
            machine.move(after)
        assert machine.phase is before
        assert journal == []


@pytest.mark.parametrize("table", [CONTROLLER_TRANSITIONS, INSTANCE_TRANSITIONS])
def test_every_phase_has_a_row(table: dict[Enum, frozenset[Enum]]) -> None:
    assert set(table) == set(type(next(iter(table))))


def reachable(table: dict[Enum, frozenset[Enum]], start: Enum) -> set[Enum]:
    found, waiting = {start}, [start]
    while waiting:
        for phase in table[waiting.pop()] - found:
            found.add(phase)
            waiting.append(phase)
    return found


def test_every_phase_is_reached_and_the_switchover_cannot_be_aborted_once_drained() -> None:
    assert reachable(dict(CONTROLLER_TRANSITIONS), ControllerPhase.IDLE) == set(ControllerPhase)
    assert reachable(dict(INSTANCE_TRANSITIONS), InstancePhase.STANDBY) == set(InstancePhase)
    assert ControllerPhase.ABORTED not in reachable(dict(CONTROLLER_TRANSITIONS), ControllerPhase.DRAIN)
    assert InstancePhase.LIVE not in reachable(dict(INSTANCE_TRANSITIONS), InstancePhase.DRAINED)


def test_require_names_what_is_needed() -> None:
    machine = PhaseMachine("source", InstancePhase.STANDBY, INSTANCE_TRANSITIONS, lambda event: None)
    machine.require("prepare_in", InstancePhase.STANDBY)
    with pytest.raises(PhaseError, match="source: commit needs phase resynchronise or live, the phase is standby"):
        machine.require("commit", InstancePhase.RESYNCHRONISE, InstancePhase.LIVE)
