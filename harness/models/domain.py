"""Where a closed form is defined: conditions on its parameters, and results masked where one does not hold.

Every model function takes scalars or arrays of any broadcastable shape and returns a masked array of their common
shape (0-d for scalars; `float()` reads it). A cell that violates a condition is masked. When no cell is left, there is
nothing to calculate: UsageError names the violated condition and the value.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from harness.errors import UsageError

Values: TypeAlias = npt.ArrayLike
"""Scalar or array of a parameter, in the unit its name carries."""
FloatArray: TypeAlias = npt.NDArray[np.float64]
BoolArray: TypeAlias = npt.NDArray[np.bool_]
Grid: TypeAlias = "np.ma.MaskedArray[tuple[Any, ...], np.dtype[np.float64]]"


@dataclass(frozen=True)
class Condition:
    """`holds` per cell of `value`; `text` says what must hold, in the field's terms."""

    holds: BoolArray
    value: FloatArray
    text: str

    def violation(self) -> str:
        """The sentence of an error: the condition and the first value that breaks it."""
        broken = np.broadcast_to(self.value, self.holds.shape)[~self.holds]
        return f"{self.text}; it is {broken.flat[0]:.6g}"


def array(values: Values) -> FloatArray:
    """`values` as 64-bit floats. UsageError when they are not numbers."""
    try:
        return np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise UsageError(f"a model's parameter is not a number or an array of numbers: {values!r:.60}") from error


def positive(value: FloatArray, name: str) -> Condition:
    """`value` is finite and above 0."""
    return Condition(np.isfinite(value) & (value > 0), value, f"{name} must be a finite number above 0")


def not_negative(value: FloatArray, name: str) -> Condition:
    """`value` is finite and 0 or more."""
    return Condition(np.isfinite(value) & (value >= 0), value, f"{name} must be a finite number, 0 or more")


def whole(value: FloatArray, name: str, minimum: int = 1) -> Condition:
    """`value` is a whole number, `minimum` or more."""
    holds = np.isfinite(value) & (value >= minimum) & (value == np.floor(value))
    return Condition(holds, value, f"{name} must be a whole number, {minimum} or more")


def below(value: FloatArray, limit: Values, text: str) -> Condition:
    """`value` < `limit`; `text` is the condition in words."""
    return Condition(np.less(value, limit), value, text)


def check(conditions: Sequence[Condition]) -> BoolArray:
    """Cells in which every condition holds. UsageError when there is none: the first violated condition."""
    valid: BoolArray = np.asarray(True)
    for condition in conditions:
        valid = valid & condition.holds
    if valid.size and not valid.any():
        raise UsageError(next(c for c in conditions if not c.holds.all()).violation())
    return valid


def masked(values: FloatArray, valid: BoolArray) -> Grid:
    """`values` where `valid` and finite, masked elsewhere, in their common shape."""
    values, valid = np.broadcast_arrays(values, valid)
    valid = valid & np.isfinite(values)
    if valid.all():
        return np.ma.MaskedArray(values, mask=False)
    return np.ma.MaskedArray(np.where(valid, values, np.nan), mask=~valid)
