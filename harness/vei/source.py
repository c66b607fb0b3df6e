"""The source's side of a migration (paper, section IV-B, steps 2, 2.1 and 2.2).

The session thread connects both streams, freezes and announces in one step, sends the snapshot, and then watches until
the drain packets have stopped the dataplane. The sender thread puts what is announced on the statelet stream. Until the
drain any error or abort ends the announcement and thaws the tables: the dataplane never noticed, and another attempt
may follow.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

from harness.errors import HarnessError
from harness.migration.handshake import Kind
from harness.migration.messages import Aborted, Closed, Drained, MigrateOutRequest, SourceCounts
from harness.migration.modes import ResynchronisationMode
from harness.migration.phases import InstancePhase, PhaseMachine
from harness.migration.snapshot import (
    ChunkKind,
    SnapshotEnd,
    SnapshotHeader,
    filler_parts,
    pack_chunk_header,
    pack_json,
    pack_records,
)
from harness.migration.stream import open_stream
from harness.migration.tls import Tls
from harness.migration.transport import Deadline, Stream, end_sending, send_all
from harness.vei.instance_like import InstanceLike
from harness.vei.session import Notify, Session, log
from harness.vei.state import InstanceState
from harness.vei.statelet_sender import StateletSender

WATCH_PERIOD_S = 0.001
COMMIT_DEADLINE_NS = 2_000_000_000


@dataclass(frozen=True, slots=True)
class SourceParts:
    """What a session works on."""

    instance: InstanceLike
    state: InstanceState
    phases: PhaseMachine[InstancePhase]
    notify: Notify
    secret: bytes
    tls: Tls | None = None


class SourceSession(Session):
    """One attempt to migrate this instance's state to a prepared destination."""

    def __init__(self, parts: SourceParts, mode: ResynchronisationMode, request: MigrateOutRequest) -> None:
        super().__init__(request.epoch)
        self._parts, self._mode, self._request = parts, mode, request
        self._deadline = Deadline.after(request.deadline_ns)
        self._sender: StateletSender | None = None
        self._announcing = self._frozen = False
        self._committed = threading.Event()
        self._snapshot_sent = threading.Event()
        self._frozen_at_ns = 0
        self._counts = SourceCounts()
        self._thread = threading.Thread(target=self._run, name="migrate out", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def commit(self) -> None:
        """The switchover comes next. Raises HarnessError where the session cannot go on; it is then still abortable."""
        deadline = Deadline.after(COMMIT_DEADLINE_NS)
        while not self._snapshot_sent.wait(WATCH_PERIOD_S):
            self.tick()
            deadline.check("end of the snapshot before the commit")
        self.tick()
        self._parts.phases.require("commit", InstancePhase.RESYNCHRONISE)
        self._parts.instance.commit()
        self._parts.phases.move(InstancePhase.COMMITTED)
        self._committed.set()

    def counts(self) -> SourceCounts:
        """What was sent so far."""
        sender = self._sender
        if sender is None:
            return self._counts
        return self._counts.model_copy(
            update={
                "statelets_sent": sender.statelets,
                "statelet_segments": sender.segments,
                "statelet_bytes": sender.sent_bytes,
            }
        )

    def _run(self) -> None:
        try:
            self._transfer()
            self._watch()
        except Exception as error:
            # Anything else than an expected failure is a defect, but the dataplane must survive that as well.
            if not isinstance(error, HarnessError):
                log.exception("epoch %d: source session", self.epoch)
            self.break_off(str(error) or type(error).__name__)
        finally:
            try:
                self._tidy_up()
            finally:
                self.ended.set()

    def _transfer(self) -> None:
        request, parts = self._request, self._parts
        connecting = self._deadline.sooner(request.connect_deadline_ns)
        statelets = self._open(Kind.STATELET, request.statelet_port, connecting, 0)
        snapshot = self._open(Kind.SNAPSHOT, request.snapshot_port, connecting, request.snapshot_rate_bps)
        # Set before the call: whether or not it comes back in time, the engine may have taken the operation.
        self._announcing = self._frozen = True
        pause_ns = parts.instance.freeze_and_announce(self._mode.updates)
        self._frozen_at_ns = time.monotonic_ns()
        # st_q_out is emptied by the freeze, so its consumer must not run before.
        self._sender = StateletSender(parts.instance, statelets, self._deadline, self)
        self._sender.start()
        self._count(pause_ns=pause_ns)
        parts.phases.move(InstancePhase.SNAPSHOT, f"dataplane paused for {pause_ns} ns")
        self._send_snapshot(snapshot)
        parts.phases.move(InstancePhase.RESYNCHRONISE, f"{self._counts.snapshot_records} records sent")
        self._snapshot_sent.set()

    def _open(self, kind: Kind, port: int, deadline: Deadline, rate_bps: int) -> Stream:
        secret, tls = self._parts.secret, self._parts.tls
        sock = open_stream(self._request.address, port, kind, self.epoch, secret, deadline, self.tick, rate_bps, tls)
        return self._adopt(sock)

    def _send_snapshot(self, sock: Stream) -> None:
        state, instance, filler_bytes = self._parts.state, self._parts.instance, self._request.filler_bytes
        header = SnapshotHeader(
            image=instance.image_name,
            version=instance.image_version,
            epoch=self.epoch,
            tables=state.descriptions,
            filler_bytes=filler_bytes,
        )
        self._send(sock, pack_json(ChunkKind.HEADER, header))
        records = [0] * len(state.descriptions)
        for table, count, words in state.read_frozen():
            for part in pack_records(table, count, words):
                self._send(sock, part)
            records[table] += count
        self._thaw()
        self._count(snapshot_records=sum(records), frozen_ns=time.monotonic_ns() - self._frozen_at_ns)
        for part in filler_parts(filler_bytes, self._request.filler_seed):
            self._send(sock, pack_chunk_header(ChunkKind.FILLER, part))
            self._send(sock, part)
        end = SnapshotEnd(records=tuple(records), filler_bytes=filler_bytes)
        self._send(sock, pack_json(ChunkKind.END, end))
        self._count(filler_bytes=filler_bytes)
        end_sending(sock, self._deadline, "snapshot stream", self._tick_while_sending)

    def _tick_while_sending(self) -> None:
        self.tick()
        self._check_overflow()

    def _send(self, sock: Stream, data: bytes | memoryview) -> None:
        self._tick_while_sending()
        send_all(sock, data, self._deadline, "snapshot stream", self._tick_while_sending)
        self._count(snapshot_bytes=self._counts.snapshot_bytes + len(data))

    def _watch(self) -> None:
        """Wait for the drain and for the sender to finish."""
        sender = self._sender
        assert sender is not None
        while not sender.finished.wait(WATCH_PERIOD_S):
            self.tick()
            self._deadline.check("drain packets")
            self._check_overflow()
            if self._committed.is_set():
                self._note_drain()
        self._note_drain()

    def _note_drain(self) -> None:
        ports_ns = self._parts.instance.drained
        if self._parts.phases.phase is not InstancePhase.COMMITTED or not all(ports_ns):
            return
        both = (ports_ns[0], ports_ns[-1])
        self._count(drained_ns=both)
        self._parts.phases.move(InstancePhase.DRAINED)
        self._parts.notify(Drained(epoch=self.epoch, ports_ns=both))

    def _check_overflow(self) -> None:
        if not self._committed.is_set() and self._parts.instance.announcing_overflowed:
            raise HarnessError("st_q_out ran over: the stream cannot keep up with the announcements")

    def _thaw(self) -> None:
        if self._frozen:
            self._parts.instance.unfreeze()
            self._frozen = False

    def _tidy_up(self) -> None:
        parts, sender = self._parts, self._sender
        if sender is not None:
            sender.join()
        self._close_sockets()
        if self.reason is None:
            parts.phases.move(InstancePhase.CLOSED)
            parts.notify(Closed(epoch=self.epoch, counts=self.counts()))
            return
        reason, failed = self.reason, False
        try:
            if self._announcing:
                parts.instance.stop_announcing()
            self._thaw()
        except Exception as error:  # the phase must tell, whatever it was
            log.exception("epoch %d: ending the announcement", self.epoch)
            reason = f"{reason}; and then: {error}"
            failed = True
        # The end of announcing takes the commit back: a drain packet that comes later stops nothing any more.
        failed = failed or (self._committed.is_set() and all(parts.instance.drained))
        parts.phases.move(InstancePhase.FAILED if failed else InstancePhase.LIVE, reason)
        parts.notify(Aborted(epoch=self.epoch, node=parts.phases.node, reason=reason, source=self.counts()))

    def _count(self, **changes: object) -> None:
        self._counts = self._counts.model_copy(update=changes)
