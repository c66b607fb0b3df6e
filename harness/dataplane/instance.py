"""An instance: an image's functions, its tables and ports, and the thread in which the engine serves them.

Every method here may be called from any one controlling thread; what touches the engine is handed over as a control
operation, taken between two passes of the loop, and waited for with a deadline.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from harness.dataplane import engine_state as es
from harness.dataplane.byte_ring import CLOSED, PUT, TAKEN, take
from harness.dataplane.engine import run_engine
from harness.dataplane.engine_state import (
    MODE_ACTIVE,
    MODE_BUFFERING,
    MODE_STANDBY,
    MODE_STOPPED,
    UPDATES_DUPLICATION,
    UPDATES_OFF,
    UPDATES_STATELET,
)
from harness.dataplane.installer import install_duplicates, install_statelets
from harness.dataplane.packet_socket import read_statistics
from harness.dataplane.scheduling import set_dataplane_scheduling
from harness.dataplane.status_page import open_status_page, read_status
from harness.dataplane.trace import RECORD_BYTES, take_records
from harness.errors import DeadlineExceeded, HarnessError

__all__ = [
    "MODE_ACTIVE",
    "MODE_BUFFERING",
    "MODE_STANDBY",
    "MODE_STOPPED",
    "UPDATES_DUPLICATION",
    "UPDATES_OFF",
    "UPDATES_STATELET",
    "ImageFunctions",
    "Instance",
    "InstanceSettings",
]

OPERATION_DEADLINE_S = 1.0
_RECORDS_PERIOD_S = 0.02
_STATISTICS_EVERY = 5


@dataclass(frozen=True)
class ImageFunctions:
    """What an image supplies: its name and version, tables, the three compiled functions, and its drop reasons."""

    name: str
    version: str
    tables: np.ndarray
    announce: Any
    install: Any
    forward: Any
    reasons: dict[int, str] = field(default_factory=dict)


@dataclass(frozen=True)
class InstanceSettings:
    """Sizes and timing of an instance; times in ns, sizes in packets or bytes as named."""

    latency_ns: int = 0
    tick_ns: int = 200_000
    timer_ns: int = 10_000_000
    burst_packets: int = 64
    pkt_q_packets: int = 65_536
    delay_packets: int = 16_384
    st_q_out_packets: int = 65_536
    slot_bytes: int = 1_536
    scheduler: str = "auto"
    trace_path: Path | None = None
    status_path: Path | None = None


class Instance:
    """A network function in this process, served by one engine thread."""

    def __init__(self, image: ImageFunctions, sockets: list[socket.socket], settings: InstanceSettings) -> None:
        self.image_name, self.image_version = image.name, image.version
        self.tables = image.tables
        self._image, self._sockets, self._settings = image, sockets, settings
        self._wake_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._engine = es.make_engine_state(
            tables=image.tables,
            fds=[sock.fileno() for sock in sockets],
            wake_fd=self._wake_fd,
            slot_bytes=settings.slot_bytes,
            pkt_q_packets=settings.pkt_q_packets,
            delay_packets=settings.delay_packets,
            st_q_out_packets=settings.st_q_out_packets,
            burst_packets=settings.burst_packets,
            tracing=settings.trace_path is not None,
            status=open_status_page(settings.status_path),
        )
        control = self._engine.control
        control[es.LATENCY_NS_AT] = settings.latency_ns
        control[es.TICK_NS_AT] = settings.tick_ns
        control[es.BURST_AT] = settings.burst_packets
        control[es.TIMER_NS_AT] = settings.timer_ns
        self._operations = threading.Lock()
        self._take_result = np.zeros(2, np.int64)
        self._install_scratch = np.zeros((2, 4096), np.uint8)
        self._install_result = np.zeros(2, np.int64)
        self._thread: threading.Thread | None = None
        self._clerk: threading.Thread | None = None
        self._records_end = threading.Event()
        self._statistics = threading.Lock()
        self._started = threading.Event()
        self._failure: BaseException | None = None
        self.scheduler = "other"

    # -- life ---------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the engine thread, in MODE_STANDBY, and the records thread beside it. HarnessError if it cannot run."""
        path = self._settings.trace_path
        file = None if path is None else path.open("wb", buffering=0)
        self._clerk = threading.Thread(target=self._keep_records, args=(file,), name="records", daemon=True)
        self._clerk.start()
        self._thread = threading.Thread(target=self._serve, name="engine", daemon=True)
        self._thread.start()
        self._started.wait()
        if self._failure is not None:
            raise HarnessError(f"engine of {self.image_name}: {self._failure}") from self._failure

    def _serve(self) -> None:
        try:
            self.scheduler = set_dataplane_scheduling(self._settings.scheduler)
        except BaseException as error:
            self._failure = error
            return
        finally:
            self._started.set()
        run_engine(self._image.announce, self._image.install, self._image.forward, self._engine)

    def stop(self) -> None:
        """End the engine and its records; the sockets stay open for their statistics."""
        if self._thread is not None and self._thread.is_alive():
            self._operate(es.OPERATION_EXIT)
            self._thread.join(OPERATION_DEADLINE_S)
        self._records_end.set()
        if self._clerk is not None:
            self._clerk.join(10.0)
        self._read_kernel_statistics()

    def close(self) -> None:
        """Stop, and close the sockets. Doing it twice is no error; every operation after it is one."""
        self.stop()
        for sock in self._sockets:
            sock.close()
        with self._operations:  # the number may be another file's as soon as it is closed
            wake_fd, self._wake_fd = self._wake_fd, -1
            if wake_fd >= 0:
                os.close(wake_fd)

    def _keep_records(self, file: BinaryIO | None) -> None:
        """Beside the engine: write the trace away, and bring the kernel's counters to the status page."""
        number = 0
        pending = b""
        while not self._records_end.wait(_RECORDS_PERIOD_S):
            number += 1
            if file is not None:
                pending = self._write_trace(file, pending)
            if number % _STATISTICS_EVERY == 0:
                self._read_kernel_statistics()
        if file is not None:
            if self._write_trace(file, pending):
                # What is written ends with a whole record; that some are missing shows in their number.
                file.truncate(file.tell() // RECORD_BYTES * RECORD_BYTES)
            file.close()

    def _write_trace(self, file: BinaryIO, pending: bytes) -> bytes:
        """Write what waits, then what the ring holds; returns what a full disk did not take. The ring keeps the rest
        meanwhile, and counts what it has no room for."""
        while pending := pending or take_records(self._engine.trace_ring):
            try:
                pending = pending[file.write(pending) :]
            except OSError:
                break
        return pending

    # -- control operations ---------------------------------------------------------------------------------------

    def _operate(self, operation: int, argument: int = 0) -> int:
        control = self._engine.control
        with self._operations:
            if self._wake_fd < 0:
                raise HarnessError(f"engine of {self.image_name}: closed")
            control[es.OPERATION_AT] = operation
            control[es.ARGUMENT_AT] = argument
            control[es.REQUEST_AT] += 1
            os.eventfd_write(self._wake_fd, 1)
            deadline = time.monotonic() + OPERATION_DEADLINE_S
            pause_s = 20e-6
            while control[es.ACKNOWLEDGED_AT] != control[es.REQUEST_AT]:
                if time.monotonic() > deadline:
                    raise DeadlineExceeded(
                        f"engine of {self.image_name}: operation {operation} not taken within {OPERATION_DEADLINE_S} s"
                    )
                time.sleep(pause_s)
                pause_s = min(2 * pause_s, 1e-3)
            return int(control[es.RESULT_AT])

    def set_mode(self, mode: int) -> None:
        """Change the mode between two passes. Raises DeadlineExceeded if the engine does not take it."""
        self._operate(es.OPERATION_MODE, mode)

    def freeze_and_announce(self, updates: int) -> int:
        """Freeze all tables and raise upd_enable in one step; returns the pause of the dataplane in ns."""
        return self._operate(es.OPERATION_ANNOUNCE, updates)

    def unfreeze(self) -> None:
        """End the frozen generation, after the snapshot was read or on abort."""
        self._operate(es.OPERATION_UNFREEZE)

    def stop_announcing(self) -> None:
        """Lower upd_enable, take back a commit and empty st_q_out (abort; its consumer must have ended)."""
        self._operate(es.OPERATION_STOP_ANNOUNCING)

    def commit(self) -> None:
        """The switchover is about to happen: no abort from here on, and stop at the second drain packet.

        Raises HarnessError when announcing has already ended (st_q_out ran over), so that nothing was committed.
        """
        if self._operate(es.OPERATION_COMMIT) != 0:
            raise HarnessError("commit refused: st_q_out overflowed or nothing is being announced")

    def set_drain_token(self, token: bytes) -> None:
        """The 16 bytes a drain packet must carry."""
        if len(token) != 16:
            raise ValueError(f"drain token of {len(token)} bytes: 16 are needed")
        self._engine.drain_token[:] = np.frombuffer(token, np.uint8)

    # -- statelets --------------------------------------------------------------------------------------------------

    def take_statelets(self, out: np.ndarray, limit_bytes: int) -> tuple[int, int, int]:
        """Consume st_q_out: (bytes written to `out`, statelets, sequence number of the first)."""
        taken = take(self._engine.statelet_ring, out, limit_bytes, self._take_result)
        return int(taken), int(self._take_result[0]), int(self._take_result[1])

    @property
    def statelets_closed(self) -> bool:
        """Whether the drain closed st_q_out and everything on it was taken."""
        state = self._engine.statelet_ring.state
        return bool(state[CLOSED]) and bool(state[PUT] == state[TAKEN])

    @property
    def announcing_overflowed(self) -> bool:
        """Whether st_q_out ran over before the commit, which ended announcing."""
        return bool(self._engine.status[es.OVERFLOWED_AT])

    @property
    def drained(self) -> tuple[int, ...]:
        """Per port, when its drain packet was taken (monotonic ns; 0: not yet)."""
        return tuple(self._port(port, es.DRAINED_NS) for port in range(len(self._sockets)))

    def install_statelets(self, data: np.ndarray, nbytes: int) -> tuple[int, int]:
        """Install the statelets in `data[:nbytes]`: (installed, 0 or a negative error); not while active."""
        result = install_statelets(self._image.install, self.tables, data, nbytes, self._install_result)
        return int(result), int(self._install_result[0])

    def install_duplicates(self, data: np.ndarray, nbytes: int) -> tuple[int, int]:
        """Process the duplicated frames in `data[:nbytes]` with their output suppressed; as `install_statelets`."""
        result = install_duplicates(
            self._image.announce,
            self._image.install,
            self._image.forward,
            self.tables,
            data,
            nbytes,
            self._install_scratch,
            self._install_result,
        )
        return int(result), int(self._install_result[0])

    # -- what it counts -----------------------------------------------------------------------------------------------

    def _port(self, port: int, word: int) -> int:
        return int(self._engine.status[es.PORTS_AT + port * es.PORT_WORDS + word])

    def _read_kernel_statistics(self) -> None:
        """Add what the kernel counted per socket since the last reading to the status page."""
        for port, sock in enumerate(self._sockets):
            # OSError: not an AF_PACKET socket, or closed already.
            with self._statistics, contextlib.suppress(OSError):
                counted = read_statistics(sock)
                at = es.PORTS_AT + port * es.PORT_WORDS
                self._engine.status[at + es.KERNEL_RECEIVED] += counted.received_packets
                self._engine.status[at + es.KERNEL_DROPPED] += counted.dropped_packets

    def status(self) -> dict[str, Any]:
        """Counters of the instance, per port, and by the image's drop reasons."""
        self._read_kernel_statistics()
        return read_status(self._engine.status, len(self._sockets), self._image.reasons)
