"""The migration of one run: control connections, settings from the profile, and its part of the summary."""

from __future__ import annotations

from collections.abc import Mapping

from harness.errors import HarnessError
from harness.measure.invariants import StateletCounters
from harness.migration.messages import (
    Accepted,
    ActivateRequest,
    Dumped,
    DumpStateRequest,
    Status,
    StatusRequest,
)
from harness.migration.outcome import Between, MigrationDeadlines, MigrationOutcome, MigrationSettings
from harness.migration.protocol import ControllerChannel
from harness.migration.tls import CONTROLLER, DESTINATION, SOURCE, Tls, TlsParty
from harness.migration.transport import Deadline
from harness.plan import PlannedRun
from harness.profile.derived import load_duration_ns, snapshot_rate_bps
from harness.profile.model import Profile
from harness.record.summary import AttemptSummary, Encryption, MigrationSummary, PortDepths
from harness.testbed import topology as names
from harness.testbed.placement import Placement
from harness.testbed.testbed import Testbed

CONTROL_DEADLINE_NS = 5_000_000_000
DUMP_DEADLINE_NS = 30_000_000_000
AROUND_A_RUN_S = 900.0
"""Longest time a run can take for everything but its load and its migration: compiling, verifying, ending."""
STATUS_DEADLINE_NS = 1_000_000_000
CONTROL = "none"


class Controls:
    """The authenticated control connections of a run, by instance."""

    def __init__(self, testbed: Testbed, ports: Mapping[str, int], key: bytes, tls: Tls | None = None) -> None:
        self._testbed, self._ports, self._key, self._tls = testbed, dict(ports), key, tls
        self.channels: dict[str, ControllerChannel] = {}

    @classmethod
    def open(cls, testbed: Testbed, ports: Mapping[str, int], key: bytes, tls: Tls | None = None) -> Controls:
        """Connect from the namespace where the controller's management address is."""
        controls = cls(testbed, ports, key, tls)
        for instance in ports:
            controls.channels[instance] = controls._connect(instance)
        return controls

    def _connect(self, instance: str) -> ControllerChannel:
        address, port = names.MANAGEMENT_ADDRESSES[instance], self._ports[instance]
        deadline = Deadline.after(CONTROL_DEADLINE_NS)
        own = self._testbed.topology.netns(self._testbed.topology.controller)
        return self._testbed.connection.run(
            own, lambda: ControllerChannel.open(address, port, self._key, deadline, instance, self._tls)
        )

    def moved(self, instance: str, port: int) -> None:
        """The instance was started anew and listens on another port."""
        self._ports[instance] = port
        self.channels[instance].close()

    def phase(self, instance: str) -> str:
        """The phase an instance is in, asked of it; over a new connection where the old one is of no use any more.

        HarnessError where it cannot be asked.
        """
        try:
            return self._status(instance)
        except HarnessError:
            self.channels[instance].close()
            self.channels[instance] = self._connect(instance)
            return self._status(instance)

    def _status(self, instance: str) -> str:
        deadline = Deadline.after(STATUS_DEADLINE_NS)
        return self.channels[instance].request(StatusRequest(), Status, deadline).phase

    def activate(self, instance: str) -> None:
        """Let the first source serve."""
        self.channels[instance].request(ActivateRequest(), Accepted, Deadline.after(CONTROL_DEADLINE_NS))

    def dump(self, instance: str, path: str) -> None:
        """Have an instance write its state to a file."""
        request = DumpStateRequest(path=path)
        self.channels[instance].request(request, Dumped, Deadline.after(DUMP_DEADLINE_NS))

    def refused_connections(self) -> int:
        """Connections of strangers to the control ports so far."""
        deadline = Deadline.after(CONTROL_DEADLINE_NS)
        statuses = [channel.request(StatusRequest(), Status, deadline) for channel in self.channels.values()]
        return sum(status.refused_connections for status in statuses)

    def break_off(self) -> None:
        """Let whoever waits for an instance return at once, from any thread: its host is lost."""
        for channel in list(self.channels.values()):
            channel.channel.wake()

    def close(self) -> None:
        """Close all of them."""
        for channel in self.channels.values():
            channel.close()


def encrypts(profile: Profile, placement: Placement) -> bool:
    """Whether the control connections and state streams of a run are TLS: with "auto" when they leave a host. They
    all cross the fabric."""
    wish = profile.migration.encryption
    ends = (names.FABRIC, names.CONTROLLER, *names.INSTANCES)
    return len({placement.host_of(name) for name in ends}) > 1 if wish == "auto" else wish == "tls"


def make_run_parties(profile: Profile) -> dict[str, TlsParty]:
    """Key pairs of the three ends of a run's connections, good for as long as a run of this profile can take."""
    from harness.migration.certificates import make_parties

    longest_ns = load_duration_ns(profile) + profile.load.command.deadline_ns
    longest_ns += profile.attempts * profile.attempts * migration_deadlines(profile).session_ns
    return make_parties((CONTROLLER, SOURCE, DESTINATION), longest_ns / 1e9 + AROUND_A_RUN_S)


def migration_settings(
    profile: Profile, run: PlannedRun, drain_token: bytes, epoch: int = 1, between: Between | None = None
) -> MigrationSettings:
    """What the controller is asked to do."""
    return MigrationSettings(
        epoch=epoch,
        mode=run.mode,
        destination_address=names.MANAGEMENT_ADDRESSES[names.DESTINATION],
        drain_token=drain_token,
        filler_bytes=profile.migration.filler_bytes,
        filler_seed=profile.migration.seed,
        snapshot_rate_bps=snapshot_rate_bps(profile) or 0,
        deadlines=migration_deadlines(profile),
        between=between,
    )


def migration_deadlines(profile: Profile) -> MigrationDeadlines:
    """[migration.deadlines] as the controller wants it."""
    deadlines = profile.migration.deadlines
    return MigrationDeadlines(
        connect_ns=deadlines.connect_ns,
        snapshot_ns=deadlines.snapshot_ns,
        resync_ns=deadlines.resynchronise_ns,
        switchover_ns=deadlines.switchover_ns,
        drain_ns=deadlines.drain_ns,
        finish_ns=deadlines.finish_ns,
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
    outcome: MigrationOutcome | None,
    depths: PortDepths,
    st_q_out_max_packets: int,
    downtime_ns: int | None,
    encryption: Encryption | None = None,
    refused_connections: int = 0,
) -> MigrationSummary:
    """The migration's part of summary.json; durations of phases by name. refused_connections: to the control ports."""
    if outcome is None:
        return MigrationSummary(outcome="none", encryption=encryption, refused_connections=refused_connections)
    there = outcome.destination
    return MigrationSummary(
        attempts=tuple(
            AttemptSummary(
                epoch=attempt.epoch,
                outcome=attempt.outcome,
                moved=attempt.moved,
                reason=attempt.reason,
                started_ns=attempt.started_ns,
                ended_ns=attempt.ended_ns,
            )
            for attempt in (*outcome.earlier, outcome)
        ),
        outcome=outcome.outcome,
        reason=outcome.reason,
        encryption=encryption,
        refused_connections=refused_connections + (there.refused_connections if there else 0),
        duration_ns=outcome.migration_duration_ns or None,
        trigger_ns=outcome.started_ns,
        phases=outcome.durations_ns,
        snapshot_bytes=there.snapshot_bytes if there else None,
        filler_bytes=there.filler_bytes if there else None,
        statelet_stream_bytes=there.statelet_bytes if there else None,
        wire_bytes=there.snapshot_wire_bytes + there.statelet_wire_bytes if there else None,
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
