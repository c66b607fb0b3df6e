"""The migration of one run: control connections, settings from the profile, and its part of the summary."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from harness.measure.invariants import StateletCounters
from harness.migration.messages import Accepted, ActivateRequest, Dumped, DumpStateRequest
from harness.migration.outcome import MigrationDeadlines, MigrationOutcome, MigrationSettings
from harness.migration.protocol import ControllerChannel
from harness.migration.transport import Deadline
from harness.plan import PlannedRun
from harness.profile.derived import snapshot_rate_bps
from harness.profile.model import Profile
from harness.record.summary import MigrationSummary, PortDepths
from harness.testbed import topology as names
from harness.testbed.testbed import Testbed

CONTROL_DEADLINE_NS = 5_000_000_000
DUMP_DEADLINE_NS = 30_000_000_000
CONTROL = "none"


@dataclass(frozen=True)
class Controls:
    """The authenticated control connections of a run, by instance."""

    channels: Mapping[str, ControllerChannel]

    @classmethod
    def open(cls, testbed: Testbed, ports: Mapping[str, int], key: bytes) -> Controls:
        """Connect from the fabric's namespace, where the controller's management address is."""
        fabric = testbed.topology.netns(names.FABRIC)

        def connect(instance: str) -> ControllerChannel:
            address = names.MANAGEMENT_ADDRESSES[instance]
            deadline = Deadline.after(CONTROL_DEADLINE_NS)
            return testbed.connection.run(
                fabric, lambda: ControllerChannel.open(address, ports[instance], key, deadline, instance)
            )

        return cls({instance: connect(instance) for instance in ports})

    def activate(self, instance: str) -> None:
        """Let the first source serve."""
        self.channels[instance].request(ActivateRequest(), Accepted, Deadline.after(CONTROL_DEADLINE_NS))

    def dump(self, instance: str, path: str) -> None:
        """Have an instance write its state to a file."""
        request = DumpStateRequest(path=path)
        self.channels[instance].request(request, Dumped, Deadline.after(DUMP_DEADLINE_NS))

    def close(self) -> None:
        """Close all of them."""
        for channel in self.channels.values():
            channel.close()


def migration_settings(profile: Profile, run: PlannedRun, drain_token: bytes, epoch: int = 1) -> MigrationSettings:
    """What the controller is asked to do."""
    deadlines = profile.migration.deadlines
    return MigrationSettings(
        epoch=epoch,
        mode=run.mode,
        destination_address=names.MANAGEMENT_ADDRESSES[names.DESTINATION],
        drain_token=drain_token,
        filler_bytes=profile.migration.filler_bytes,
        filler_seed=profile.migration.seed,
        snapshot_rate_bps=snapshot_rate_bps(profile) or 0,
        deadlines=MigrationDeadlines(
            connect_ns=deadlines.connect_ns,
            snapshot_ns=deadlines.snapshot_ns,
            resync_ns=deadlines.resynchronise_ns,
            switchover_ns=deadlines.switchover_ns,
            drain_ns=deadlines.drain_ns,
            finish_ns=deadlines.finish_ns,
        ),
    )


def statelet_counters(outcome: MigrationOutcome, announced: int) -> StateletCounters | None:
    """Counts of the statelet stream at every station; None where one of the sides did not report."""
    if outcome.source is None or outcome.destination is None:
        return None
    there = outcome.destination
    return StateletCounters(
        announced=announced,
        sent=outcome.source.statelets_sent,
        received=there.statelets_received,
        installed=there.statelets_installed,
        first_sequence=there.first_sequence if there.statelets_received else None,
        last_sequence=there.last_sequence if there.statelets_received else None,
    )


def migration_summary(
    outcome: MigrationOutcome | None, depths: PortDepths, st_q_out_max_packets: int, downtime_ns: int | None
) -> MigrationSummary:
    """The migration's part of summary.json; durations of phases by name."""
    if outcome is None:
        return MigrationSummary(outcome="none")
    there = outcome.destination
    return MigrationSummary(
        outcome=outcome.outcome,
        reason=outcome.reason,
        duration_ns=outcome.migration_duration_ns or None,
        trigger_ns=outcome.started_ns,
        phases=outcome.durations_ns,
        snapshot_bytes=there.snapshot_bytes if there else None,
        filler_bytes=there.filler_bytes if there else None,
        statelet_stream_bytes=there.statelet_bytes if there else None,
        statelets=there.statelets_received if there else None,
        pkt_q_max_packets=depths,
        st_q_out_max_packets=st_q_out_max_packets,
        st_q_in_max_packets=there.st_q_in_max_packets if there else None,
        st_q_in_max_bytes=there.st_q_in_max_bytes if there else None,
        switchover_duration_ns=(
            outcome.switchover.ended_ns - outcome.switchover.started_ns if outcome.switchover else None
        ),
        downtime_ns=downtime_ns,
    )
