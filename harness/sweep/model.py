"""The tables of a sweep file. Defaults, types and meanings of its keys; the TOML key of a field is its alias.

A sweep is a matrix of profiles (cells). Every cell is run in every mode, `repetitions` times each.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from harness.profile.table import Table

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", re.ASCII)


def _file_name(value: str) -> str:
    if value and not _NAME.fullmatch(value):
        raise ValueError(
            f"{value!r:.80} must be 1 to 64 letters, digits, '_', '-' or '.', starting with a letter or digit"
        )
    return value


def _share(value: float | str) -> float | str:
    if isinstance(value, float) and not 0 < value <= 1:
        raise ValueError(f'{value:g} must be above 0 and at most 1, or "auto"')
    return value


Scale = Annotated[float | Literal["auto"], AfterValidator(_share)]
"""Factor of `harness.sweep.scale.scaled`, or to find one for this machine."""


class StopRule(Table):
    """[sweep.stop]: no further repetitions of a cell and mode once its confidence interval is narrow enough."""

    metric: str = Field(description="Dotted path of a figure in a run's summary.json, such as window.loss_s.")
    half_width: float = Field(gt=0, description="Half width of the 95 % Student t interval, in the metric's unit.")
    minimum_repetitions: int = Field(default=3, ge=2, le=1000, description="Repetitions made in any case.")


class SweepTable(Table):
    """[sweep]"""

    name: Annotated[str, AfterValidator(_file_name)] = Field(
        default="", description="Name in results; the file's name where it is left out."
    )
    description: str = Field(default="", max_length=1000, description="What the sweep is for.")
    profile: str = Field(default="", description="A profile, relative to the sweep file.")
    profiles: list[str] = Field(default_factory=list, description="Several profiles: an axis of the matrix.")
    modes: list[str] = Field(min_length=1, description="Modes every cell is run in.")
    repetitions: int = Field(default=1, ge=1, le=1000, description="Runs per cell and mode.")
    control_repetitions: int | None = Field(
        default=None,
        ge=0,
        le=1000,
        description='Runs of the mode "none" per cell; 1 where it is left out and "none" is not among the modes.',
    )
    seed: int = Field(default=1, ge=0, lt=2**32, description="Seed of the order of the runs.")
    scale: Scale | None = Field(default=None, description="Scale every rate by this factor; see the command's --scale.")
    retries: int = Field(
        default=1, ge=0, le=10, description="How often an INVALID run is repeated; FAILED is a result and is not."
    )
    keep: Literal["figures", "all"] = Field(
        default="figures",
        description="figures: traces, states and packet records of VALID runs are removed after they were verified.",
    )
    stop: StopRule | None = Field(default=None, description="When to stop repeating.")


class SweepDocument(Table):
    """A sweep file. In `set`, `matrix`, `only` and `exclude` keys of a profile are dotted, quoted or not."""

    sweep: SweepTable
    settings: dict[str, Any] = Field(
        default_factory=dict, alias="set", description="Keys of the profile for all cells, over the profile's own."
    )
    matrix: dict[str, Any] = Field(
        default_factory=dict, description="Keys of the profile with a list of values: the cells are their product."
    )
    only: list[dict[str, Any]] = Field(
        default_factory=list, description="If there is any: cells are kept that agree with all keys of one of these."
    )
    exclude: list[dict[str, Any]] = Field(
        default_factory=list, description="Cells are left out that agree with all keys of one of these."
    )
