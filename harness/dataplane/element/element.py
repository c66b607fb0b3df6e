"""An element: the sockets of the links it stands in, and the thread in which its loop serves them."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from harness.dataplane.element import state as at
from harness.dataplane.element.counters import read_directions
from harness.dataplane.element.fate import DRAW_BITS
from harness.dataplane.element.loop import operate, run_element
from harness.dataplane.packet_socket import mac_bytes, read_statistics
from harness.dataplane.scheduling import set_dataplane_scheduling
from harness.dataplane.status_page import open_status_page
from harness.errors import DeadlineExceeded, HarnessError

OPERATION_DEADLINE_S = 1.0
_STATISTICS_PERIOD_S = 0.1


@dataclass(frozen=True)
class DirectionConditions:
    """What the frames of one direction meet; see `harness.dataplane.element.fate`.

    Times in ns, probabilities from 0 to 1. `ipdv_table`: TABLE_ENTRIES quantiles of the variation in 1/TABLE_SCALE of
    `ipdv_ns`, each as likely as the other; None: uniform, with `ipdv_ns` as half-width. ValueError for anything else.
    """

    latency_ns: int = 0
    ipdv_ns: int = 0
    ipdv_table: Sequence[int] | None = None
    loss: float = 0.0
    duplication: float = 0.0
    reordering: float = 0.0

    def __post_init__(self) -> None:
        if self.latency_ns < 0 or self.ipdv_ns < 0:
            raise ValueError(f"latency {self.latency_ns} ns, ipdv {self.ipdv_ns} ns: must not be negative")
        if self.ipdv_table is not None and len(self.ipdv_table) != at.TABLE_ENTRIES:
            raise ValueError(f"ipdv table of {len(self.ipdv_table)} entries: {at.TABLE_ENTRIES} are needed")
        for name in ("loss", "duplication", "reordering"):
            if not 0.0 <= getattr(self, name) <= 1.0:  # false for NaN, too
                raise ValueError(f"{name} {getattr(self, name)}: must be a probability from 0 to 1")


@dataclass(frozen=True)
class ElementSettings:
    """Sizes and timing of an element; times in ns, sizes in packets or bytes as named.

    `counted_addresses`: per link, the MAC addresses of the node whose IPv4 frames are counted in classes of their own,
    up to CLASSES - 1 of them.
    """

    seed: int
    counted_addresses: Sequence[Sequence[str]] = ()
    tick_ns: int = 200_000
    burst_packets: int = 64
    queue_packets: int = 16_384
    slot_bytes: int = 1_536
    vnet_header: bool = False
    scheduler: str = "auto"
    status_path: Path | None = field(default=None)


class Element:
    """Hands frames on between the two sockets of each link: `sockets` = outer and inner of link 0, of link 1 ...

    Direction 2k is that of frames from the outer to the inner port of link k, 2k + 1 the other one. ValueError for
    sizes that cannot be served.
    """

    def __init__(self, sockets: list[socket.socket], settings: ElementSettings) -> None:
        self._sockets, self._settings = sockets, settings
        self._wake_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._state = at.make_element_state(
            fds=[sock.fileno() for sock in sockets],
            wake_fd=self._wake_fd,
            seed=settings.seed,
            slot_bytes=settings.slot_bytes,
            queue_packets=settings.queue_packets,
            burst_packets=settings.burst_packets,
            vnet_header=settings.vnet_header,
            status=open_status_page(settings.status_path),
        )
        self._state.control[at.TICK_NS_AT] = settings.tick_ns
        for link, addresses in enumerate(settings.counted_addresses):
            for kind, address in enumerate(addresses):
                self._state.addresses[2 * link : 2 * link + 2, kind] = int.from_bytes(mac_bytes(address))
        self._operations = threading.Lock()
        self._statistics = threading.Lock()
        self._thread: threading.Thread | None = None
        self._clerk: threading.Thread | None = None
        self._ending = threading.Event()
        self._started = threading.Event()
        self._failure: BaseException | None = None
        self.scheduler = "other"

    def start(self) -> None:
        """Start the loop. HarnessError if it cannot run."""
        self._clerk = threading.Thread(target=self._keep_statistics, name="statistics", daemon=True)
        self._clerk.start()
        self._thread = threading.Thread(target=self._serve, name="element", daemon=True)
        self._thread.start()
        self._started.wait()
        if self._failure is not None:
            raise HarnessError(f"latency generator: {self._failure}") from self._failure

    def _serve(self) -> None:
        try:
            self.scheduler = set_dataplane_scheduling(self._settings.scheduler)
        except BaseException as error:
            self._failure = error
            return
        finally:
            self._started.set()
        run_element(self._state)

    def close(self) -> None:
        """End the loop and close the sockets. Doing it twice is no error."""
        if self._thread is not None and self._thread.is_alive():
            self._operate(at.OPERATION_EXIT)
            self._thread.join(OPERATION_DEADLINE_S)
        self._ending.set()
        if self._clerk is not None:
            self._clerk.join(OPERATION_DEADLINE_S)
        self._read_kernel_statistics()
        for sock in self._sockets:
            sock.close()
        with self._operations:
            wake_fd, self._wake_fd = self._wake_fd, -1
            if wake_fd >= 0:
                os.close(wake_fd)

    def set_conditions(self, direction: int, conditions: DirectionConditions) -> int:
        """Have a direction's frames meet `conditions` from now on; returns since when (CLOCK_MONOTONIC ns).

        Taken between two passes of the loop. What waits already keeps its moment, so that a smaller latency lets later
        frames overtake it, as in netem. Before `start` it holds from the start. DeadlineExceeded if the loop does not
        take it.
        """
        with self._operations:
            pending = self._state.pending
            times, odds = pending.times[direction], pending.odds[direction]
            times[at.LATENCY_NS], times[at.IPDV_NS] = conditions.latency_ns, conditions.ipdv_ns
            times[at.IS_TABULATED] = conditions.ipdv_table is not None
            pending.tables[direction] = 0 if conditions.ipdv_table is None else conditions.ipdv_table
            for place, odd in (
                (at.LOSS, conditions.loss),
                (at.DUPLICATION, conditions.duplication),
                (at.REORDERING, conditions.reordering),
            ):
                odds[place] = np.uint64(round(odd * (1 << DRAW_BITS)))
            return self._request(at.OPERATION_CONDITIONS, direction)

    def _operate(self, operation: int) -> int:
        with self._operations:
            return self._request(operation, 0)

    def _request(self, operation: int, argument: int) -> int:
        control = self._state.control
        if self._wake_fd < 0:
            raise HarnessError("latency generator: closed")
        control[at.OPERATION_AT] = operation
        control[at.ARGUMENT_AT] = argument
        control[at.REQUEST_AT] += 1
        if self._thread is None:
            operate(self._state)
        os.eventfd_write(self._wake_fd, 1)
        deadline = time.monotonic() + OPERATION_DEADLINE_S
        while control[at.ACKNOWLEDGED_AT] != control[at.REQUEST_AT]:
            if time.monotonic() > deadline:
                raise DeadlineExceeded(
                    f"latency generator: operation {operation} not taken within {OPERATION_DEADLINE_S} s"
                )
            time.sleep(50e-6)
        return int(control[at.APPLIED_NS_AT])

    # -- what it counts -----------------------------------------------------------------------------------------------

    def _keep_statistics(self) -> None:
        while not self._ending.wait(_STATISTICS_PERIOD_S):
            self._read_kernel_statistics()

    def _read_kernel_statistics(self) -> None:
        """Add what the kernel counted per socket since the last reading to the status page."""
        for port, sock in enumerate(self._sockets):
            # OSError: not an AF_PACKET socket, or closed already.
            with self._statistics, contextlib.suppress(OSError):
                counted = read_statistics(sock)
                word = at.DIRECTIONS_AT + port * at.DIRECTION_WORDS
                self._state.status[word + at.KERNEL_RECEIVED] += counted.received_packets
                self._state.status[word + at.KERNEL_DROPPED] += counted.dropped_packets

    def status(self) -> list[dict[str, Any]]:
        """Counters of every direction, see `read_directions`."""
        self._read_kernel_statistics()
        return read_directions(self._state.status, len(self._sockets))
