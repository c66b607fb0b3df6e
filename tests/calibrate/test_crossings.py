"""Probes are told apart by their order at every station, or not at all."""

from __future__ import annotations

import numpy as np
import pytest
from scapy.layers.inet import ICMP, IP, UDP
from scapy.layers.l2 import ARP, Ether

from harness.calibrate.crossings import Stations, crossings_of, first_of, probe_times
from harness.calibrate.loaded import lost_otherwise
from harness.dataplane.trace import CAPTURE_BYTES, TRACE_DTYPE

MS = 1_000_000
CHANGE = 30
COUNT = 60
TOWARDS_NS, BEYOND_NS, BACK_NS = 2_500_000, 5_100_000, 2_600_000


def stations(seed: int = 1) -> Stations:
    """The first CHANGE requests go through the source; replies go where the fabric steers when they come."""
    rng = np.random.default_rng(seed)
    sent_ns = 1000 * MS + np.arange(COUNT, dtype=np.int64) * 2 * MS
    requests_ns = sent_ns + TOWARDS_NS + rng.integers(0, 50_000, COUNT)
    replies_ns = requests_ns + BEYOND_NS
    received_ns = replies_ns + BACK_NS
    by_source = replies_ns < sent_ns[CHANGE]
    received_ns[:CHANGE][~by_source[:CHANGE]] = 0  # the destination knows nothing of these
    return Stations(
        sent_ns,
        received_ns,
        {"source": requests_ns[:CHANGE], "destination": requests_ns[CHANGE:]},
        {"source": replies_ns[by_source], "destination": replies_ns[~by_source]},
    )


def test_every_crossing_of_both_instances() -> None:
    given = stations()
    on_the_way = COUNT - np.count_nonzero(given.received_ns)
    assert on_the_way > 0
    found = crossings_of(given)
    assert list(found) == ["source", "destination"]
    assert (found["source"].sent, found["destination"].sent) == (CHANGE, COUNT - CHANGE)
    for instance, probes in (("source", CHANGE - on_the_way), ("destination", COUNT - CHANGE)):
        crossings = found[instance]
        assert crossings.towards_ns.size == found[instance].sent
        assert crossings.towards_ns.min() >= TOWARDS_NS
        assert crossings.towards_ns.max() < TOWARDS_NS + 50_000
        assert crossings.beyond_ns.tolist() == [BEYOND_NS] * probes
        assert crossings.back_ns.tolist() == [BACK_NS] * probes
        assert crossings.round_trip_ns.size == probes
        assert crossings.round_trip_ns.min() >= TOWARDS_NS + BEYOND_NS + BACK_NS


def test_a_probe_missing_at_the_instance_leaves_its_times_unknown() -> None:
    whole = stations()
    lossy = Stations(
        whole.sent_ns,
        whole.received_ns,
        {**whole.requests_ns, "source": whole.requests_ns["source"][1:]},
        whole.replies_ns,
    )
    for crossings in crossings_of(lossy).values():
        assert crossings.towards_ns.size == crossings.beyond_ns.size == crossings.round_trip_ns.size == 0


def test_a_missing_reply_leaves_the_way_there_known() -> None:
    whole = stations()
    lossy = Stations(
        whole.sent_ns,
        whole.received_ns,
        whole.requests_ns,
        {**whole.replies_ns, "destination": whole.replies_ns["destination"][:-1]},
    )
    found = crossings_of(lossy)["destination"]
    assert found.towards_ns.size == COUNT - CHANGE
    assert found.beyond_ns.size == found.back_ns.size == 0


def test_nothing_sent_is_nothing_measured() -> None:
    none = np.zeros(0, np.int64)
    found = crossings_of(Stations(none, none, {"source": none}, {"source": none}))
    assert found["source"].sent == found["source"].towards_ns.size == 0


@pytest.mark.parametrize("port", [0, 1])
def test_only_datagrams_of_the_trace_are_probes(port: int) -> None:
    frames = [
        Ether() / IP() / UDP() / (b"x" * 40),
        Ether() / ARP(),
        Ether() / IP() / ICMP(),
        Ether() / IP() / UDP(),
        Ether(type=0x88B5) / (b"\x11" * 40),
    ]
    trace = np.zeros(len(frames) + 1, TRACE_DTYPE)
    for number, frame in enumerate(frames):
        data = bytes(frame)[:CAPTURE_BYTES]
        trace[number]["now_ns"], trace[number]["port"] = 100 + number, port
        trace[number]["captured"] = len(data)
        trace[number]["data"][: len(data)] = list(data)
    trace[-1]["port"], trace[-1]["captured"] = 255, 8  # a timer tick
    times = probe_times(trace)
    assert times[port].tolist() == [100, 103]
    assert times[1 - port].size == 0


def test_the_first_packets_are_told_apart_though_later_ones_were_lost() -> None:
    given = stations()
    torn = Stations(  # the last three requests reached the destination, their replies did not
        given.sent_ns,
        np.where(np.arange(COUNT) < COUNT - 3, given.received_ns, 0),
        given.requests_ns,
        {**given.replies_ns, "destination": given.replies_ns["destination"][:-3]},
    )
    assert crossings_of(torn)["destination"].beyond_ns.size == 0
    found = crossings_of(first_of(torn, COUNT - 5))
    assert found["destination"].sent == COUNT - CHANGE - 5
    assert set(found["destination"].beyond_ns.tolist()) == {BEYOND_NS}
    assert found["source"].sent == CHANGE


def test_packets_taken_together_are_cut_apart() -> None:
    given = stations()
    taken = {name: np.repeat(times[::5], 5)[: times.size] for name, times in given.requests_ns.items()}
    for count in range(CHANGE + 3, COUNT):
        cut = first_of(Stations(given.sent_ns, given.received_ns, taken, given.replies_ns), count)
        assert cut.requests_ns["source"].size == CHANGE
        assert cut.requests_ns["destination"].size == count - CHANGE
        assert sum(times.size for times in cut.replies_ns.values()) == count


def test_losses_far_from_a_change_of_the_steering_are_counted() -> None:
    given = stations()
    change_ns = int(given.sent_ns[CHANGE])
    assert lost_otherwise(given, [change_ns], 20 * MS) == 0
    given.received_ns[3] = 0
    assert lost_otherwise(given, [change_ns], 20 * MS) == 1
    assert lost_otherwise(given, [int(given.sent_ns[3]), change_ns], 20 * MS) == 0
