"""What the bench reports: every figure with its median, extremes, count, unit, and the machine beside it.

Names are stable: `harness compare` finds the same figure in two files by its name, which says quantity and frame size.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from statistics import median
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

SCHEMA: Literal["slim-harness-bench"] = "slim-harness-bench"
SCHEMA_VERSION = 1

Unit = Literal["1/s", "bytes/s", "ns", "ratio", "bytes", "s"]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Figure(_Model):
    """One quantity: all values in the order they were measured, and their median and extremes in `unit`."""

    unit: Unit
    median: float
    minimum: float
    maximum: float
    count: int = Field(ge=1)
    values: list[float]
    better: Literal["higher", "lower"]
    note: str = ""

    @model_validator(mode="after")
    def _consistent(self) -> Figure:
        if self.count != len(self.values) or not self.minimum <= self.median <= self.maximum:
            raise ValueError("count, minimum, median and maximum are not those of the values")
        return self

    @property
    def spread(self) -> float:
        """(maximum - minimum) / median; 0 where the median is 0."""
        return (self.maximum - self.minimum) / self.median if self.median else 0.0


class Machine(_Model):
    """Where and under what it was measured; null: this machine does not say."""

    cpu_model: str | None
    cpus: int = Field(ge=1)
    cpus_usable: int = Field(ge=1)
    memory_bytes: int | None
    kernel: str
    architecture: str
    python: str
    numba: str | None
    scheduler: str
    steal_fraction: float = Field(ge=0, le=1)
    idle_fraction: float = Field(ge=0, le=1)
    load_average: tuple[float, float, float]


class Bound(_Model):
    """A promise of the project about one figure's median."""

    figure: str
    relation: Literal["at least", "at most"]
    limit: float
    met: bool


class BenchReport(_Model):
    """One call of `harness bench`."""

    schema_name: Literal["slim-harness-bench"] = Field(default=SCHEMA, alias="schema")
    schema_version: int = SCHEMA_VERSION
    harness_version: str
    git: object
    started_utc: str
    duration_s: float
    quick: bool
    machine: Machine
    figures: dict[str, Figure]
    bounds: list[Bound]
    notes: list[str]


def figure(values: Iterable[float], unit: Unit, better: Literal["higher", "lower"], note: str = "") -> Figure:
    """Aggregate repeated measurements. ValueError for none, or for one that is not finite."""
    found = [float(value) for value in values]
    if not found:
        raise ValueError("a figure needs at least one value")
    if not all(math.isfinite(value) for value in found):
        raise ValueError(f"not finite: {found}")
    return Figure(
        unit=unit,
        median=float(median(found)),
        minimum=min(found),
        maximum=max(found),
        count=len(found),
        values=found,
        better=better,
        note=note,
    )


def paired_ratios(numerators: Sequence[float], denominators: Sequence[float]) -> list[float]:
    """Ratio of each pair measured side by side: what the machine did to both cancels. ValueError for unequal lengths
    or a denominator that is not above 0."""
    if any(value <= 0 for value in denominators):
        raise ValueError("a denominator is not above 0")
    return [a / b for a, b in zip(numerators, denominators, strict=True)]
