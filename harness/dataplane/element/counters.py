"""Reading what an element has counted; apart from the element itself, which comes with compiled code."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from harness.dataplane.element import state as at


def read_directions(page: np.ndarray, directions: int) -> list[dict[str, Any]]:
    """The counters on a status page, per direction: those of CLASS_COUNTERS as a tuple with an entry per class."""
    found: list[dict[str, Any]] = []
    for direction in range(directions):
        block = page[at.DIRECTIONS_AT + direction * at.DIRECTION_WORDS :][: at.DIRECTION_WORDS]
        counters: dict[str, Any] = {
            name: tuple(int(count) for count in block[word : word + at.CLASSES])
            for name, word in at.CLASS_COUNTERS.items()
        }
        counters.update({name: int(block[word]) for name, word in at.DIRECTION_COUNTERS.items()})
        found.append(counters)
    return found


def total(counters: Mapping[str, Any], name: str) -> int:
    """One counter of a direction over all classes."""
    return sum(counters[name])
