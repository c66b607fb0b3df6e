"""Which figures are breaches, which are doubts, and what the lines say."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from harness.calibrate.calibration import Calibration
from harness.calibrate.figures import (
    CompetitionFigure,
    Figures,
    LatencyFigure,
    RateFigure,
    Spread,
    TransferFigure,
    spread_of,
)
from harness.calibrate.limits import (
    Fault,
    competition_faults,
    faults_of,
    latency_faults,
    rate_faults,
    transfer_faults,
    transfer_note,
)

TICK_NS = 200_000


def only(faults: Any) -> Fault:
    (fault,) = faults
    assert "\n" not in fault.text
    return fault  # type: ignore[no-any-return]


def with_median(figure: LatencyFigure, p50_ns: int) -> LatencyFigure:
    assert figure.measured is not None
    return replace(figure, measured=replace(figure.measured, p50_ns=p50_ns))


def test_sound_links_have_no_fault(figures: Figures) -> None:
    assert faults_of(figures) == ()


@pytest.mark.parametrize("measured_bps", [979_000_000, 1_021_000_000, 500_000_000])
def test_a_rate_off_by_more_than_two_percent_is_a_breach(figures: Figures, measured_bps: int) -> None:
    off = replace(figures, rates=(replace(figures.rates[0], measured_bps=measured_bps),))
    fault = only(faults_of(off))
    assert fault.breach
    assert fault.text.startswith("source uplink, towards the instance: rate ")
    assert "1Gbit/s asked, limit +- 20.1 Mbit/s" in fault.text


@pytest.mark.parametrize("measured_bps", [981_000_000, 1_019_000_000])
def test_two_percent_are_allowed(rate: RateFigure, measured_bps: int) -> None:
    assert list(rate_faults(replace(rate, measured_bps=measured_bps))) == []


def test_a_slow_link_is_judged_no_finer_than_its_frames_allow(rate: RateFigure) -> None:
    slow = replace(rate, asked_bps=1_000_000, measured_bps=1_024_000, resolution_bps=5_000)
    assert list(rate_faults(slow)) == []
    assert only(rate_faults(replace(slow, resolution_bps=0))).breach


def test_a_sender_too_slow_for_the_meter_is_a_doubt_about_the_machine(rate: RateFigure) -> None:
    unmeasured = replace(rate, measured_bps=None, intervals=0, offered_bps=400_000_000)
    fault = only(rate_faults(unmeasured))
    assert not fault.breach
    assert "only 400 Mbit/s offered" in fault.text


def test_a_sender_slowed_to_exactly_the_rate_by_the_meter_measures_it(rate: RateFigure) -> None:
    assert list(rate_faults(replace(rate, offered_bps=1_000_100_000))) == []


def test_a_meter_that_lets_everything_through_is_a_breach(rate: RateFigure) -> None:
    fault = only(rate_faults(replace(rate, measured_bps=None, intervals=0)))
    assert fault.breach
    assert "holds nothing back: 1.3 Gbit/s offered, limit 1Gbit/s" in fault.text


def test_a_machine_that_stood_still_is_a_doubt(rate: RateFigure) -> None:
    for figure in (replace(rate, intervals=2), replace(rate, measured_bps=None, intervals=0, stalled=True)):
        fault = only(rate_faults(figure))
        assert not fault.breach
        assert "is the machine busy?" in fault.text


def test_frames_lost_behind_the_meter_are_a_breach(rate: RateFigure) -> None:
    assert list(rate_faults(replace(rate, arrived_packets=29_975))) == []
    lossy = replace(rate, arrived_packets=29_900)
    assert not only(rate_faults(replace(lossy, idle_fraction=0.0))).breach
    fault = only(rate_faults(lossy))
    assert fault.breach
    assert "100 of 30000 frames lost" in fault.text


@pytest.mark.parametrize(("p50_ms", "sound"), [(9.55, False), (9.65, True), (10.35, True), (10.45, False)])
def test_a_median_may_be_off_by_a_tenth_of_a_millisecond_per_crossing(
    latency: LatencyFigure, p50_ms: float, sound: bool
) -> None:
    faults = list(latency_faults(with_median(latency, round(p50_ms * 1e6)), TICK_NS))
    assert (faults == []) == sound
    if not sound:
        assert only(faults).breach
        assert f"p50 {p50_ms:.3f} ms over 4 crossings, limits 9.600 to 10.400 ms" in only(faults).text


@pytest.mark.parametrize(
    ("minimum_ms", "p50_ms", "idle", "breach"),
    [(10.1, 10.6, 0.5, True), (10.1, 10.6, 0.0, False), (10.5, 10.6, 0.0, True), (9.2, 9.3, 0.0, True)],
)
def test_late_frames_of_a_busy_machine_are_a_doubt_unless_the_promptest_was_late(
    latency: LatencyFigure, minimum_ms: float, p50_ms: float, idle: float, breach: bool
) -> None:
    measured = Spread(100, round(minimum_ms * 1e6), round(p50_ms * 1e6), 11_000_000, 11_000_000)
    fault = only(latency_faults(replace(latency, measured=measured, idle_fraction=idle), TICK_NS))
    assert fault.breach == breach
    assert ("only 0% of the CPUs was idle" in fault.text) == (idle == 0)


@pytest.mark.parametrize(("p99_ms", "idle", "expected"), [(13.9, 0.5, []), (14.1, 0.5, [True]), (14.1, 0.0, [False])])
def test_the_tail_is_judged_under_load_only(
    latency: LatencyFigure, p99_ms: float, idle: float, expected: list[bool]
) -> None:
    measured = Spread(9000, 9_900_000, 10_100_000, round(p99_ms * 1e6), 20_000_000)
    loaded = replace(latency, measured=measured, load_bps=500_000_000, idle_fraction=idle)
    faults = list(latency_faults(loaded, TICK_NS))
    assert [fault.breach for fault in faults] == expected
    assert all("p99 14.100 ms over 4 crossings at 500 Mbit/s" in fault.text for fault in faults)
    assert list(latency_faults(replace(loaded, load_bps=0), TICK_NS)) == []


def test_what_a_link_does_on_purpose_is_not_judged(latency: LatencyFigure) -> None:
    off = with_median(replace(latency, impairment="has IPDV on purpose"), 19_000_000)
    assert list(latency_faults(off, TICK_NS)) == []
    assert list(latency_faults(replace(off, measured=None), TICK_NS)) == []


def test_packets_lost_under_load_are_the_machines(latency: LatencyFigure) -> None:
    fault = only(latency_faults(replace(latency, measured=None, load_bps=500_000_000), TICK_NS))
    assert not fault.breach
    assert "500 Mbit/s through the VNF were lost" in fault.text


@pytest.mark.parametrize(
    ("total_mbps", "paced", "idle", "expected"),
    [
        (975, True, 0.5, []),
        (1_019, True, 0.5, []),
        (1_021, True, 0.5, [True]),
        (1_021, False, 0.0, [True]),  # a meter that lets too much through does so on any machine
        (890, True, 0.5, [True]),
        (890, True, 0.0, [False]),
        (890, False, 0.5, [False]),
        (910, False, 0.5, []),
    ],
)
def test_load_and_stream_together_fill_the_meter_and_no_more(
    competing: CompetitionFigure, total_mbps: int, paced: bool, idle: float, expected: list[bool]
) -> None:
    changed = replace(
        competing,
        total_bps=total_mbps * 1_000_000,
        paced_bps=competing.paced_bps if paced else None,
        idle_fraction=idle,
    )
    faults = list(competition_faults(changed, 10_000_000))
    assert [fault.breach for fault in faults] == expected


def test_a_stream_too_short_for_its_path_or_without_a_byte_is_a_doubt(competing: CompetitionFigure) -> None:
    slow = replace(competing, total_bps=700_000_000)
    assert only(competition_faults(slow, 10_000_000)).breach
    assert "320 ms is too long" in only(competition_faults(slow, 320_000_000)).text
    assert not only(competition_faults(slow, 320_000_000)).breach
    assert not only(competition_faults(replace(competing, tcp_goodput_bps=None), 10_000_000)).breach


def test_a_coarser_tick_allows_more(latency: LatencyFigure) -> None:
    late = with_median(latency, 12_000_000)
    assert only(latency_faults(late, TICK_NS)).breach
    assert list(latency_faults(late, 1_000_000)) == []
    assert only(latency_faults(late, 900_000)).breach


def test_no_latency_is_expected_where_there_is_none(latency: LatencyFigure) -> None:
    none = replace(latency, asked_ns=0, measured=Spread(100, 20_000, 60_000, 90_000, 100_000))
    assert list(latency_faults(none, TICK_NS)) == []


@pytest.mark.parametrize("measured", [None, Spread(3, 10_000_000, 10_000_000, 10_000_000, 10_000_000)])
def test_missing_probes_are_a_breach(latency: LatencyFigure, measured: Spread | None) -> None:
    fault = only(latency_faults(replace(latency, measured=measured), TICK_NS))
    assert fault.breach
    assert "of 139 probes found" in fault.text


def test_few_probes_suffice_where_few_were_sent(latency: LatencyFigure) -> None:
    few = replace(latency, sent=4, measured=Spread(4, 10_000_000, 10_100_000, 10_200_000, 10_200_000))
    assert list(latency_faults(few, TICK_NS)) == []


def test_goodput_is_gated_loosely_and_noted_strictly(transfer: TransferFigure) -> None:
    assert transfer_note(transfer) == "ok"
    slow = replace(transfer, goodput_bps=700_000_000)
    assert list(transfer_faults(slow)) == []
    assert "below 0.9" in transfer_note(slow)
    fault = only(transfer_faults(replace(transfer, goodput_bps=400_000_000)))
    assert fault.breach
    assert "400 Mbit/s, limit 0.5 x 1Gbit/s" in fault.text
    assert only(transfer_faults(replace(transfer, goodput_bps=None))).breach


def test_breaches_are_problems_and_doubts_are_not(figures: Figures, rate: RateFigure) -> None:
    doubtful = replace(rate, direction="from", intervals=1)
    broken = replace(rate, measured_bps=1_200_000_000)
    calibration = Calibration("p", "2026-01-01T00:00:00+00:00", 7, replace(figures, rates=(doubtful, broken)))
    assert [line.partition(":")[0] for line in calibration.problems] == ["source uplink, towards the instance"]
    assert [line.partition(":")[0] for line in calibration.doubts] == ["source uplink, from the instance"]


def test_the_document_is_json_and_complete(figures: Figures) -> None:
    document = Calibration("smoke", "2026-01-01T00:00:00+00:00", 7, figures).document()
    assert json.loads(json.dumps(document, allow_nan=False)) == json.loads(json.dumps(document))
    assert document["problems"] == document["doubts"] == []
    assert document["latency_backend"] == "delay_line"
    assert document["rates"][0]["measured_bps"] == 1_003_000_000
    assert document["latencies"][0]["measured"]["p50_ns"] == 10_300_000
    assert document["transfer"]["goodput_bps"] == 940_000_000


def test_spread_by_nearest_rank() -> None:
    assert spread_of([]) is None
    assert spread_of(range(100, 0, -1)) == Spread(100, 1, 50, 99, 100)
