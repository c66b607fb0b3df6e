"""What faults can be done to: the processes of a run, its fabric, its streams, its disk, as far as it has them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from harness.errors import HarnessError
from harness.faults.streams import Relays
from harness.provision.connections.spawned import RunningProcess
from harness.testbed.testbed import StartedProcess


class CuttableFabric(Protocol):
    """The part of harness.testbed.fabric.Fabric that a fault needs."""

    def cut_management(self, node: str) -> None: ...

    def restore_management(self, node: str) -> None: ...


class NoSuchTarget(HarnessError):
    """The testbed of this run does not have what the fault is meant for."""


@dataclass
class Stage:
    """`processes` and `fabric` are the run's own and change with it; `relays` and `disk` are there where the schedule
    asks for them."""

    processes: Mapping[str, StartedProcess]
    fabric: CuttableFabric
    relays: Relays | None = None
    disk: Path | None = None
    killed: dict[str, str] = field(default_factory=dict)
    """Titles of the processes a fault has killed, and the fault."""

    def process(self, title: str) -> RunningProcess:
        """NoSuchTarget where this run has none of that title, or it has ended."""
        started = self.processes.get(title)
        if started is None:
            raise NoSuchTarget(f"this run has no process {title}")
        if started.process.returncode is not None:
            raise NoSuchTarget(f"{title} had ended before")
        return started.process
