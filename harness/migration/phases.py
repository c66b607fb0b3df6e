"""Phases of a migration, and the one function through which they change.

Each party (controller, source, destination) has a table of permitted transitions. `PhaseMachine.move` checks it and
journals the change with monotonic and wall time; nothing else changes a phase.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Generic, TypeVar

from harness.errors import ProtocolError


class ControllerPhase(Enum):
    """Phases of the migration as a whole. Up to COMMIT everything can be taken back."""

    IDLE = "idle"
    PREPARE = "prepare"
    CONNECT = "connect"
    ANNOUNCE = "announce"
    SNAPSHOT = "snapshot"
    RESYNCHRONISE = "resynchronise"
    COMMIT = "commit"
    SWITCHOVER = "switchover"
    DRAIN = "drain"
    CLOSE = "close"
    DRAIN_PKT_Q = "drain_pkt_q"
    COMPLETED = "completed"
    ABORTING = "aborting"
    ABORTED = "aborted"
    FAILED = "failed"


class InstancePhase(Enum):
    """Phases of one instance, in either role."""

    STANDBY = "standby"
    LIVE = "live"
    # as the source
    CONNECT = "connect"
    SNAPSHOT = "snapshot"
    RESYNCHRONISE = "resynchronise"
    COMMITTED = "committed"
    DRAINED = "drained"
    CLOSED = "closed"
    # as the destination
    PREPARED = "prepared"
    RECEIVE_SNAPSHOT = "receive_snapshot"
    INSTALL = "install"
    BUFFERING = "buffering"
    DRAIN_PKT_Q = "drain_pkt_q"
    FAILED = "failed"


_C = ControllerPhase
_UNDOABLE = {_C.ABORTING}

CONTROLLER_TRANSITIONS: Mapping[ControllerPhase, frozenset[ControllerPhase]] = {
    _C.IDLE: frozenset({_C.PREPARE}),
    _C.PREPARE: frozenset({_C.CONNECT} | _UNDOABLE),
    _C.CONNECT: frozenset({_C.ANNOUNCE} | _UNDOABLE),
    _C.ANNOUNCE: frozenset({_C.SNAPSHOT} | _UNDOABLE),
    _C.SNAPSHOT: frozenset({_C.RESYNCHRONISE} | _UNDOABLE),
    _C.RESYNCHRONISE: frozenset({_C.COMMIT} | _UNDOABLE),
    _C.COMMIT: frozenset({_C.SWITCHOVER} | _UNDOABLE),
    # Steering that failed and was taken back leaves the traffic with the source: the last way to abort.
    _C.SWITCHOVER: frozenset({_C.DRAIN, _C.FAILED} | _UNDOABLE),
    _C.DRAIN: frozenset({_C.CLOSE, _C.FAILED}),
    _C.CLOSE: frozenset({_C.DRAIN_PKT_Q, _C.FAILED}),
    _C.DRAIN_PKT_Q: frozenset({_C.COMPLETED, _C.FAILED}),
    _C.COMPLETED: frozenset(),
    _C.ABORTING: frozenset({_C.ABORTED, _C.FAILED}),
    _C.ABORTED: frozenset(),
    _C.FAILED: frozenset(),
}

_I = InstancePhase

INSTANCE_TRANSITIONS: Mapping[InstancePhase, frozenset[InstancePhase]] = {
    _I.STANDBY: frozenset({_I.LIVE, _I.PREPARED}),
    _I.LIVE: frozenset({_I.CONNECT}),
    _I.CONNECT: frozenset({_I.SNAPSHOT, _I.LIVE, _I.FAILED}),
    _I.SNAPSHOT: frozenset({_I.RESYNCHRONISE, _I.LIVE, _I.FAILED}),
    _I.RESYNCHRONISE: frozenset({_I.COMMITTED, _I.LIVE, _I.FAILED}),
    _I.COMMITTED: frozenset({_I.DRAINED, _I.LIVE, _I.FAILED}),
    _I.DRAINED: frozenset({_I.CLOSED, _I.FAILED}),
    _I.CLOSED: frozenset(),
    _I.PREPARED: frozenset({_I.RECEIVE_SNAPSHOT, _I.STANDBY, _I.FAILED}),
    _I.RECEIVE_SNAPSHOT: frozenset({_I.INSTALL, _I.STANDBY, _I.FAILED}),
    _I.INSTALL: frozenset({_I.BUFFERING, _I.STANDBY, _I.FAILED}),
    _I.BUFFERING: frozenset({_I.DRAIN_PKT_Q, _I.STANDBY, _I.FAILED}),
    _I.DRAIN_PKT_Q: frozenset({_I.LIVE, _I.FAILED}),
    _I.FAILED: frozenset(),
}


@dataclass(frozen=True, slots=True)
class PhaseEvent:
    """One phase change; `previous` is empty for the first entry of a journal."""

    node: str
    previous: str
    phase: str
    monotonic_ns: int
    wall_ns: int
    detail: str = ""


Journal = Callable[[PhaseEvent], None]


class PhaseError(ProtocolError):
    """Something was asked for that the present phase does not permit; nothing was changed."""


P = TypeVar("P", bound=Enum)


class PhaseMachine(Generic[P]):
    """The phase of one party. Safe to use from several threads; the journal is called in the order of the changes."""

    def __init__(self, node: str, initial: P, transitions: Mapping[P, frozenset[P]], journal: Journal) -> None:
        self.node = node
        self._phase = initial
        self._transitions = transitions
        self._journal = journal
        self._lock = threading.RLock()

    @property
    def phase(self) -> P:
        return self._phase

    def move(self, to: P, detail: str = "") -> PhaseEvent:
        """Change the phase. Raises PhaseError where the table does not have the transition."""
        with self._lock:
            if to not in self._transitions[self._phase]:
                raise PhaseError(f"{self.node}: no transition from {self._phase.value} to {to.value}")
            event = PhaseEvent(self.node, self._phase.value, to.value, time.monotonic_ns(), time.time_ns(), detail)
            self._phase = to
            self._journal(event)
            return event

    def require(self, action: str, *permitted: P) -> None:
        """Raises PhaseError unless the present phase is one of `permitted`."""
        if self._phase not in permitted:
            wanted = " or ".join(phase.value for phase in permitted)
            raise PhaseError(f"{self.node}: {action} needs phase {wanted}, the phase is {self._phase.value}")
