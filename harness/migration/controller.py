"""The controller's side of a migration (paper, section IV-B): the order of steps, and what happens when one fails.

Until the switchover every failure is an abort: both sides are told, and the source must confirm that it goes on. After
it the destination completes or the migration has failed. Every wait has a deadline.
"""

from __future__ import annotations

import errno
import time
from collections.abc import Callable
from typing import Literal, Protocol

from pydantic import JsonValue

from harness.errors import DeadlineExceeded, HarnessError
from harness.migration.messages import (
    ABORTED_BY_CONTROLLER,
    Aborted,
    AbortRequest,
    Accepted,
    AnyNotification,
    Closed,
    CommitRequest,
    Completed,
    DestinationCounts,
    Drained,
    Live,
    MigrateOutRequest,
    PhaseChanged,
    Prepared,
    PrepareInRequest,
    Redirect,
    SourceCounts,
    Status,
    StatusRequest,
)
from harness.migration.outcome import MigrationOutcome, MigrationSettings, RecordedPhase, Switchover
from harness.migration.phases import (
    CONTROLLER_TRANSITIONS,
    ControllerPhase,
    InstancePhase,
    Journal,
    PhaseEvent,
    PhaseMachine,
)
from harness.migration.protocol import ControllerChannel, wait_for_notification
from harness.migration.transport import Deadline

STATUS_DEADLINE_NS = 1_000_000_000

_ORDER = (
    ControllerPhase.CONNECT,
    ControllerPhase.ANNOUNCE,
    ControllerPhase.SNAPSHOT,
    ControllerPhase.RESYNCHRONISE,
)
_REACHED_BY = {
    ("source", InstancePhase.SNAPSHOT.value): ControllerPhase.SNAPSHOT,
    ("destination", InstancePhase.RECEIVE_SNAPSHOT.value): ControllerPhase.ANNOUNCE,
    ("destination", InstancePhase.INSTALL.value): ControllerPhase.RESYNCHRONISE,
}
"""Which phase of the migration a phase of an instance shows."""


class SteerRecord(Protocol):
    """What steering returns, CLOCK_MONOTONIC ns."""

    @property
    def started_ns(self) -> int: ...

    @property
    def acknowledged_ns(self) -> int: ...


class SteeringFabric(Protocol):
    """The part of harness.testbed.fabric.Fabric that a migration needs."""

    def steer(self, to: str) -> SteerRecord: ...

    def inject_drain(self, port_index: int, sequence: int, token: bytes) -> int: ...


class PeerAbortError(HarnessError):
    """An instance gave the migration up by itself; the message is its reason."""


def migrate(
    source: ControllerChannel,
    destination: ControllerChannel,
    fabric: SteeringFabric,
    settings: MigrationSettings,
    journal: Journal,
) -> MigrationOutcome:
    """Migrate once. Never raises for what can go wrong in a migration: the outcome says it.

    `journal` is called with every phase change of the controller and, as it is reported, of the instances.
    """
    return _Migration(source, destination, fabric, settings, journal).run()


class _Migration:
    def __init__(
        self,
        source: ControllerChannel,
        destination: ControllerChannel,
        fabric: SteeringFabric,
        settings: MigrationSettings,
        journal: Journal,
    ) -> None:
        self._source, self._destination, self._fabric = source, destination, fabric
        self._settings, self._deadlines = settings, settings.deadlines
        self._journal = journal
        self._recorded: list[RecordedPhase] = []
        self._instance_phases: dict[str, str] = {}
        self._phases = PhaseMachine("controller", ControllerPhase.IDLE, CONTROLLER_TRANSITIONS, self._record)
        self._seen: dict[type[AnyNotification], AnyNotification] = {}
        self._source_counts: SourceCounts | None = None
        self._destination_counts: DestinationCounts | None = None
        self._switchover: Switchover | None = None
        self._drain_packets = self._drain_first_ns = 0
        self._further_reasons: list[str] = []
        self._lost: list[str] = []
        self._started_ns = time.monotonic_ns()

    def run(self) -> MigrationOutcome:
        try:
            self._transfer()
            self._commit()
        except HarnessError as error:
            return self._abort(str(error))
        try:
            self._switch()
        except Exception as error:  # whatever steering raises, the traffic must end up on one side
            return self._take_back(str(error) or type(error).__name__)
        try:
            self._drain()
            self._finish()
        except HarnessError as error:
            return self._fail(str(error))
        self._phases.move(ControllerPhase.COMPLETED)
        return self._outcome("completed", "")

    # -- before the switchover ----------------------------------------------------------------------------------------

    def _transfer(self) -> None:
        settings, deadlines = self._settings, self._deadlines
        self._phases.move(ControllerPhase.PREPARE)
        prepare = PrepareInRequest(epoch=settings.epoch, mode=settings.mode, deadline_ns=deadlines.session_ns)
        connecting = Deadline.after(deadlines.connect_ns)
        prepared = self._destination.request(prepare, Prepared, connecting)
        self._phases.move(ControllerPhase.CONNECT)
        listening = (settings.destination_address, prepared.statelet_port, prepared.snapshot_port)
        address, statelet_port, snapshot_port = settings.between(*listening) if settings.between else listening
        leave = MigrateOutRequest(
            epoch=settings.epoch,
            mode=settings.mode,
            address=address,
            statelet_port=statelet_port,
            snapshot_port=snapshot_port,
            filler_bytes=settings.filler_bytes,
            filler_seed=settings.filler_seed,
            snapshot_rate_bps=settings.snapshot_rate_bps,
            connect_deadline_ns=deadlines.connect_ns,
            deadline_ns=deadlines.session_ns,
        )
        self._source.request(leave, Accepted, connecting)
        self._await(lambda: self._past(ControllerPhase.SNAPSHOT), connecting, "connected streams")
        self._await(
            lambda: self._past(ControllerPhase.RESYNCHRONISE),
            Deadline.after(deadlines.snapshot_ns),
            "installed snapshot",
        )
        self._await(lambda: Redirect in self._seen, Deadline.after(deadlines.resync_ns), "redirect")
        self._advance(ControllerPhase.RESYNCHRONISE)

    def _commit(self) -> None:
        self._phases.move(ControllerPhase.COMMIT)
        deadline = Deadline.after(self._deadlines.switchover_ns)
        self._source.request(CommitRequest(epoch=self._settings.epoch), Accepted, deadline)
        self._take_waiting()

    def _switch(self) -> None:
        self._phases.move(ControllerPhase.SWITCHOVER)
        steered = self._fabric.steer("destination")
        self._switchover = Switchover(started_ns=steered.started_ns, ended_ns=steered.acknowledged_ns)

    def _take_back(self, reason: str) -> MigrationOutcome:
        """Steering failed: nobody knows who has the traffic, so give it back to the source."""
        try:
            self._fabric.steer("source")
        except Exception as error:  # the second failure ends it, whatever it is
            self._lost.append("the traffic's owner is unknown: steering failed in both directions")
            return self._fail(f"steering failed: {reason}; and back: {error}")
        self._lost.append("packets that reached the destination between the two steerings, if any")
        return self._abort(f"steering failed: {reason}; taken back")

    def _abort(self, reason: str) -> MigrationOutcome:
        self._phases.move(ControllerPhase.ABORTING, reason)
        request = AbortRequest(epoch=self._settings.epoch, reason=reason[:1000])
        unconfirmed = {}
        for channel in (self._source, self._destination):
            try:
                channel.request(request, Accepted, Deadline.after(self._deadlines.connect_ns))
            except HarnessError as error:
                unconfirmed[channel] = str(error)
        self._take_waiting()
        # One side often sees only that the other has gone; what the other says belongs beside it.
        reason = "; ".join([reason, *self._further_reasons])
        if self._destination in unconfirmed:
            reason = f"{reason}; the destination does not confirm the abort: {unconfirmed[self._destination]}"
        if self._source in unconfirmed:
            self._lost.append("whether the source still serves is unknown")
            return self._fail(f"{reason}; the source does not confirm the abort: {unconfirmed[self._source]}")
        self._phases.move(ControllerPhase.ABORTED, reason)
        return self._outcome("aborted", reason)

    # -- after the switchover -----------------------------------------------------------------------------------------

    def _drain(self) -> None:
        """Repeat the drain packets until the source has taken both: one may be lost like any other packet."""
        self._phases.move(ControllerPhase.DRAIN)
        deadline = Deadline.after(self._deadlines.drain_ns)
        sequence = 0
        while Drained not in self._seen:
            deadline.check("drain packet on both ports of the source")
            for port in (0, 1):
                self._inject(port, sequence)
            sequence = (sequence + 1) % 256
            try:
                self._await(
                    lambda: Drained in self._seen, deadline.sooner(self._settings.drain_interval_ns), "drain packets"
                )
            except DeadlineExceeded:
                continue
        self._phases.move(ControllerPhase.CLOSE)
        self._await(lambda: Closed in self._seen, deadline, "end of the source's statelet stream")

    def _inject(self, port: int, sequence: int) -> None:
        try:
            sent_ns = self._fabric.inject_drain(port, sequence, self._settings.drain_token)
        except OSError as error:
            if error.errno == errno.ENOBUFS:
                return  # the meter dropped it, the next one follows
            raise HarnessError(f"drain packet cannot be sent: {error.strerror}") from error
        self._drain_packets += 1
        self._drain_first_ns = self._drain_first_ns or sent_ns

    def _finish(self) -> None:
        deadline = Deadline.after(self._deadlines.finish_ns)
        self._await(lambda: Completed in self._seen, deadline, "last statelet at the destination")
        self._phases.move(ControllerPhase.DRAIN_PKT_Q)
        self._await(lambda: Live in self._seen, deadline, "empty pkt_q at the destination")

    def _fail(self, reason: str) -> MigrationOutcome:
        self._phases.move(ControllerPhase.FAILED, reason)
        return self._outcome("failed", reason)

    # -- notifications ------------------------------------------------------------------------------------------------

    def _await(self, reached: Callable[[], bool], deadline: Deadline, awaited: str) -> None:
        while not reached():
            _, notification = wait_for_notification((self._source, self._destination), deadline, awaited)
            self._take(notification)

    def _take_waiting(self) -> None:
        """Take what has arrived meanwhile. Raises PeerAbortError unless aborting already."""
        for channel in (self._source, self._destination):
            try:
                while (notification := channel.next_notification()) is not None:
                    self._take(notification)
            except HarnessError:
                if self._phases.phase is not ControllerPhase.ABORTING:
                    raise

    def _take(self, notification: AnyNotification) -> None:
        """Note a notification; those of earlier attempts say nothing about this one."""
        if notification.epoch != self._settings.epoch:
            return
        if isinstance(notification, PhaseChanged):
            self._take_phase(notification)
        self._seen[type(notification)] = notification
        if isinstance(notification, Redirect | Completed | Live):
            self._destination_counts = notification.counts
        elif isinstance(notification, Closed):
            self._source_counts = notification.counts
        elif isinstance(notification, Aborted):
            self._source_counts = notification.source or self._source_counts
            self._destination_counts = notification.destination or self._destination_counts
            reason = f"{notification.node}: {notification.reason}"
            if self._phases.phase is not ControllerPhase.ABORTING:
                raise PeerAbortError(reason)
            if not notification.reason.startswith(ABORTED_BY_CONTROLLER):
                self._further_reasons.append(reason)

    def _take_phase(self, change: PhaseChanged) -> None:
        previous = self._instance_phases.get(change.node, "")
        self._instance_phases[change.node] = change.phase
        self._record(
            PhaseEvent(change.node, previous, change.phase, change.monotonic_ns, change.wall_ns, change.detail)
        )
        reached = _REACHED_BY.get((change.node, change.phase))
        if reached is not None:
            self._advance(reached)

    def _past(self, phase: ControllerPhase) -> bool:
        return self._phases.phase in _ORDER and _ORDER.index(self._phases.phase) >= _ORDER.index(phase)

    def _advance(self, to: ControllerPhase) -> None:
        """Walk on to `to`: the reports of two instances may overtake each other, the phases may not."""
        while self._phases.phase in _ORDER and not self._past(to):
            self._phases.move(_ORDER[_ORDER.index(self._phases.phase) + 1])

    # -- outcome ------------------------------------------------------------------------------------------------------

    def _record(self, event: PhaseEvent) -> None:
        self._recorded.append(
            RecordedPhase(
                node=event.node,
                previous=event.previous,
                phase=event.phase,
                monotonic_ns=event.monotonic_ns,
                wall_ns=event.wall_ns,
                detail=event.detail,
            )
        )
        self._journal(event)

    def _outcome(self, outcome: Literal["completed", "aborted", "failed"], reason: str) -> MigrationOutcome:
        ended_ns = time.monotonic_ns()
        source_counters = self._counters(self._source)
        destination_counters = self._counters(self._destination)
        if outcome == "failed":
            self._lost += self._known_lost()
        own = [phase for phase in self._recorded if phase.node == "controller"]
        ends = [phase.monotonic_ns for phase in own[1:]] + [ended_ns]
        return MigrationOutcome(
            outcome=outcome,
            reason=reason,
            epoch=self._settings.epoch,
            mode=self._settings.mode,
            started_ns=self._started_ns,
            ended_ns=ended_ns,
            phases=self._recorded,
            durations_ns={phase.phase: end_ns - phase.monotonic_ns for phase, end_ns in zip(own, ends, strict=True)},
            switchover=self._switchover,
            drain_packets=self._drain_packets,
            drain_first_ns=self._drain_first_ns,
            source=self._source_counts,
            destination=self._destination_counts,
            source_counters=source_counters,
            destination_counters=destination_counters,
            lost=self._lost,
        )

    def _counters(self, channel: ControllerChannel) -> dict[str, JsonValue]:
        try:
            return channel.request(StatusRequest(), Status, Deadline.after(STATUS_DEADLINE_NS)).counters
        except HarnessError as error:
            self._lost.append(f"counters of {channel.peer}: {error}")
            return {}

    def _known_lost(self) -> list[str]:
        source, destination = self._source_counts, self._destination_counts
        lost = []
        if source is not None and destination is not None:
            missing = source.statelets_sent - destination.statelets_installed
            if missing > 0:
                lost.append(f"{missing} statelets that were sent and not installed")
        if Completed not in self._seen and self._switchover is not None:
            lost.append("packets in the destination's pkt_q and those that arrive there")
        return lost
