from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest

from harness.dataplane import engine_state as es
from harness.dataplane.status_page import map_status_page, open_status_page
from harness.experiment.sampling import KERNEL_EVERY, Sampler, Watched, map_load_page, port_word
from harness.report.live import LiveSample
from harness.testbed.counters import FabricCounters

WORDS = {
    "slot_index": 0,
    "slot_sent_packets": 1,
    "slot_received_packets": 2,
    "slot_rtt_sum_ns": 3,
    "slot_rtt_max_ns": 4,
    "due_packets": 5,
    "lost_packets_estimate": 6,
    "slot_late_packets": 7,
}
WAIT_S = 20.0


class FakeCounters:
    """Counts how often it was asked; fails from the third time on, as during tear-down."""

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self) -> FabricCounters:
        self.asked += 1
        if self.asked > 2:
            raise OSError("gone")
        return FabricCounters(self.asked, self.asked, (), ())


def watched(pages: dict[str, np.ndarray], load: dict[str, int]) -> Watched:
    page = np.zeros(64, np.int64)
    for name, value in load.items():
        page[WORDS[name]] = value
    return Watched(pages, page, WORDS, {}, FakeCounters(), frame_bits_both_ways=2 * 8 * 500)


def sample(watch: Watched, samples: int) -> tuple[Sampler, list[LiveSample]]:
    """Run a sampler until it has shown so many samples."""
    shown: list[LiveSample] = []
    enough = threading.Event()

    def show(live: LiveSample) -> None:
        shown.append(live)
        if len(shown) >= samples:
            enough.set()

    sampler = Sampler(watch, 100_000, show)
    sampler.start(0)
    assert enough.wait(WAIT_S)
    sampler.stop()
    return sampler, shown


def test_queues_are_sampled_every_time_and_the_kernel_every_fifth() -> None:
    page = np.zeros(es.STATUS_WORDS, np.int64)
    page[es.PORTS_AT + es.PKT_Q_DEPTH] = 4
    page[es.PORTS_AT + es.PORT_WORDS + es.PKT_Q_DEPTH] = 9
    page[es.PORTS_AT + es.PORT_WORDS + es.PKT_Q_OVERFLOW] = 2
    page[es.ST_Q_DEPTH_AT] = 31
    sampler, shown = sample(watched({"source": page}, {}), 3 * KERNEL_EVERY)
    series = sampler.series
    assert len(series.queues) == len(shown)
    first = series.queues[0]
    assert (first.node, first.pkt_q_packets, first.pkt_q_overflow_packets) == ("source", (4, 9), (0, 2))
    assert first.st_q_out_packets == 31
    times = [entry.time_ns for entry in series.queues]
    assert times == sorted(times)
    # The last sample of all, at the end, reads the kernel as well.
    assert len(series.host) == (len(shown) - 1 + KERNEL_EVERY - 1) // KERNEL_EVERY + 1
    assert [counters.started_ns for counters in series.fabric] == [1, 2], "a failing reading must end nothing"
    assert shown[0].pkt_q_packets == 9


def test_the_live_figures_count_both_directions() -> None:
    load = {
        "slot_index": 7,
        "slot_sent_packets": 40,
        "slot_received_packets": 30,
        "slot_rtt_sum_ns": 30 * 11_000_000,
        "slot_rtt_max_ns": 14_000_000,
        "slot_late_packets": 2,
        "due_packets": 1000,
        "lost_packets_estimate": 3,
    }
    sampler, shown = sample(watched({}, load), 4)
    (slot,) = sampler.series.load
    assert slot.time_ns == 700_000_000, "of the slot, once, however often it was seen"
    assert (slot.sent_packets, slot.received_packets, slot.late_packets) == (40, 30, 2)
    live = shown[0]
    # 40 requests of 4000 bits and as many replies in 100 ms.
    assert live.offered_bps == pytest.approx(3_200_000)
    assert live.received_bps == pytest.approx(2_400_000)
    assert (live.intended_packets, live.lost_packets) == (1000, 3)
    assert (live.rtt_mean_ns, live.rtt_max_ns) == (11_000_000, 14_000_000)
    assert live.pkt_q_packets == 0
    assert live.phase == sampler.phase


def test_before_the_first_slot_nothing_is_known() -> None:
    _, shown = sample(watched({}, {"slot_index": -1}), 1)
    assert (shown[0].offered_bps, shown[0].received_bps, shown[0].rtt_mean_ns, shown[0].rtt_max_ns) == (None,) * 4


def test_a_slot_without_replies_has_no_rtt() -> None:
    _, shown = sample(watched({}, {"slot_index": 0, "slot_sent_packets": 5}), 1)
    assert shown[0].received_bps == 0
    assert (shown[0].rtt_mean_ns, shown[0].rtt_max_ns) == (None, None)


def test_a_sampler_that_never_started_can_be_stopped() -> None:
    sampler = Sampler(watched({}, {}), 100_000, lambda _sample: None)
    assert sampler.stop().queues == []


def test_pages_are_read_while_another_process_writes(tmp_path: Path) -> None:
    written = open_status_page(tmp_path / "source.status")
    page = map_status_page(tmp_path / "source.status")
    load = tmp_path / "loadgen.status"
    load.write_bytes(np.arange(64, dtype=np.int64).tobytes())
    written[es.PORTS_AT + es.PORT_WORDS + es.PROCESSED] = 17
    assert port_word(page, 1, es.PROCESSED) == 17
    assert map_load_page(load).tolist() == list(range(64))
    with pytest.raises(ValueError, match="read-only"):
        map_load_page(load)[0] = 1
