"""Packet duplication (paper, section VII): every frame is copied whole before it is processed, and the destination
runs the normal packet path on the copies with its output suppressed."""

from __future__ import annotations

from typing import Any

from harness.migration.modes.base import UPDATES_DUPLICATION, ResynchronisationMode, StateletTarget


def _apply(instance: StateletTarget, data: Any, nbytes: int) -> tuple[int, int]:
    return instance.install_duplicates(data, nbytes)


DUPLICATION = ResynchronisationMode("duplication", UPDATES_DUPLICATION, _apply)
