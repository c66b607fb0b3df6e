"""What each request of the controller does to an instance, checked against its phase first."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.dataplane.engine_state import MODE_ACTIVE, UPDATES_OFF
from harness.errors import HarnessError, ProtocolError
from harness.migration.messages import (
    ABORTED_BY_CONTROLLER,
    AbortRequest,
    Accepted,
    ActivateRequest,
    AnyRequest,
    AnyResponse,
    CommitRequest,
    Dumped,
    DumpStateRequest,
    MigrateOutRequest,
    PhaseChanged,
    Prepared,
    PrepareInRequest,
    Refused,
    Status,
    StatusRequest,
    StopRequest,
)
from harness.migration.modes import mode_named
from harness.migration.phases import INSTANCE_TRANSITIONS, InstancePhase, PhaseEvent, PhaseMachine
from harness.migration.tls import Tls
from harness.migration.transport import Deadline
from harness.vei.destination import DestinationParts, DestinationSession
from harness.vei.instance_like import InstanceLike
from harness.vei.session import Notify
from harness.vei.source import SourceParts, SourceSession
from harness.vei.state import InstanceState

ABORT_DEADLINE_NS = 5_000_000_000


@dataclass(frozen=True, slots=True)
class Identity:
    """Who this instance is."""

    role: str
    secret: bytes
    management_address: str
    st_q_in_packets: int
    tls: Tls | None = None


class RequestHandler:
    """Serves the requests of one controller, one at a time; sessions run beside it and notify on their own.

    `stopping` is set by a stop request; `refused_connections` counts those of the control server. Nothing is changed by
    a request that is refused.
    """

    def __init__(
        self,
        instance: InstanceLike,
        state: InstanceState,
        identity: Identity,
        notify: Notify,
        stopping: threading.Event,
        refused_connections: Callable[[], int] = lambda: 0,
    ) -> None:
        self._instance, self._state, self._identity, self._notify = instance, state, identity, notify
        self._epoch = 0
        self._session: SourceSession | DestinationSession | None = None
        self._phases = PhaseMachine(identity.role, InstancePhase.STANDBY, INSTANCE_TRANSITIONS, self._journal)
        self._stopping = stopping
        self._refused_connections = refused_connections
        self._actions: Mapping[type[AnyRequest], Callable[[Any], AnyResponse]] = {
            StatusRequest: self._status,
            ActivateRequest: self._activate,
            PrepareInRequest: self._prepare_in,
            MigrateOutRequest: self._migrate_out,
            CommitRequest: self._commit,
            AbortRequest: self._abort,
            DumpStateRequest: self._dump_state,
            StopRequest: self._stop,
        }

    @property
    def phase(self) -> InstancePhase:
        return self._phases.phase

    def handle(self, request: AnyRequest) -> AnyResponse:
        """The response; a failure is a refusal with its reason."""
        try:
            return self._actions[type(request)](request)
        except HarnessError as error:
            return Refused(id=request.id, reason=str(error)[:2000])

    def controller_lost(self) -> None:
        """Without its controller a migration cannot go on: give it up where that is still possible."""
        session = self._session
        if session is not None and not session.ended.is_set():
            session.break_off("the control connection was lost")

    def close(self) -> None:
        """Give up a migration under way and wait until its session works on the instance no more."""
        self.controller_lost()
        if self._session is not None:
            self._session.ended.wait(ABORT_DEADLINE_NS / 1e9)

    def _journal(self, event: PhaseEvent) -> None:
        self._notify(
            PhaseChanged(
                epoch=self._epoch,
                node=event.node,
                phase=event.phase,
                monotonic_ns=event.monotonic_ns,
                wall_ns=event.wall_ns,
                detail=event.detail[:2000],
            )
        )

    def _status(self, request: StatusRequest) -> AnyResponse:
        return Status(
            id=request.id,
            role=self._identity.role,
            phase=self.phase.value,
            epoch=self._epoch,
            image=self._instance.image_name,
            version=self._instance.image_version,
            counters=self._instance.status(),
            refused_connections=self._refused_connections(),
        )

    def _activate(self, request: ActivateRequest) -> AnyResponse:
        self._phases.require("activate", InstancePhase.STANDBY)
        self._instance.set_mode(MODE_ACTIVE)
        self._phases.move(InstancePhase.LIVE)
        return Accepted(id=request.id)

    def _prepare_in(self, request: PrepareInRequest) -> AnyResponse:
        self._phases.require("prepare_in", InstancePhase.STANDBY)
        mode = mode_named(request.mode)
        self._require_new_epoch(request.epoch)
        parts = DestinationParts(
            self._instance,
            self._state,
            self._phases,
            self._notify,
            self._identity.secret,
            self._identity.management_address,
            self._identity.st_q_in_packets,
            self._identity.tls,
        )
        session = DestinationSession(parts, mode, request)
        self._begin(session, InstancePhase.PREPARED)
        return Prepared(id=request.id, statelet_port=session.statelet_port, snapshot_port=session.snapshot_port)

    def _migrate_out(self, request: MigrateOutRequest) -> AnyResponse:
        self._phases.require("migrate_out", InstancePhase.LIVE)
        mode = mode_named(request.mode)
        self._require_new_epoch(request.epoch)
        parts = SourceParts(
            self._instance, self._state, self._phases, self._notify, self._identity.secret, self._identity.tls
        )
        self._begin(SourceSession(parts, mode, request), InstancePhase.CONNECT)
        return Accepted(id=request.id)

    def _begin(self, session: SourceSession | DestinationSession, phase: InstancePhase) -> None:
        self._epoch = session.epoch
        self._session = session
        self._phases.move(phase)
        session.start()

    def _commit(self, request: CommitRequest) -> AnyResponse:
        session = self._session
        if not isinstance(session, SourceSession) or session.epoch != request.epoch:
            raise ProtocolError(f"commit: epoch {request.epoch} is not migrating out of this instance")
        session.commit()
        return Accepted(id=request.id)

    def _abort(self, request: AbortRequest) -> AnyResponse:
        session = self._session
        if session is None or session.epoch != request.epoch:
            if request.epoch > self._epoch:
                return Accepted(id=request.id)  # that attempt never began here
            raise ProtocolError(f"abort: epoch {request.epoch} is over")
        if session.ended.is_set() and session.reason is None:
            raise ProtocolError("abort: the migration is complete")
        if not session.break_off(f"{ABORTED_BY_CONTROLLER}: {request.reason}"):
            raise ProtocolError("abort: the destination has taken over")
        if not session.ended.wait(ABORT_DEADLINE_NS / 1e9):
            raise Deadline.after(ABORT_DEADLINE_NS).exceeded("end of the session after an abort")
        if self.phase not in (InstancePhase.LIVE, InstancePhase.STANDBY):
            raise ProtocolError(f"abort: this instance is left in phase {self.phase.value}: {session.reason}")
        return Accepted(id=request.id)

    def _dump_state(self, request: DumpStateRequest) -> AnyResponse:
        """Reads a frozen generation, so that a live dataplane neither waits nor tears the picture."""
        self._phases.require("dump_state", *_AT_REST)
        path = Path(request.path)
        if not path.is_absolute():
            raise ProtocolError(f"dump_state: {request.path!r} is not an absolute path")
        self._instance.freeze_and_announce(UPDATES_OFF)
        try:
            records = self._state.write_frozen(path)
        finally:
            self._instance.unfreeze()
        return Dumped(id=request.id, path=request.path, records=records)

    def _stop(self, request: StopRequest) -> AnyResponse:
        self.controller_lost()
        self._stopping.set()
        return Accepted(id=request.id)

    def _require_new_epoch(self, epoch: int) -> None:
        if epoch <= self._epoch:
            raise ProtocolError(f"epoch {epoch} is not after {self._epoch}: every attempt needs a new one")


_AT_REST = (InstancePhase.STANDBY, InstancePhase.LIVE, InstancePhase.CLOSED, InstancePhase.FAILED)
