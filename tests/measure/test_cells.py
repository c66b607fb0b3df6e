from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.measure.cells import CellRecords, announcements, in_wrong_cell
from harness.measure.metrics import Window, traffic_metrics
from harness.measure.series import traffic_series

MS = 1_000_000
GRACE_NS = 7_500_000


def wrong(sent, arrivals, grace_ns=GRACE_NS):
    """sent: (flow, time, cell, announced) of each request; arrivals: (flow, time, cell) of each packet that came."""
    flow, sent_ns, cell, announced = (np.array(column) for column in zip(*sent, strict=True))
    known = announcements(flow.astype(np.uint32), sent_ns, cell.astype(np.uint16), announced.astype(np.bool_))
    flow, received_ns, cell = (np.array(column) for column in zip(*arrivals, strict=True))
    return in_wrong_cell(known, flow.astype(np.uint32), received_ns, cell.astype(np.uint16), grace_ns).tolist()


ATTACHED = [(0, 1 * MS, 3, True), (1, 1 * MS, 8, True)]
MOVED = [*ATTACHED, (0, 100 * MS, 5, True)]


@pytest.mark.parametrize(
    ("arrived_ns", "cell", "expected"),
    [
        (50 * MS, 3, False),
        (50 * MS, 5, True),  # a cell it has not yet announced
        (100 * MS, 3, False),  # the announcement of this very moment was not sent before
        (100 * MS + 1, 3, False),
        (100 * MS + GRACE_NS, 3, False),
        (100 * MS + GRACE_NS + 1, 3, True),
        (100 * MS + GRACE_NS + 1, 5, False),
        (100 * MS + GRACE_NS, 9, False),  # within the grace any cell is excused
        (900 * MS, 3, True),
        (1 * MS, 9, False),  # before anything was announced
    ],
)
def test_the_last_announcement_decides_and_is_excused_for_the_grace(arrived_ns, cell, expected):
    assert wrong(MOVED, [(0, arrived_ns, cell)]) == [expected]


def test_another_subscribers_cell_is_no_excuse_and_no_offence():
    assert wrong(MOVED, [(1, 200 * MS, 8), (1, 200 * MS, 5), (2, 200 * MS, 5)]) == [False, True, False]


def test_what_was_never_sent_announces_nothing_and_what_never_arrived_is_in_no_cell():
    assert wrong([*ATTACHED, (0, 0, 5, True)], [(0, 200 * MS, 3), (0, 0, 5)]) == [False, False]


def test_packets_between_announcements_say_nothing():
    assert wrong([*ATTACHED, (0, 100 * MS, 5, False)], [(0, 200 * MS, 3)]) == [False]


def test_a_repeated_announcement_does_not_begin_the_grace_again():
    repeated = [*MOVED, (0, 105 * MS, 5, True), (0, 110 * MS, 5, True)]
    assert wrong(repeated, [(0, 107 * MS, 3), (0, 108 * MS, 3), (0, 108 * MS, 5)]) == [False, True, False]


def test_a_return_to_the_cell_before_is_a_handover_of_its_own():
    back = [*MOVED, (0, 120 * MS, 3, True)]
    assert wrong(back, [(0, 125 * MS, 5), (0, 128 * MS, 5), (0, 128 * MS, 3)]) == [False, True, False]


def test_two_announcements_of_one_burst_count_in_order():
    burst = [*ATTACHED, (0, 100 * MS, 5, True), (0, 100 * MS, 6, True)]
    assert wrong(burst, [(0, 110 * MS, 5), (0, 110 * MS, 6)]) == [True, False]


times = st.integers(1, 60)
sent_packets = st.lists(st.tuples(st.integers(0, 3), times, st.integers(0, 3), st.booleans()), min_size=1, max_size=40)
arriving = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 80), st.integers(0, 3)), min_size=1, max_size=40)


@settings(max_examples=200, deadline=None)
@given(sent_packets, arriving, st.integers(0, 10))
def test_equals_a_walk_through_time(sent, arrivals, grace_ns):
    sent = sorted(sent, key=lambda packet: packet[1])
    expected = []
    for flow, arrived_ns, cell in arrivals:
        present, since_ns = None, 0
        for whose, sent_ns, announced_cell, announced in sent:
            if whose == flow and announced and sent_ns < arrived_ns and announced_cell != present:
                present, since_ns = announced_cell, sent_ns
        expected.append(arrived_ns > 0 and present is not None and cell != present and arrived_ns - since_ns > grace_ns)
    assert wrong(sent, arrivals, grace_ns) == expected


@pytest.fixture
def subscribers(records):
    """Ten round trips of 20 ms of one subscriber in cell 5, 1 ms apart; packets 4 and 5 come back in cell 3."""
    cell = np.full(10, 5, np.uint16)
    reply_cell = cell.copy()
    reply_cell[[4, 5]] = 3
    cells = CellRecords(cell, np.arange(10) == 0, reply_cell, np.array([5, 3, 3], np.uint16))
    # Server-originated: the last one is never received.
    return records([20] * 10, flows=1, server_delays_ms=[20, 20, None], cells=cells)


def test_packets_in_a_wrong_cell_are_lost_in_the_figures(subscribers):
    assert np.flatnonzero(subscribers.wrong_cell).tolist() == [4, 5]
    assert subscribers.server_wrong_cell.tolist() == [False, True, False]
    found = traffic_metrics(subscribers, late_ns=15 * MS)
    assert (found.intended_packets, found.delivered_packets, found.lost_packets) == (10, 8, 2)
    assert (found.wrong_cell_packets, found.late_packets) == (2, 8)
    assert found.loss_s == pytest.approx(2 / 1000)
    assert found.rtt_late_s == pytest.approx(10 / 1000)
    # Between the arrivals of packets 3 and 6.
    assert found.longest_gap_ns == 3 * MS
    assert (found.server_delivered_packets, found.server_lost_packets) == (1, 2)
    start_ns = int(subscribers.intended_ns[0])
    elsewhere = traffic_metrics(subscribers, Window(start_ns, start_ns + 4 * MS))
    assert (elsewhere.lost_packets, elsewhere.wrong_cell_packets) == (0, 0)


def test_packets_in_a_wrong_cell_are_lost_in_the_series(subscribers):
    series = traffic_series(subscribers, interval_ns=5 * MS)
    assert series.wrong_cell_packets.tolist() == [1, 1, 0, 0, 0, 0]
    assert series.lost_packets.tolist() == [1, 1, 0, 0, 0, 0]
    assert series.received_packets.tolist() == [4, 4, 0, 0, 0, 0]
    assert series.arrived_packets.sum() == 8
    assert series.rtt_counts.sum() == 8
