"""The registry of modes, and that its constants are the engine's."""

from __future__ import annotations

import pytest

from harness.dataplane import engine_state
from harness.errors import UsageError
from harness.migration.modes import MODES, base, mode_named


class Target:
    def install_statelets(self, data: bytes, nbytes: int) -> tuple[int, int]:
        return nbytes, -1

    def install_duplicates(self, data: bytes, nbytes: int) -> tuple[int, int]:
        return nbytes, -2


def test_modes_differ_in_what_is_sent_and_how_it_is_applied() -> None:
    assert sorted(MODES) == ["duplication", "statelet"]
    assert mode_named("statelet").apply(Target(), b"", 5) == (5, -1)
    assert mode_named("duplication").apply(Target(), b"", 6) == (6, -2)


def test_the_constants_are_the_engines() -> None:
    assert base.UPDATES_OFF == engine_state.UPDATES_OFF
    assert mode_named("statelet").updates == engine_state.UPDATES_STATELET
    assert mode_named("duplication").updates == engine_state.UPDATES_DUPLICATION


def test_an_unknown_mode_names_the_known_ones() -> None:
    with pytest.raises(UsageError, match="'x': one of duplication, statelet"):
        mode_named("x")
