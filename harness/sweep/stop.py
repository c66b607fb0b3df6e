"""When a cell has been repeated often enough in a mode. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from harness.measure.statistics import estimate
from harness.sweep.model import StopRule


def enough(rule: StopRule, values: Sequence[float | None]) -> bool:
    """Whether the 95 % Student t interval of the repetitions so far is narrow enough.

    values: of the repetitions whose runs count, None for one that has no such figure. Looking after every repetition
    makes the interval of a sweep that stops early somewhat too narrow; the minimum keeps that small.
    """
    found = estimate(values)
    if found.count < rule.minimum_repetitions or found.half_width is None:
        return False
    return found.half_width <= rule.half_width
