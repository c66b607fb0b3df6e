from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.measure.metrics import Window, rtt_histogram, traffic_metrics, whole_run

MS = 1_000_000
START_NS = 5_000 * MS


def test_by_hand(records) -> None:
    # Ten packets 100 ms apart: 10 per second. One lost, two over 15 ms (15.0 is not), one at the limit.
    rtts = [10, 10, 10, None, 10, 15, 16, 30, 10, 10]
    m = traffic_metrics(records(rtts, spacing_ms=100))
    assert (m.intended_packets, m.delivered_packets, m.lost_packets, m.late_packets) == (10, 9, 1, 2)
    assert m.offered_pps == pytest.approx(10)
    assert m.received_pps == pytest.approx(9)
    assert m.offered_bps == pytest.approx(2 * 512 * 8 * 10)
    assert m.received_bps == pytest.approx(2 * 512 * 8 * 9)
    assert m.loss_s == pytest.approx(0.1)
    assert m.rtt_late_s == pytest.approx(0.3)
    assert (m.lossy_intervals, m.lossy_intervals_s) == (1, pytest.approx(0.1))
    assert (m.rtt_p50_ns, m.rtt_p90_ns, m.rtt_max_ns) == (10 * MS, 30 * MS, 30 * MS)
    # Arrivals at 210 and 410 ms: the gap around the lost packet.
    assert (m.longest_gap_ns, m.longest_gap_start_ns) == (200 * MS, START_NS + 210 * MS)
    # Bins of 500 ms: four RTTs of 10 ms; then (15 + 16 + 30 + 10 + 10) / 5.
    assert m.largest_bin_mean_rtt_ns == pytest.approx(16.2 * MS)


def test_window_is_half_open_by_intended_send_time(records) -> None:
    found = traffic_metrics(records([10, 11, 12, 13], spacing_ms=1), Window(START_NS + MS, START_NS + 3 * MS))
    assert (found.intended_packets, found.rtt_p50_ns, found.rtt_max_ns) == (2, 11 * MS, 12 * MS)


def test_outage_at_the_end_counts_as_gap(records) -> None:
    found = traffic_metrics(records([10, 10] + [None] * 8))
    assert found.longest_gap_ns == 8 * MS


def test_outage_at_the_start_counts_as_gap(records) -> None:
    found = traffic_metrics(records([None] * 6 + [10, 10, 10]))
    assert (found.longest_gap_ns, found.longest_gap_start_ns) == (6 * MS, START_NS + 10 * MS)


def test_nothing_received_is_unknown_not_zero(records) -> None:
    found = traffic_metrics(records([None, None, None]))
    assert (found.rtt_p50_ns, found.largest_bin_mean_rtt_ns, found.rtt_mean_ns) == (None, None, None)
    assert (found.lost_packets, found.longest_gap_ns) == (3, 2 * MS)
    assert found.loss_s == pytest.approx(0.003)


def test_nothing_intended_is_unknown(records) -> None:
    found = traffic_metrics(records([]))
    assert (found.intended_packets, found.loss_s, found.offered_pps, found.longest_gap_ns) == (0, None, None, None)


def test_reordering_counts_the_overtaken_packet_of_its_flow(records) -> None:
    # Packet 0 (flow 0) arrives after packet 2 (flow 0): reordered. Packet 1 (flow 1) arrives before 3 (flow 1).
    found = traffic_metrics(records([20, 10, 10, 10], flow=[0, 1, 0, 1]))
    assert (found.reordered_packets, found.reordered_flows) == (1, 1)


def test_equal_arrival_times_are_in_order(records) -> None:
    assert traffic_metrics(records([12, 11, 10], flow=[0, 0, 0])).reordered_packets == 0


@given(packets=st.lists(st.tuples(st.integers(0, 3), st.one_of(st.none(), st.integers(5, 12))), max_size=40))
def test_reordering_equals_the_plain_definition(records, packets) -> None:
    flows = [flow for flow, _ in packets]
    found = records([rtt for _, rtt in packets], flow=flows, flows=4)
    arrival = found.received_ns
    expected = sum(
        1
        for i in range(len(packets))
        if arrival[i] and any(flows[j] == flows[i] and 0 < arrival[j] < arrival[i] for j in range(i + 1, len(packets)))
    )
    assert traffic_metrics(found).reordered_packets == expected


def test_server_originated_packets_are_counted_apart(records) -> None:
    found = traffic_metrics(records([10, 10], server_delays_ms=[5, None, 7]))
    assert (found.intended_packets, found.lost_packets) == (2, 0)
    assert (found.server_intended_packets, found.server_delivered_packets, found.server_lost_packets) == (3, 2, 1)
    assert (found.server_delay_p50_ns, found.server_delay_max_ns) == (5 * MS, 7 * MS)


def test_duplicates_are_summed(records) -> None:
    assert traffic_metrics(records([10, 10, 10], duplicates=[0, 2, 1])).duplicate_packets == 3


def test_every_figure_is_a_plain_number(records) -> None:
    found = dataclasses.asdict(traffic_metrics(records([10, 20, None], server_delays_ms=[5])))
    assert all(value is None or type(value) in (int, float) for value in found.values()), found


def test_histogram_counts_the_late(records) -> None:
    r = records([10, 15, 15.000001, 40, None])
    assert rtt_histogram(r).count_above(15 * MS) == traffic_metrics(r).late_packets == 2


def test_empty_window_is_refused(records) -> None:
    with pytest.raises(ValueError, match="length"):
        traffic_metrics(records([10]), Window(5, 5))


def test_whole_run_holds_both_kinds(records) -> None:
    r = records([10, 10], server_delays_ms=[5] * 7)
    window = whole_run(r)
    assert np.all(r.server_intended_ns < window.end_ns)
    assert window.start_ns == START_NS
