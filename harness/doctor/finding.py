"""One statement about the machine: what was observed, how good that is, and what it means for a run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "degraded", "missing"]


@dataclass(frozen=True)
class Finding:
    """`missing`: the default profile cannot run. `degraded`: it runs, with the consequence stated."""

    subject: str
    level: Level
    observed: str
    consequence: str


Check = Callable[[], Finding]
