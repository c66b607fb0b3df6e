from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import UsageError
from loadgen.schedule import build_schedule, flow_count, new_flow_slots, server_frame_sizes, server_offsets_ns
from loadgen.workload import Subscribers, Workload

S = 1_000_000_000


@st.composite
def workloads(draw: st.DrawFn) -> Workload:
    rate_pps = draw(st.integers(1, 20_000))
    packets = draw(st.integers(1, 4))
    return Workload(
        rate_pps=rate_pps,
        duration_ns=draw(st.integers(-(-S // rate_pps), max(5 * S, -(-S // rate_pps)))),
        flows=draw(st.integers(1, 300)),
        frame_bytes=draw(st.integers(74, 1514)),
        new_flows_per_s=draw(st.integers(0, rate_pps // (2 * packets))),
        new_flow_packets=packets,
        server_packets_per_s=draw(st.integers(0, 5_000)),
        seed=draw(st.integers(0, 1000)),
    )


@settings(max_examples=150)
@given(workloads())
def test_rate_is_exact_whatever_flows_open(workload: Workload) -> None:
    schedule = build_schedule(workload)
    n = workload.packets
    assert [array.dtype for array in schedule] == [np.int64, np.uint32, np.uint16, np.uint32]
    assert [array.size for array in schedule] == [n, n, n, n]
    assert schedule.offset_ns.tolist() == [i * S // workload.rate_pps for i in range(n)]
    assert schedule.offset_ns[-1] < workload.duration_ns
    assert np.all(schedule.frame_bytes == workload.frame_bytes)
    assert not schedule.tag.any()


@settings(max_examples=150)
@given(workloads())
def test_base_flows_send_equally_often_and_new_flows_are_numbered_as_they_open(workload: Workload) -> None:
    flow = build_schedule(workload).flow
    base = flow[flow < workload.flows]
    counts = np.bincount(base, minlength=workload.flows)
    assert counts.max() - counts.min() <= 1
    fresh = flow[flow >= workload.flows]
    opened, first = np.unique(fresh, return_index=True)
    assert np.all(np.diff(first) > 0)
    assert opened.tolist() == list(range(workload.flows, workload.flows + opened.size))
    assert flow_count(workload) == workload.flows + opened.size
    assert fresh.size == 0 or np.bincount(fresh).max() <= workload.new_flow_packets


@settings(max_examples=150)
@given(workloads())
def test_new_flows_keep_to_their_times_within_what_the_rate_allows(workload: Workload) -> None:
    schedule = build_schedule(workload)
    slots, flow = new_flow_slots(workload, schedule.offset_ns)
    assert np.all(np.diff(slots) > 0)
    interval_ns = S // workload.rate_pps + 1
    ages = np.array([0, 50_000_000, 200_000_000, S])[: workload.new_flow_packets]
    for number in np.unique(flow):
        opening_ns = (2 * (int(number) - workload.flows) + 1) * S // (2 * workload.new_flows_per_s)
        sent_ns = schedule.offset_ns[slots[flow == number]]
        wanted_ns = opening_ns + ages[: sent_ns.size]
        # Several packets may want the same place in the sequence: at most as many as flows times packets wait.
        assert np.all(sent_ns >= wanted_ns)
        assert np.all(sent_ns <= wanted_ns + (workload.new_flow_packets + 1) * 2 * interval_ns)


def test_flows_open_all_through_the_load_and_live_across_any_moment() -> None:
    workload = Workload(24_414, 15 * S, 128, 512, new_flows_per_s=100, new_flow_packets=5)
    schedule = build_schedule(workload)
    fresh = schedule.flow >= 128
    first, last = {}, {}
    for flow, offset_ns in zip(schedule.flow[fresh].tolist(), schedule.offset_ns[fresh].tolist(), strict=True):
        first.setdefault(flow, offset_ns)
        last[flow] = offset_ns
    openings = np.array(sorted(first.values()))
    assert openings.size == 1500
    assert np.abs(np.diff(openings) - 10_000_000).max() <= 2 * S / 24_414
    for moment_ns in range(S, 14 * S, S // 4):
        crossing = sum(first[flow] < moment_ns <= last[flow] for flow in first)
        assert crossing >= 95, moment_ns


def test_seed_changes_the_order_of_base_flows_and_nothing_else() -> None:
    schedules = [build_schedule(Workload(1000, S, 128, 512, 10, seed=seed)) for seed in (1, 1, 2)]
    np.testing.assert_array_equal(schedules[0].flow, schedules[1].flow)
    assert not np.array_equal(schedules[0].flow, schedules[2].flow)
    np.testing.assert_array_equal(schedules[0].flow >= 128, schedules[2].flow >= 128)


@settings(max_examples=100)
@given(workloads())
def test_server_packets_are_evenly_spaced_within_the_load(workload: Workload) -> None:
    offsets_ns = server_offsets_ns(workload)
    assert offsets_ns.size == workload.server_packets
    expected = [200_000_000 + k * S // workload.server_packets_per_s for k in range(workload.server_packets)]
    assert offsets_ns.tolist() == expected
    assert offsets_ns.size == 0 or offsets_ns[-1] < workload.duration_ns


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"rate_pps": 0}, "rate_pps"),
        ({"duration_ns": -1}, "duration_ns"),
        ({"flows": 0}, "flows"),
        ({"new_flow_packets": 0}, "new_flow_packets"),
        ({"new_flows_per_s": -1}, "new_flows_per_s"),
        ({"server_packets_per_s": -1}, "server_packets_per_s"),
        ({"arrivals": "bursts"}, "constant, poisson, on_off"),
        ({"on_ns": 0}, "on_ns"),
        ({"off_ns": 0}, "off_ns"),
        ({"arrivals": "on_off", "on_ns": 1, "off_ns": 1}, "too short"),
        ({"subscribers": Subscribers(2, 1), "flows": 1000}, "handovers"),
        ({"duration_ns": 999_999}, "0 packets"),
        ({"rate_pps": 10**7, "duration_ns": 60 * S}, "packets; 1 to"),
        ({"new_flows_per_s": 126, "new_flow_packets": 4}, "at most half"),
    ],
)
def test_impossible_workloads_are_refused_in_one_line(change: dict[str, object], part: str) -> None:
    possible = {"rate_pps": 1000, "duration_ns": S, "flows": 1, "frame_bytes": 512}
    Workload(**possible)  # type: ignore[arg-type]
    with pytest.raises(UsageError) as error:
        Workload(**{**possible, **change})  # type: ignore[arg-type]
    assert part in str(error.value)
    assert "\n" not in str(error.value)


def test_server_packets_have_the_mix_too() -> None:
    workload = Workload(1000, S, 1, 366, server_packets_per_s=1_500, frame_mix=((74, 7), (590, 4), (1514, 1)))
    sizes = server_frame_sizes(workload)
    assert sizes.size == workload.server_packets == 1_200
    assert np.bincount(sizes)[[74, 590, 1514]].tolist() == [700, 400, 100]


@pytest.mark.parametrize("arrivals", ["poisson", "on_off"])
def test_new_flows_take_the_first_free_place_at_or_after_their_time(arrivals: str) -> None:
    workload = Workload(500, 4 * S, 16, 512, new_flows_per_s=40, new_flow_packets=5, arrivals=arrivals, seed=4)
    schedule = build_schedule(workload)
    slots, flow = new_flow_slots(workload, schedule.offset_ns)
    due_ns = sorted(
        (opening_ns + age_ns, 16 + number)
        for number, opening_ns in enumerate((2 * k + 1) * S // 80 for k in range(160))
        for age_ns in (0, 50_000_000, 200_000_000, S, 3 * S)
        if opening_ns + age_ns < 4 * S
    )
    place, expected = -1, []
    for at_ns, number in due_ns:
        place = max(place + 1, int(np.searchsorted(schedule.offset_ns, at_ns)))
        if place < workload.packets:
            expected.append((place, number))
    assert list(zip(slots.tolist(), flow.tolist(), strict=True)) == expected
    assert flow_count(workload) == 1 + int(schedule.flow.max())
