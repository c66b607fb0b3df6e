"""What a migration was asked to do, and what came of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from pydantic import BaseModel, ConfigDict, JsonValue

from harness.migration.messages import DestinationCounts, SourceCounts


@dataclass(frozen=True, slots=True)
class MigrationDeadlines:
    """Longest wait of each phase, ns; the same as a profile's [migration.deadlines]."""

    connect_ns: int = 5_000_000_000
    snapshot_ns: int = 30_000_000_000
    resync_ns: int = 30_000_000_000
    switchover_ns: int = 2_000_000_000
    drain_ns: int = 10_000_000_000
    finish_ns: int = 30_000_000_000

    @property
    def session_ns(self) -> int:
        """Bound of an instance's whole session: it gives up by itself even if nobody tells it to."""
        return sum(
            (self.connect_ns, self.snapshot_ns, self.resync_ns, self.switchover_ns, self.drain_ns, self.finish_ns)
        )


Between = Callable[[str, int, int], tuple[str, int, int]]
"""Puts something between the instances: given address, statelet port and snapshot port of the destination, those the
source is to connect to."""


@dataclass(frozen=True, slots=True)
class MigrationSettings:
    """One attempt. `epoch` grows with every attempt of a run; `snapshot_rate_bps` 0: the snapshot is not paced."""

    epoch: int
    mode: str
    destination_address: str
    drain_token: bytes = field(repr=False)
    filler_bytes: int = 0
    filler_seed: int = 0
    snapshot_rate_bps: int = 0
    drain_interval_ns: int = 5_000_000
    deadlines: MigrationDeadlines = MigrationDeadlines()
    between: Between | None = None


class _Recorded(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class RecordedPhase(_Recorded):
    """A phase change of the controller or an instance."""

    node: str
    previous: str
    phase: str
    monotonic_ns: int
    wall_ns: int
    detail: str


class Switchover(_Recorded):
    """From handing the steering batch over to its last acknowledgement, CLOCK_MONOTONIC ns."""

    started_ns: int
    ended_ns: int


class MigrationOutcome(_Recorded):
    """`aborted`: the source goes on as before; `failed`: it could not be taken back or completed, `lost` says what is
    known to be missing. Times are CLOCK_MONOTONIC ns, 0 where it did not come to that."""

    outcome: Literal["completed", "aborted", "failed"]
    reason: str = ""
    epoch: int
    mode: str
    started_ns: int
    ended_ns: int
    phases: list[RecordedPhase]
    durations_ns: dict[str, int]
    switchover: Switchover | None = None
    drain_packets: int = 0
    drain_first_ns: int = 0
    source: SourceCounts | None = None
    destination: DestinationCounts | None = None
    source_counters: dict[str, JsonValue] = {}
    destination_counters: dict[str, JsonValue] = {}
    lost: list[str] = []
    earlier: list[MigrationOutcome] = []
    """The attempts before this one, where a run made several; each ended before its switchover."""

    @property
    def moved(self) -> bool:
        """Whether the traffic was given to the destination and not taken back."""
        return self.outcome == "completed" or (self.switchover is not None and self.outcome != "aborted")

    @property
    def migration_duration_ns(self) -> int:
        """The paper's: at the destination, from accepting the snapshot connection to the last statelet."""
        return self.destination.duration_ns if self.destination is not None else 0

    @property
    def state_bytes(self) -> int:
        """Bytes of both state streams as received by the destination."""
        counts = self.destination
        return counts.snapshot_bytes + counts.statelet_bytes if counts is not None else 0
