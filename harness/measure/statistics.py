"""Means with intervals over repetitions, and two samples compared without assuming a distribution.

None in a sample means "not measured" and is left out. Nothing here returns NaN: what a sample is too small or too
uniform for is None. ValueError for a value that is not finite or a confidence outside (0, 1).

SciPy's distributions are loaded by the functions that need them; they would cost every command a second and 70 MB.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Sample = Iterable[float | None]
Floats = npt.NDArray[np.float64]

CONFIDENCE = 0.95
RESAMPLES = 9_999
ASSIGNMENTS_MAX = 20_000
"""Exact with ties up to so many ways of dealing the values to the two samples (8 and 8: 12,870)."""
PAIRS_EXACT_MAX = 2_500
"""Exact without ties up to so many pairs of values (50 and 50); the normal approximation is as good beyond."""


@dataclass(frozen=True)
class Estimate:
    """Mean of `count` repetitions; `half_width` is that of the confidence interval, None where none can be given."""

    count: int
    mean: float | None
    half_width: float | None


@dataclass(frozen=True)
class Interval:
    """Ends of a confidence interval, in the unit of the values."""

    low: float
    high: float


@dataclass(frozen=True)
class RankTest:
    """Mann-Whitney: `u` pairs in which the second sample's value is the larger (a tie counts half), two-sided `p`."""

    u: float
    p: float
    exact: bool


@dataclass(frozen=True)
class Shift:
    """How far the second sample lies above the first: `estimate` within [low, high] at `confidence` or better.

    `confidence` is below the one asked for when the samples are too small for it: the interval is then the widest
    there is (all pairwise differences), and `confidence` what that is worth; 0 for one value against one.
    """

    estimate: float
    low: float
    high: float
    confidence: float


def estimate(values: Sample, confidence: float = CONFIDENCE) -> Estimate:
    """Student t interval of the mean, t(1 - (1 - confidence)/2, n - 1) x s / sqrt(n), as in the paper's evaluation.

    None (not measured) is left out. No value gives mean None, one value gives half_width None: one repetition says
    nothing of its spread. ValueError for a value that is not finite or a confidence outside (0, 1).
    """
    _check_confidence(confidence)
    present = _present(values)
    count = len(present)
    if count == 0:
        return Estimate(0, None, None)
    mean = math.fsum(present) / count
    if count == 1:
        return Estimate(1, mean, None)
    from scipy import special  # every experiment shows a table: scipy.stats would cost its command a second

    variance = math.fsum((value - mean) ** 2 for value in present) / (count - 1)
    quantile = float(special.stdtrit(count - 1, 0.5 + confidence / 2))
    return Estimate(count, mean, quantile * math.sqrt(variance / count))


def bootstrap_interval(
    values: Sample,
    statistic: Literal["mean", "median"] = "mean",
    confidence: float = CONFIDENCE,
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Interval | None:
    """Bias-corrected and accelerated bootstrap interval (Efron 1987) of the mean or median; same seed, same interval.

    None where resampling says nothing: all values equal, or so few that a resample of nothing but the smallest value
    (probability n^-n) is likelier than the tail left out, so that the interval would be the range (3 values at 95 %).
    """
    from scipy import stats

    _check_confidence(confidence)
    present = _present(values)
    count = len(present)
    if count < 2 or float(count) ** -count > (1 - confidence) / 2 or min(present) == max(present):
        return None
    reduce: Callable[..., Any] = np.mean if statistic == "mean" else np.median
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        # A median that no left-out value moves makes scipy warn and answer NaN, which becomes None below.
        warnings.simplefilter("ignore")
        interval = stats.bootstrap(
            (np.array(present),),
            reduce,
            n_resamples=resamples,
            confidence_level=confidence,
            method="BCa",
            rng=np.random.default_rng(seed),
        ).confidence_interval
    low, high = float(interval.low), float(interval.high)
    return Interval(low, high) if math.isfinite(low) and math.isfinite(high) else None


def mann_whitney(first: Sample, second: Sample) -> RankTest | None:
    """Two-sided Mann-Whitney U test; None when either sample is empty.

    Exact for small samples, with ties by going through every way of dealing the values to the two samples; otherwise
    the normal approximation, corrected for ties and continuity.
    """
    from scipy import stats

    a, b = _array(first), _array(second)
    if not a.size or not b.size:
        return None
    u = _wins(a, b)
    pooled = np.concatenate((a, b))
    if pooled.min() == pooled.max():
        return RankTest(u, 1.0, exact=True)
    if np.unique(pooled).size == pooled.size:
        exact = a.size * b.size <= PAIRS_EXACT_MAX
    elif math.comb(pooled.size, b.size) <= ASSIGNMENTS_MAX:
        return RankTest(u, _exact_p_with_ties(pooled, b.size, u), exact=True)
    else:
        exact = False
    found = stats.mannwhitneyu(b, a, alternative="two-sided", method="exact" if exact else "asymptotic")
    return RankTest(u, min(float(found.pvalue), 1.0), exact)


def smallest_p(first_count: int, second_count: int) -> float:
    """The smallest two-sided p that samples of these sizes can give: 2 / C(n + m, n), at most 1 (0.1 for 3 and 3)."""
    if min(first_count, second_count) < 1:
        return 1.0
    return min(2 / math.comb(first_count + second_count, first_count), 1.0)


def cliffs_delta(first: Sample, second: Sample) -> float | None:
    """Cliff's delta = rank-biserial correlation: share of pairs in which the second sample's value is larger, less the
    share in which it is smaller. -1 to 1, 0 without a tendency; None when either sample is empty."""
    a, b = _array(first), _array(second)
    if not a.size or not b.size:
        return None
    return 2 * _wins(a, b) / (a.size * b.size) - 1


def shift(first: Sample, second: Sample, confidence: float = CONFIDENCE) -> Shift | None:
    """Hodges-Lehmann estimate (median of all pairwise differences, second less first) with the interval that inverts
    the Mann-Whitney test: exact up to PAIRS_EXACT_MAX pairs, with ties at least as confident. None when one is empty.
    """
    _check_confidence(confidence)
    a, b = _array(first), _array(second)
    if not a.size or not b.size:
        return None
    differences = np.sort((b[:, None] - a[None, :]).ravel())
    below, coverage = _left_out(a.size, b.size, confidence)
    low, high = float(differences[below]), float(differences[-1 - below])
    return Shift(float(np.median(differences)), low, high, coverage)


def _left_out(first_count: int, second_count: int, confidence: float) -> tuple[int, float]:
    """(pairwise differences left out at either end, confidence of what remains)."""
    from scipy import stats

    pairs = first_count * second_count
    tail = (1 - confidence) / 2
    if pairs > PAIRS_EXACT_MAX:
        deviation = math.sqrt(pairs * (first_count + second_count + 1) / 12)
        return max(math.floor(pairs / 2 + float(stats.norm.ppf(tail)) * deviation - 0.5), 0), confidence
    cumulative = np.cumsum(_u_counts(first_count, second_count)) / math.comb(first_count + second_count, first_count)
    # With k left out the interval misses the shift on one side when U <= k.
    below = max(int(np.searchsorted(cumulative.astype(float), tail, side="right")) - 1, 0)
    return below, max(1 - 2 * float(cumulative[below]), 0.0)


def _u_counts(first_count: int, second_count: int) -> npt.NDArray[np.object_]:
    """How many of the C(n + m, n) orders give each U in 0 .. n m: coefficients of the Gaussian binomial."""
    size = first_count * second_count + 1
    counts = [1] + [0] * (size - 1)
    for i in range(1, first_count + 1):
        for u in range(size - 1, second_count + i - 1, -1):
            counts[u] -= counts[u - second_count - i]
        for u in range(i, size):
            counts[u] += counts[u - i]
    return np.array(counts, dtype=object)


def _wins(a: Floats, b: Floats) -> float:
    """Pairs in which b's value is larger, a tie for half."""
    ordered = np.sort(a)
    below, upto = np.searchsorted(ordered, b, side="left"), np.searchsorted(ordered, b, side="right")
    return float(below.sum() + upto.sum()) / 2


def _exact_p_with_ties(pooled: Floats, second_count: int, u: float) -> float:
    """Share of all ways of dealing the values that lie as far from the expected U as the one seen, or farther."""
    from scipy import stats

    ranks = stats.rankdata(pooled)
    chosen = np.array(list(combinations(range(pooled.size), second_count)))
    every_u = ranks[chosen].sum(axis=1) - second_count * (second_count + 1) / 2
    middle = second_count * (pooled.size - second_count) / 2
    return float(np.mean(np.abs(every_u - middle) >= abs(u - middle) - 1e-9))


def _array(values: Sample) -> Floats:
    return np.array(_present(values), dtype=np.float64)


def _present(values: Sample) -> list[float]:
    present = [float(value) for value in values if value is not None]
    if not all(math.isfinite(value) for value in present):
        raise ValueError("a value is not finite")
    return present


def _check_confidence(confidence: float) -> None:
    if not 0.0 < confidence < 1.0:
        raise ValueError(f"confidence {confidence} is not between 0 and 1")
