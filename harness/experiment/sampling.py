"""What is watched while a run goes on: queues, links, host, and the moment shown to whoever looks.

A thread beside the run reads the status pages, which cost no system call, at every interval, and the kernel's counters
at every fifth. Nothing here feeds a result but maxima over time and the series; results come from the records.
"""

from __future__ import annotations

import contextlib
import mmap
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from harness.dataplane import engine_state as es
from harness.errors import HarnessError
from harness.measure.host import HostSample, read_host
from harness.report.live import LiveSample
from harness.testbed.counters import FabricCounters

KERNEL_EVERY = 5
LOAD_PAGE_WORDS = 64
SLOT_S = 0.1
SLOT_NS = 100_000_000


@dataclass(frozen=True)
class QueueSample:
    """Depths of one instance's queues; ports in order."""

    node: str
    time_ns: int
    pkt_q_packets: tuple[int, int]
    pkt_q_overflow_packets: tuple[int, int]
    st_q_out_packets: int


@dataclass(frozen=True)
class LoadSlot:
    """What the load generator counted in one complete 100 ms of the load. `time_ns`: their beginning, CLOCK_MONOTONIC;
    lost_estimate_packets: overdue since the start."""

    time_ns: int
    sent_packets: int
    received_packets: int
    late_packets: int
    rtt_sum_ns: int
    rtt_max_ns: int
    lost_estimate_packets: int
    frame_bits_both_ways: int


@dataclass
class Series:
    """Everything sampled in a run, in order of time."""

    queues: list[QueueSample] = field(default_factory=list)
    load: list[LoadSlot] = field(default_factory=list)
    fabric: list[FabricCounters] = field(default_factory=list)
    host: list[HostSample] = field(default_factory=list)


def map_load_page(path: Path) -> np.ndarray:
    """Status page of load generator or echoserver, int64[64], read-only."""
    with path.open("rb") as file:
        return np.frombuffer(mmap.mmap(file.fileno(), LOAD_PAGE_WORDS * 8, prot=mmap.PROT_READ), np.int64)


def port_word(page: np.ndarray, port: int, word: int) -> int:
    """One counter of one port."""
    return int(page[es.PORTS_AT + port * es.PORT_WORDS + word])


def _nothing() -> None:
    pass


@dataclass(frozen=True)
class Watched:
    """Where to look: status pages of the instances and the load generator (None: there is none), words of the latter by
    name. refresh: brings pages of other hosts up to the moment."""

    instances: Mapping[str, np.ndarray]
    loadgen: np.ndarray | None
    loadgen_words: Mapping[str, int]
    pids: Mapping[str, int]
    counters: Callable[[], FabricCounters]
    frame_bits_both_ways: int
    refresh: Callable[[], None] = _nothing


class Sampler:
    """Samples from `start` to `stop`; `show` gets a LiveSample at every interval."""

    def __init__(self, watched: Watched, interval_ns: int, show: Callable[[LiveSample], None]) -> None:
        self.series = Series()
        self.phase = "warm-up"
        self._watched = watched
        self._interval_ns = interval_ns
        self._show = show
        self._stop = threading.Event()
        self._origin_ns = time.monotonic_ns()
        self._last_slot = -1
        self._thread = threading.Thread(target=self._run, name="sampler", daemon=True)

    def start(self, origin_ns: int) -> None:
        """`origin_ns`: where the elapsed time shown counts from."""
        self._origin_ns = origin_ns
        self._thread.start()

    def stop(self) -> Series:
        """End and return what was sampled."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(5.0)
        return self.series

    def _run(self) -> None:
        number = 0
        next_ns = time.monotonic_ns()
        while not self._stop.is_set():
            self._sample(kernel=number % KERNEL_EVERY == 0)
            number += 1
            next_ns = max(next_ns + self._interval_ns, time.monotonic_ns())
            self._stop.wait((next_ns - time.monotonic_ns()) / 1e9)
        self._sample(kernel=True)

    def _sample(self, *, kernel: bool) -> None:
        with contextlib.suppress(HarnessError):  # whoever waits for a host that is lost says so
            self._watched.refresh()
        now_ns = time.monotonic_ns()
        for node, page in self._watched.instances.items():
            self.series.queues.append(
                QueueSample(
                    node,
                    now_ns,
                    (port_word(page, 0, es.PKT_Q_DEPTH), port_word(page, 1, es.PKT_Q_DEPTH)),
                    (port_word(page, 0, es.PKT_Q_OVERFLOW), port_word(page, 1, es.PKT_Q_OVERFLOW)),
                    int(page[es.ST_Q_DEPTH_AT]),
                )
            )
        if self._watched.loadgen is not None:
            self._sample_load(self._watched.loadgen)
        if kernel:
            with contextlib.suppress(OSError, HarnessError):  # a reading lost to tear-down is no reason to end a run
                self.series.fabric.append(self._watched.counters())
            self.series.host.append(read_host(self._watched.pids))
        self._show(self._live(now_ns))

    def _sample_load(self, page: np.ndarray) -> None:
        """Take over the last complete slot, unless it is known or the next one came in between."""
        words = self._watched.loadgen_words
        index = int(page[words["slot_index"]])
        slot = LoadSlot(
            time_ns=self._origin_ns + index * SLOT_NS,
            sent_packets=int(page[words["slot_sent_packets"]]),
            received_packets=int(page[words["slot_received_packets"]]),
            late_packets=int(page[words["slot_late_packets"]]),
            rtt_sum_ns=int(page[words["slot_rtt_sum_ns"]]),
            rtt_max_ns=int(page[words["slot_rtt_max_ns"]]),
            lost_estimate_packets=int(page[words["lost_packets_estimate"]]),
            frame_bits_both_ways=self._watched.frame_bits_both_ways,
        )
        if self._last_slot < index == int(page[words["slot_index"]]):
            self._last_slot = index
            self.series.load.append(slot)

    def _live(self, now_ns: int) -> LiveSample:
        deepest = max(
            (port_word(page, port, es.PKT_Q_DEPTH) for page in self._watched.instances.values() for port in (0, 1)),
            default=0,
        )
        sample = LiveSample(phase=self.phase, elapsed_ns=now_ns - self._origin_ns, pkt_q_packets=deepest)
        page = self._watched.loadgen
        return sample if page is None else self._with_load(sample, page)

    def _with_load(self, sample: LiveSample, page: np.ndarray) -> LiveSample:
        words = self._watched.loadgen_words

        def word(name: str) -> int:
            return int(page[words[name]])

        begun = word("slot_index") >= 0
        received = word("slot_received_packets")
        scale = self._watched.frame_bits_both_ways / SLOT_S
        return replace(
            sample,
            offered_bps=word("slot_sent_packets") * scale if begun else None,
            received_bps=received * scale if begun else None,
            intended_packets=word("due_packets"),
            lost_packets=word("lost_packets_estimate"),
            rtt_mean_ns=word("slot_rtt_sum_ns") // received if begun and received else None,
            rtt_max_ns=word("slot_rtt_max_ns") if begun and received else None,
        )
