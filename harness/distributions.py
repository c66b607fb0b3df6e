"""Distributions of the IPDV as tables of quantiles, as netem draws from them (tc-netem(8), iproute2's netem/*.c).

A table has 4096 entries of int16; entry k is the quantile at about k / 4096 of the distribution, times 8192, with mean
0 and standard deviation 1. What lies beyond +-4 is cut off, as int16 ends there, which leaves "pareto" and
"paretonormal" a standard deviation of 0.82 and 0.83 and a mean of -0.03: the tables are iproute2's, value for value
(+-1).
"""

from __future__ import annotations

import functools
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

TABLE_ENTRIES = 4096
TABLE_SCALE = 8192
_PARETO_ALPHA = 3.0


@functools.cache
def quantile_table(distribution: str) -> npt.NDArray[np.int16]:
    """int16[4096], ascending and read-only, of "uniform", "normal", "pareto" or "paretonormal"; KeyError for another.

    "uniform" is flat from -1 to 1: its unit is the half-width, not the standard deviation.
    """
    values: npt.NDArray[np.int16] = np.clip(np.rint(_TABLES[distribution]() * TABLE_SCALE), -32768, 32767).astype(
        np.int16
    )
    values.setflags(write=False)
    return values


def _uniform() -> npt.NDArray[np.float64]:
    return (2 * np.arange(TABLE_ENTRIES) + 1) / TABLE_ENTRIES - 1


def _normal() -> npt.NDArray[np.float64]:
    # iproute2 takes every fourth of 16,384 bins, at their upper edge.
    inverse = NormalDist().inv_cdf
    return np.array([inverse((4 * k + 0.5) / (4 * TABLE_ENTRIES)) for k in range(TABLE_ENTRIES)])


def _pareto() -> npt.NDArray[np.float64]:
    """Of shape 3, whose mean is 3/2 and whose variance is 3/4; scaled by 4/3 as iproute2 does, not by its root."""
    survival = 1 - np.arange(TABLE_ENTRIES) / TABLE_ENTRIES
    return np.minimum((survival ** (-1 / _PARETO_ALPHA) - 1.5) * 4 / 3, 32767 / TABLE_SCALE)


def _paretonormal() -> npt.NDArray[np.float64]:
    """A quarter normal and three quarters Pareto, quantile by quantile."""
    return (_normal() + 3 * _pareto()) / 4


_TABLES = {"uniform": _uniform, "normal": _normal, "pareto": _pareto, "paretonormal": _paretonormal}
