"""What every table of a profile file has in common."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Table(BaseModel):
    """A table of the profile file: unknown keys are refused, nothing is coerced, nothing changes once it is made."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
