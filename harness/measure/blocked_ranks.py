"""Whether groups differ where every value belongs to a block as well, and blocks differ for reasons of their own.

The rank test of stratified tables ("row mean scores differ", Landis, Heyman and Koch 1978) on modified ridits: values
are ranked within their block only, so that nothing has to be assumed of what the blocks have in common. With one block
it is the Kruskal-Wallis test, with one value per group in every block Friedman's, with two groups van Elteren's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

_TINY = 1e-9


@dataclass(frozen=True)
class BlockedTest:
    """`statistic` follows chi-squared with `degrees` of freedom where groups do not differ; `p` by that. `values`: how
    many stood in a block with a value of another group, the only ones that say anything."""

    statistic: float
    degrees: int
    p: float
    values: int


def blocked_rank_test(values: Sequence[float], groups: Sequence[int], blocks: Sequence[int]) -> BlockedTest | None:
    """Test of values[i] in group groups[i] and block blocks[i], both counted from 0.

    None where no block has values of two groups, or all values of every block are equal. ValueError for lengths that
    differ or a value that is not finite.
    """
    from scipy import stats

    y, group, block = np.asarray(values, float), np.asarray(groups, int), np.asarray(blocks, int)
    if not y.shape == group.shape == block.shape:
        raise ValueError("values, groups and blocks differ in length")
    if not np.isfinite(y).all():
        raise ValueError("a value is not finite")
    count = int(group.max(initial=-1)) + 1
    score, covariance = np.zeros(count), np.zeros((count, count))
    informative = 0
    for number in np.unique(block):
        inside = block == number
        of_group = np.bincount(group[inside], minlength=count).astype(float)
        if np.count_nonzero(of_group) < 2:
            continue
        added, spread = _block(y[inside], group[inside], of_group)
        score += added
        covariance += spread
        informative += int(inside.sum())
    degrees = int(np.linalg.matrix_rank(covariance, tol=_TINY)) if informative else 0
    if degrees == 0:
        return None
    statistic = float(score @ np.linalg.pinv(covariance, rcond=_TINY, hermitian=True) @ score)
    return BlockedTest(statistic, degrees, float(stats.chi2.sf(statistic, degrees)), informative)


def _block(
    y: npt.NDArray[np.float64], group: npt.NDArray[np.int_], of_group: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Of one block: by how much the sum of each group's scores exceeds the expected one, and the covariance of that
    over all ways of dealing the block's values to its groups."""
    from scipy import stats

    size = y.size
    ridits = stats.rankdata(y) / (size + 1)
    variance = float(np.mean((ridits - ridits.mean()) ** 2))
    excess = np.bincount(group, ridits, of_group.size) - of_group * ridits.mean()
    dealt = (np.diag(of_group * size) - np.outer(of_group, of_group)) * variance / (size - 1)
    return excess, dealt
