"""What a resynchronisation mode is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

UPDATES_OFF = 0
UPDATES_STATELET = 1
UPDATES_DUPLICATION = 2
"""What the engine puts into st_q_out. Equal to the engine's own constants (a test keeps it so); repeated here because
the names of the modes are needed where the compiler must not be loaded."""


class StateletTarget(Protocol):
    """The part of an instance that applies records of the stream: (records applied, 0 or a negative error)."""

    def install_statelets(self, data: Any, nbytes: int) -> tuple[int, int]: ...

    def install_duplicates(self, data: Any, nbytes: int) -> tuple[int, int]: ...


@dataclass(frozen=True, slots=True)
class ResynchronisationMode:
    """`updates` tells the source's engine what to put on the stream; `apply(instance, data, nbytes)` installs one
    segment (TLVs back to back, uint8[nbytes]) at the destination."""

    name: str
    updates: int
    apply: Callable[[StateletTarget, Any, int], tuple[int, int]]
