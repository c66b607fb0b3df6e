"""The destination's side of a migration (paper, section IV-B, steps 2.3 and 2.4).

The receiving thread puts segments into st_q_in. The synchronisation thread installs the snapshot, then statelets; at
the first underrun (d = 0) it makes the engine buffer packets and only then asks for the traffic, so that no packet can
come before there is a place for it. After the end segment the engine works off pkt_q and is live. Any error before that
forgets the state: the instance is as it was and another attempt may follow.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

import numpy as np

from harness.dataplane.engine_state import MODE_ACTIVE, MODE_BUFFERING, MODE_STANDBY
from harness.errors import HarnessError, ProtocolError
from harness.migration.handshake import Kind
from harness.migration.messages import Aborted, Completed, DestinationCounts, Live, PrepareInRequest, Redirect
from harness.migration.modes import ResynchronisationMode
from harness.migration.phases import InstancePhase, PhaseMachine
from harness.migration.segments import End, Segment, SegmentReader
from harness.migration.snapshot import BODY_BYTES_MAX, CHUNK_HEADER_BYTES, SnapshotAssembler, parse_chunk_header
from harness.migration.stream import StreamListener, received_wire_bytes
from harness.migration.tls import Tls
from harness.migration.transport import Deadline, Stream, receive_exactly, receive_some
from harness.vei.instance_like import InstanceLike
from harness.vei.session import Notify, Session, log
from harness.vei.state import InstanceState
from harness.vei.statelet_queue import StateletQueue

ST_Q_IN_BYTES = 96 << 20
_RECEIVE_BYTES = 1 << 18
_POLL_S = 0.000_5


@dataclass(frozen=True, slots=True)
class DestinationParts:
    """What a session works on; the listeners are opened on `address` only."""

    instance: InstanceLike
    state: InstanceState
    phases: PhaseMachine[InstancePhase]
    notify: Notify
    secret: bytes
    address: str
    st_q_in_packets: int
    tls: Tls | None = None


class DestinationSession(Session):
    """One attempt to take over another instance's state. Raises ProtocolError where it cannot listen."""

    def __init__(self, parts: DestinationParts, mode: ResynchronisationMode, request: PrepareInRequest) -> None:
        super().__init__(request.epoch)
        self._parts, self._mode = parts, mode
        self._deadline = Deadline.after(request.deadline_ns)
        self._statelet_listener = self._listener(Kind.STATELET)
        try:
            self._snapshot_listener = self._listener(Kind.SNAPSHOT)
        except BaseException:
            self._statelet_listener.close()
            raise
        self._queue = StateletQueue(parts.st_q_in_packets, ST_Q_IN_BYTES)
        self._connected = threading.Event()
        self._counts = DestinationCounts()
        self._statelet_bytes = self._statelet_wire_bytes = self._segments = 0
        self._received = self._installed = self._last_statelet_ns = 0
        self._first_sequence = self._last_sequence = -1
        self._receiver = threading.Thread(target=self._receive, name="statelet receiver", daemon=True)
        self._thread = threading.Thread(target=self._run, name="migrate in", daemon=True)

    def _listener(self, kind: Kind) -> StreamListener:
        return StreamListener(self._parts.address, kind, self.epoch, self._parts.secret, self._parts.tls)

    @property
    def statelet_port(self) -> int:
        return self._statelet_listener.port

    @property
    def snapshot_port(self) -> int:
        return self._snapshot_listener.port

    def start(self) -> None:
        self._receiver.start()
        self._thread.start()

    def counts(self) -> DestinationCounts:
        """What has arrived so far."""
        return self._counts.model_copy(
            update={
                "statelets_received": self._received,
                "statelets_installed": self._installed,
                "first_sequence": self._first_sequence,
                "last_sequence": self._last_sequence,
                "last_statelet_ns": self._last_statelet_ns,
                "statelet_segments": self._segments,
                "statelet_bytes": self._statelet_bytes,
                "statelet_wire_bytes": self._statelet_wire_bytes,
                "st_q_in_max_packets": self._queue.max_packets,
                "st_q_in_max_bytes": self._queue.max_bytes,
                "refused_connections": self._statelet_listener.refused + self._snapshot_listener.refused,
            }
        )

    # -- statelet receiver ------------------------------------------------------------------------------------------

    def _receive(self) -> None:
        try:
            sock = self._adopt(self._statelet_listener.accept(self._deadline, self.tick))
            self._connected.set()
            self._receive_segments(sock)
        except Exception as error:
            if not isinstance(error, HarnessError):
                log.exception("epoch %d: statelet receiver", self.epoch)
            self.break_off(str(error) or type(error).__name__)

    def _receive_segments(self, sock: Stream) -> None:
        reader = SegmentReader()
        buffer = memoryview(bytearray(_RECEIVE_BYTES))
        while True:
            while (segment := reader.next_segment()) is not None:
                self._queue.put(segment, self._deadline, self.tick)
                if isinstance(segment, End):
                    self._statelet_wire_bytes = received_wire_bytes(sock)
                    return
                self._received += segment.count
                self._segments += 1
            received = receive_some(sock, buffer, self._deadline, "statelet stream", self.tick)
            if received == 0:
                raise ProtocolError(
                    f"statelet stream was cut after {reader.statelets} statelets, without its end segment"
                )
            self._statelet_bytes += received
            reader.feed(buffer[:received])

    # -- synchronisation --------------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            self._install_snapshot()
            self._install_statelets()
            self._go_live()
        except Exception as error:
            if not isinstance(error, HarnessError):
                log.exception("epoch %d: destination session", self.epoch)
            self._fail(str(error) or type(error).__name__)
        finally:
            self.ended.set()

    def _install_snapshot(self) -> None:
        parts = self._parts
        sock = self._adopt(self._snapshot_listener.accept(self._deadline, self.tick))
        self._count(snapshot_accepted_ns=time.monotonic_ns())
        parts.phases.move(InstancePhase.RECEIVE_SNAPSHOT)
        parts.state.clear()
        assembler = SnapshotAssembler(
            parts.instance.image_name,
            parts.instance.image_version,
            self.epoch,
            parts.state.descriptions,
            parts.state.load,
        )
        prefix = memoryview(bytearray(CHUNK_HEADER_BYTES))
        body = memoryview(bytearray(BODY_BYTES_MAX))
        while not assembler.complete:
            receive_exactly(sock, prefix, self._deadline, "snapshot stream", self.tick)
            header = parse_chunk_header(prefix)
            content = body[: header.body_bytes]
            receive_exactly(sock, content, self._deadline, "snapshot stream", self.tick)
            assembler.accept(header, content)
            self._count(
                snapshot_bytes=self._counts.snapshot_bytes + CHUNK_HEADER_BYTES + header.body_bytes,
                snapshot_records=assembler.records,
                filler_bytes=assembler.filler_bytes,
            )
        self._count(snapshot_installed_ns=time.monotonic_ns(), snapshot_wire_bytes=received_wire_bytes(sock))
        parts.phases.move(InstancePhase.INSTALL, f"{assembler.records} records")

    def _install_statelets(self) -> None:
        """Install statelets until the end segment, asking for the traffic at the first underrun."""
        while not self._connected.wait(_POLL_S):
            self.tick()
            self._deadline.check("statelet stream of the source")
        redirected = False
        while True:
            self.tick()
            segment = self._queue.take_ready()
            if segment is None:
                if not redirected:
                    self._redirect()
                    redirected = True
                segment = self._queue.take(self._deadline, self.tick)
            if isinstance(segment, End):
                if not redirected:
                    raise ProtocolError("statelet stream ended before the traffic was asked for")
                return
            self._install(segment)

    def _install(self, segment: Segment) -> None:
        data = np.frombuffer(segment.payload, np.uint8).copy()
        installed, error = self._mode.apply(self._parts.instance, data, len(data))
        # Plain attributes: a model is not copied for every segment.
        self._installed += installed
        if self._first_sequence < 0:
            self._first_sequence = segment.first_sequence
        self._last_sequence = segment.first_sequence + installed - 1
        self._last_statelet_ns = time.monotonic_ns()
        if error:
            number = segment.first_sequence + installed
            raise ProtocolError(f"statelet {number} cannot be installed (error {error})")
        if installed != segment.count:
            raise ProtocolError(
                f"segment at {segment.first_sequence} announces {segment.count} statelets and holds {installed}"
            )

    def _redirect(self) -> None:
        parts = self._parts
        parts.instance.set_mode(MODE_BUFFERING)
        parts.phases.move(InstancePhase.BUFFERING)
        self._count(redirect_ns=time.monotonic_ns())
        parts.notify(Redirect(epoch=self.epoch, counts=self.counts()))

    def _go_live(self) -> None:
        parts = self._parts
        ended_ns = time.monotonic_ns()
        self._pass_point_of_no_return()
        parts.instance.set_mode(MODE_ACTIVE)
        self._tidy_up()
        self._count(duration_ns=ended_ns - self._counts.snapshot_accepted_ns)
        parts.phases.move(InstancePhase.DRAIN_PKT_Q)
        parts.notify(Completed(epoch=self.epoch, counts=self.counts()))
        while not (drained_ns := int(parts.instance.status()["pkt_q_drained_ns"])):
            self._deadline.check("empty pkt_q")
            time.sleep(_POLL_S)
        self._count(live_ns=drained_ns)
        parts.phases.move(InstancePhase.LIVE)
        parts.notify(Live(epoch=self.epoch, counts=self.counts()))

    def _fail(self, reason: str) -> None:
        """Forget the state; past the point of no return the instance stays as it is and the migration has failed."""
        parts = self._parts
        discard = self.break_off(reason)
        reason = self.reason or reason
        phase = InstancePhase.FAILED
        self._tidy_up()
        if discard:
            try:
                parts.instance.set_mode(MODE_STANDBY)
                parts.state.reset()
                phase = InstancePhase.STANDBY
            except Exception as error:  # the phase must tell, whatever it was
                log.exception("epoch %d: discarding the state", self.epoch)
                reason = f"{reason}; and then: {error}"
        parts.phases.move(phase, reason)
        parts.notify(Aborted(epoch=self.epoch, node=parts.phases.node, reason=reason, destination=self.counts()))

    def _tidy_up(self) -> None:
        self._receiver.join()
        self._statelet_listener.close()
        self._snapshot_listener.close()
        self._close_sockets()

    def _count(self, **changes: object) -> None:
        self._counts = self._counts.model_copy(update=changes)
