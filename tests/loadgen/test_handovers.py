from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from harness.errors import UsageError
from loadgen.handovers import draw_handovers
from loadgen.payload import ANNOUNCES, CELL_SHIFT
from loadgen.randomness import HANDOVERS, draws
from loadgen.schedule import build_schedule
from loadgen.workload import Subscribers, Workload

S, MS = 1_000_000_000, 1_000_000


def workload(behaviour, seed=1, rate_pps=2_000, duration_ns=5 * S, flows=20, new_flows_per_s=5):
    return Workload(
        rate_pps, duration_ns, flows, 100, new_flows_per_s, 6, seed=seed, arrivals="poisson", subscribers=behaviour
    )


@settings(max_examples=40, deadline=None)
@given(
    st.integers(2, 70),
    st.integers(5 * MS, 3 * S),
    st.sampled_from(["uniform", "exponential"]),
    st.integers(0, 1_000),
)
def test_tags_follow_the_handovers_one_packet_after_the_other(cells, mean_ns, law, seed):
    load = workload(Subscribers(cells, mean_ns, law), seed)
    offset_ns, flow, _, tag = build_schedule(load)
    # The same draws again, walked through packet by packet.
    random = draws(seed, HANDOVERS)
    flows = int(flow.max()) + 1
    home = random.integers(0, cells, flows)
    first_ns, last_ns = np.full(flows, -1), np.full(flows, -1)
    for f in range(flows):
        first_ns[f], last_ns[f] = offset_ns[flow == f].min(), offset_ns[flow == f].max()
    moved = [column.tolist() for column in draw_handovers(load.subscribers, random, first_ns, last_ns, home)]
    pending = {f: [(at, cell) for who, at, cell in zip(*moved, strict=True) if who == f] for f in range(flows)}
    present, attached = home.tolist(), set()
    for at, f, number in zip(offset_ns.tolist(), flow.tolist(), tag.tolist(), strict=True):
        announces = f not in attached
        attached.add(f)
        while pending[f] and pending[f][0][0] <= at:
            present[f], announces = pending[f].pop(0)[1], True
        assert number == present[f] << CELL_SHIFT | ANNOUNCES * announces
    assert not any(pending.values())


def handovers(law, subscribers=200, seconds=40):
    random = draws(11, HANDOVERS)
    home = random.integers(0, 8, subscribers)
    first_ns, last_ns = np.zeros(subscribers, np.int64), np.full(subscribers, seconds * S)
    who, at_ns, cell = draw_handovers(Subscribers(8, 2 * S, law), random, first_ns, last_ns, home)
    order = np.lexsort((at_ns, who))
    return home, who[order], at_ns[order], cell[order]


@pytest.mark.parametrize(
    ("law", "distribution"), [("uniform", stats.uniform(0, 4 * S)), ("exponential", stats.expon(0, 2 * S))]
)
def test_first_stay_has_the_law_asked_for(law, distribution):
    _, who, at_ns, _ = handovers(law, subscribers=2_000)
    starts = np.flatnonzero(np.diff(who, prepend=-1))
    assert starts.size == 2_000
    assert stats.kstest(at_ns[starts], distribution.cdf).pvalue > 0.01


def test_every_other_cell_is_entered_alike_and_the_own_never():
    home, who, _, cell = handovers("uniform")
    starts = np.diff(who, prepend=-1) != 0
    before = np.where(starts, home[who], np.roll(cell, 1))
    steps = (cell - before) % 8
    assert np.bincount(steps, minlength=8)[0] == 0
    assert stats.chisquare(np.bincount(steps, minlength=8)[1:]).pvalue > 0.01


def test_new_subscribers_attach_with_their_first_packet():
    _, flow, _, tag = build_schedule(workload(Subscribers(64, 2 * S)))
    _, first = np.unique(flow, return_index=True)
    assert first.size == 20 + 25
    assert np.all(tag[first] & ANNOUNCES)


def test_seed_changes_cells_and_times():
    tags = [build_schedule(workload(Subscribers(64, 2 * S), seed)).tag for seed in (1, 1, 2)]
    np.testing.assert_array_equal(tags[0], tags[1])
    assert not np.array_equal(tags[0], tags[2])


def test_subscribers_change_nothing_but_the_tags():
    plain, tagged = build_schedule(workload(None)), build_schedule(workload(Subscribers(64, 2 * S)))
    for name in ("offset_ns", "flow", "frame_bytes"):
        np.testing.assert_array_equal(getattr(plain, name), getattr(tagged, name))
    assert not plain.tag.any()


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"cells": 1}, "cells"),
        ({"cells": 65_536}, "cells"),
        ({"handover_mean_ns": 0}, "handover_mean_ns"),
        ({"handover_distribution": "normal"}, "uniform and exponential"),
    ],
)
def test_impossible_behaviour_is_refused(change, part):
    with pytest.raises(UsageError, match=part):
        Subscribers(**{"cells": 64, "handover_mean_ns": 2 * S, **change})
