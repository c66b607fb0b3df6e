"""Means over repetitions with their 95 % confidence intervals."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from scipy import stats


@dataclass(frozen=True)
class Estimate:
    """Mean of `count` repetitions; `half_width` is that of the confidence interval, None where none can be given."""

    count: int
    mean: float | None
    half_width: float | None


def estimate(values: Iterable[float | None], confidence: float = 0.95) -> Estimate:
    """Student t interval of the mean, t(1 - (1 - confidence)/2, n - 1) x s / sqrt(n), as in the paper's evaluation.

    None (not measured) is left out. No value gives mean None, one value gives half_width None: one repetition says
    nothing of its spread. ValueError for a value that is not finite or a confidence outside (0, 1).
    """
    if not 0.0 < confidence < 1.0:
        raise ValueError(f"confidence {confidence} is not between 0 and 1")
    present = [float(value) for value in values if value is not None]
    if not all(math.isfinite(value) for value in present):
        raise ValueError("a value is not finite")
    count = len(present)
    if count == 0:
        return Estimate(0, None, None)
    mean = math.fsum(present) / count
    if count == 1:
        return Estimate(1, mean, None)
    variance = math.fsum((value - mean) ** 2 for value in present) / (count - 1)
    quantile = float(stats.t.ppf(0.5 + confidence / 2, count - 1))
    return Estimate(count, mean, quantile * math.sqrt(variance / count))
