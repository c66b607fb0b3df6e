from __future__ import annotations

import dataclasses

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from harness.measure.metrics import traffic_metrics
from harness.measure.series import SERIES_EDGES_NS, traffic_series

MS = 1_000_000
START_NS = 5_000 * MS


def test_by_hand(records) -> None:
    # Packets at 0, 50, 100, 150, 200 ms; the third is lost, the fourth arrives 120 ms after it was due.
    series = traffic_series(records([10, 12, None, 120, 10], spacing_ms=50, unsent=[2]))
    assert series.start_ns.tolist() == [START_NS, START_NS + 100 * MS, START_NS + 200 * MS]
    assert series.intended_packets.tolist() == [2, 2, 1]
    assert series.sent_packets.tolist() == [2, 1, 1]
    assert series.received_packets.tolist() == [2, 1, 1]
    assert series.arrived_packets.tolist() == [2, 0, 2]
    assert series.lost_packets.tolist() == [0, 1, 0]
    assert series.late_packets.tolist() == [0, 1, 0]
    assert series.rtt_p50_ns.tolist() == [10 * MS, 120 * MS, 10 * MS]
    assert series.rtt_max_ns.tolist() == [12 * MS, 120 * MS, 10 * MS]
    edge_10 = SERIES_EDGES_NS.index(10 * MS)
    assert series.rtt_counts[0, edge_10] == 1
    assert series.rtt_counts[0].sum() == 2


def test_exactly_15_ms_is_not_late(records) -> None:
    assert traffic_series(records([15, 15.000001])).late_packets.tolist() == [1]


def test_intervals_begin_at_the_anchor(records) -> None:
    series = traffic_series(records([10] * 30, spacing_ms=10), start_ns=START_NS + 130 * MS)
    assert (START_NS + 130 * MS) in series.start_ns.tolist()
    assert series.start_ns[0] <= START_NS < series.start_ns[1]
    assert series.intended_packets.sum() == 30


def test_nothing_gives_no_interval(records) -> None:
    series = traffic_series(records([]))
    assert all(len(getattr(series, f.name)) == 0 for f in dataclasses.fields(series) if f.name != "interval_ns")


@given(
    rtts=st.lists(st.one_of(st.none(), st.floats(1, 400)), min_size=1, max_size=60),
    server=st.lists(st.one_of(st.none(), st.floats(1, 50)), max_size=20),
)
def test_sums_agree_with_the_run(records, rtts, server) -> None:
    r = records(rtts, spacing_ms=17, server_delays_ms=server)
    series, run = traffic_series(r), traffic_metrics(r)
    assert series.intended_packets.sum() == run.intended_packets
    assert series.lost_packets.sum() == run.lost_packets
    assert series.late_packets.sum() == run.late_packets
    assert series.arrived_packets.sum() == series.received_packets.sum() == run.delivered_packets
    assert series.server_lost_packets.sum() == run.server_lost_packets
    late_bucket = SERIES_EDGES_NS.index(15 * MS)
    np.testing.assert_array_equal(series.rtt_counts[:, late_bucket + 1 :].sum(axis=1), series.late_packets)
    assert series.rtt_max_ns.max() == (run.rtt_max_ns or 0)
