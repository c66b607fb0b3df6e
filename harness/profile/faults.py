"""[[fault]]: what goes wrong in every run of a profile, on purpose."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from pydantic import Field

from harness.faults.schedule import PHASE_NAMES, TARGETS, Fault, problems
from harness.migration.phases import ControllerPhase
from harness.profile.quantities import Size, Time
from harness.profile.table import Table


class FaultTable(Table):
    """One [[fault]] of a profile; it happens once in a run, in the first attempt that reaches its phase."""

    phase: Literal[PHASE_NAMES] | None = Field(  # type: ignore[valid-type]
        default=None,
        description="Phase of the controller it waits for; without a delay it comes before anything else of the phase.",
    )
    delay_ns: Time = Field(default=0, alias="delay", description="From the phase to the fault.")
    at_ns: Time | None = Field(default=None, alias="at", description="s + at, instead of a phase.")
    target: Literal[TARGETS] = Field(description="What it happens to.")  # type: ignore[valid-type]
    action: Literal["kill", "stop", "cut", "corrupt", "truncate", "fill"] = Field(
        description="Processes: kill (SIGKILL), stop (for a while). management: cut. Streams: corrupt one bit, "
        "truncate, stop. disk (of the run's folder): fill.",
    )
    for_ns: Time = Field(default=0, alias="for", description="How long stop, cut and fill last.")
    node: Literal["source", "destination"] = Field(
        default="destination", description="Whose management network is cut."
    )
    offset_bytes: Size = Field(
        default=0, alias="offset", description="The byte of the stream it happens at, counted from when it begins."
    )
    bit: int = Field(default=0, ge=0, le=7, description="The bit of that byte that 'corrupt' turns over.")

    def fault(self) -> Fault:
        """The same as the schedule knows it."""
        values = {name: getattr(self, name) for name in type(self).model_fields}
        return Fault(**{**values, "phase": None if self.phase is None else ControllerPhase(self.phase)})

    @classmethod
    def of(cls, fault: Fault) -> FaultTable:
        """A fault of a schedule as the profile would have it."""
        values = {name: getattr(fault, name) for name in cls.model_fields}
        return cls.model_construct(**{**values, "phase": None if fault.phase is None else fault.phase.value})


def fault_problems(tables: Iterable[FaultTable]) -> Iterable[tuple[str, str]]:
    """(path, message) of every contradiction."""
    for index, table in enumerate(tables):
        for key, message in problems(table.fault()):
            yield f"fault[{index}].{key}", message
