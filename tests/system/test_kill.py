"""The program killed at every phase and at random moments: the machine is put right, and what was written is readable.

A few trials of the soak (`make soak-kill` makes a hundred).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.soak.kill import LENGTHS_S, look_alikes, reached
from tests.soak.results import PROVISIONING, RECORDING, TEAR_DOWN
from tests.soak.trial import Place, Trial

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root"),
    pytest.mark.timeout(240),  # the compiler may have to run first
]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, warm: None, own_namespace_names: None) -> Iterator[Place]:
    """With objects of others that look like ours; everything that was there at first has to be there in the end."""
    found = Place(tmp_path_factory.mktemp("kill"))
    found.temporary.mkdir()
    with look_alikes(found):
        yield found


def carry_out(trial: Trial, place: Place) -> None:
    trial.carry_out(place)
    assert trial.problems == [], f"killed after {trial.moment_s:.2f} s in phase {trial.phase}; left {trial.left}"


@pytest.mark.parametrize(
    "phase",
    [
        PROVISIONING,
        "boot",
        "window",
        "controller.snapshot",
        "controller.switchover",
        "collect",
        RECORDING,
        TEAR_DOWN,
    ],
)
def test_a_program_killed_in_a_phase_leaves_nothing(place: Place, phase: str) -> None:
    trial = Trial(1, until=reached(phase), thorough=phase == "collect")
    carry_out(trial, place)
    assert trial.left or phase in (PROVISIONING, TEAR_DOWN), "it was killed before it had made anything"


@pytest.mark.parametrize(
    ("number", "fraction", "end", "command"),
    [
        (11, 0.31, "next start", "run"),
        (12, 0.62, "clean killed", "run"),
        (13, 0.47, "clean", "calibrate"),
        (14, 0.83, "clean", "run"),
    ],
)
def test_a_program_killed_at_any_moment_leaves_nothing(
    place: Place, number: int, fraction: float, end: str, command: str
) -> None:
    carry_out(Trial(number, command, end, after_s=fraction * LENGTHS_S[command], seed=number), place)


def test_a_trial_tells_what_went_missing(place: Place) -> None:
    (foreign,) = place.temporary.iterdir()

    def somebody_removes_it(_results: Path) -> bool:
        foreign.rmdir()
        return True

    trial = Trial(21, until=somebody_removes_it)
    try:
        trial.carry_out(place)
    finally:
        foreign.mkdir()
    assert trial.problems == [f"temporary: missing: {foreign}"]
