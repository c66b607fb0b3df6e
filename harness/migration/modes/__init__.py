"""Registry of resynchronisation modes: what is put on the statelet stream and how the destination applies it.

Not having a migration at all is a choice of the experiment, not a mode.
"""

from __future__ import annotations

from collections.abc import Mapping

from harness.errors import UsageError
from harness.migration.modes.base import ResynchronisationMode, StateletTarget
from harness.migration.modes.duplication import DUPLICATION
from harness.migration.modes.statelet import STATELET

__all__ = ["MODES", "ResynchronisationMode", "StateletTarget", "mode_named"]

MODES: Mapping[str, ResynchronisationMode] = {mode.name: mode for mode in (STATELET, DUPLICATION)}


def mode_named(name: str) -> ResynchronisationMode:
    """Raises UsageError that lists the known modes."""
    try:
        return MODES[name]
    except KeyError:
        raise UsageError(f"unknown resynchronisation mode {name!r}: one of {', '.join(sorted(MODES))}") from None
