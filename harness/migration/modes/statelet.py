"""Statelets (paper, section III): the image announces each change of state, the destination installs it."""

from __future__ import annotations

from typing import Any

from harness.migration.modes.base import UPDATES_STATELET, ResynchronisationMode, StateletTarget


def _apply(instance: StateletTarget, data: Any, nbytes: int) -> tuple[int, int]:
    return instance.install_statelets(data, nbytes)


STATELET = ResynchronisationMode("statelet", UPDATES_STATELET, _apply)
