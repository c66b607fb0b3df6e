"""What a run leaves behind for its summary, beside its files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from harness.dataplane.trace import RECORD_BYTES
from harness.experiment.collect import Reading
from harness.experiment.impairments import ImpairmentRecord
from harness.experiment.sample_points import Written
from harness.experiment.sampling import Series
from harness.experiment.verification import Reference
from harness.faults.history import Happened
from harness.measure.host import HostSample
from harness.migration.outcome import MigrationOutcome
from harness.plan import PlannedRun
from harness.record.summary import CommandSummary, Encryption
from harness.testbed import topology as names
from harness.testbed.site import SiteClock


@dataclass
class RunRecord:
    """What a run left behind beside its files; the summary is made from it."""

    run: PlannedRun
    started_wall_ns: int
    wall_minus_monotonic_ns: int = 0
    """One for all points of the run, however the clock is set meanwhile."""
    written: Written = field(default_factory=Written)
    """What became points while the run went on."""
    window_start_ns: int = 0
    before: Reading | None = None
    after: Reading | None = None
    host: list[HostSample] = field(default_factory=list)
    other_hosts: dict[str, list[HostSample]] = field(default_factory=dict)
    """The same of every other host that carried nodes, by its name."""
    clocks: dict[str, tuple[tuple[str, ...], SiteClock]] = field(default_factory=dict)
    """Of those hosts: their nodes, and how their clock was found to differ from this one's."""
    series: Series = field(default_factory=Series)
    outcome: MigrationOutcome | None = None
    encryption: Encryption = "none"
    refused_connections: int = 0
    pages: dict[str, np.ndarray] = field(default_factory=dict)
    traces: dict[str, Path] = field(default_factory=dict)
    """By instance, of its present process."""
    state: Path | None = None
    doubts: list[str] = field(default_factory=list)
    state_records: int | None = None
    table_seed: int = field(default=0, repr=False)
    impairments: ImpairmentRecord = field(default_factory=ImpairmentRecord)
    command: CommandSummary | None = None
    """What the client came to, where the workload is a command; there are no packets of a load then."""
    faults: tuple[Happened, ...] = ()
    killed: dict[str, str] = field(default_factory=dict)
    """Titles of processes that a fault had ended at the end of the run, and which fault."""
    is_quiet: bool = True
    """Whether nothing was under way any more at the last reading."""
    reference: Reference | None = None
    """Started when the traffic had ended, where the profile verifies; `close` releases it."""

    @property
    def ended(self) -> set[str]:
        """Titles of processes that ended during the run, those rebooted included."""
        return {entry.fault.target for entry in self.faults if entry.fault.action == "kill" and entry.has_begun}

    @property
    def restless(self) -> set[str]:
        """Of whose counters no two can agree: those of `ended`, and all instances where frames went on and on."""
        return self.ended if self.is_quiet else {*self.ended, *names.INSTANCES}

    @property
    def elsewhere(self) -> tuple[str, ...]:
        """Nodes on other hosts."""
        return tuple(node for nodes, _ in self.clocks.values() for node in nodes)

    @property
    def is_blind(self) -> bool:
        """Whether nobody is left who could say what became of the packets: an end of the VNF kept no records."""
        return bool({names.LOADGEN, names.ECHOSERVER} & set(self.killed))

    @property
    def owner(self) -> str:
        """The instance that had the traffic at the end."""
        return names.DESTINATION if self.outcome is not None and self.outcome.moved else names.SOURCE

    def close(self) -> None:
        """End what still runs for this record. Doing it twice is no error."""
        if self.reference is not None:
            self.reference.close()


def cut_trace(path: Path, counters: Mapping[str, Any]) -> list[str]:
    """A doubt where the trace of an instance ends before what it had processed by these counters: its process was
    killed, or the disk was full."""
    processed = int(counters["expired"]) + sum(int(port["processed"]) for port in counters["ports"])
    written = path.stat().st_size // RECORD_BYTES if path.exists() else 0
    if not path.exists() or written >= processed:
        return []
    return [f"{path.name} holds {written} of {processed} packets"]
