"""Claims about delay and pkt_q: Section VII-A, Fig. 14 and 17."""

from __future__ import annotations

from harness.report.claims_failure import overflowed
from harness.report.claims_grid import PUBLISHED_BASE_RTT_NS, SAME, Grid, Point
from harness.report.claims_judge import (
    LOSS,
    MEAN_RTT_MS,
    PKT_Q_PACKETS,
    SMALL_LOSS_S,
    Check,
    Rule,
    at_most,
    beyond,
    figure,
    missing,
    more_than,
    side_by_side,
    up_to,
)

LARGE_RTT_MS = 15.0
"""A large RTT: the paper's own limit of lateness."""
BASE_RTT_MS = PUBLISHED_BASE_RTT_NS / 1e6


def _baseline(grid: Grid) -> list[Check]:
    checks = []
    for point in grid.points:
        if point.mode == "none":
            found = point.estimate(lambda run: None if run.window is None else run.window.rtt_p50_ns)
            if found.mean is not None:
                median_ms = found.mean / 1e6
                near = abs(median_ms - BASE_RTT_MS) <= SAME * BASE_RTT_MS
                checks.append(Check(near, f"{point.title}: median RTT {median_ms:.2f} ms (n = {found.count})"))
    return checks or [missing("a control run")]


def _duplication_delays_more(grid: Grid) -> list[Check]:
    def test(statelet: Point, duplication: Point) -> Check:
        few, many = statelet.estimate(MEAN_RTT_MS), duplication.estimate(MEAN_RTT_MS)
        if few.mean is None or many.mean is None:
            return missing(f"RTT of {statelet.title} or {duplication.title}")
        return Check(few.mean < many.mean, f"{statelet.title}: {figure(few, 'ms', 1)} against {figure(many, 'ms', 1)}")

    return side_by_side(grid, "nat", 200, test)


def _pkt_q_explains(grid: Grid) -> list[Check]:
    def test(point: Point) -> Check:
        waits_ms, excesses_ms = [], []
        for run in point.valid:
            depth, rtt_ms, rate_pps = PKT_Q_PACKETS(run), MEAN_RTT_MS(run), run.load.one_way_pps
            if depth is not None and rtt_ms is not None and rate_pps and rtt_ms > LARGE_RTT_MS:
                waits_ms.append(depth / rate_pps * 1e3)
                excesses_ms.append(rtt_ms - BASE_RTT_MS)
        if not waits_ms:
            return Check(None, f"{point.title}: no large RTT to explain", required=False)
        enough = sum(wait >= excess for wait, excess in zip(waits_ms, excesses_ms, strict=True))
        text = (
            f"{point.title}: largest mean {max(excesses_ms):.0f} ms above the base, pkt_q holds a packet for up to "
            f"{max(waits_ms):.0f} ms ({enough} of {len(waits_ms)} runs)"
        )
        return Check(enough == len(waits_ms), text)

    return beyond(grid, "nat", "duplication", 0, test)


def _statelet_only_late(grid: Grid) -> list[Check]:
    checks = up_to(grid, "nat", "statelet", 850, lambda p: at_most(grid, p, MEAN_RTT_MS, LARGE_RTT_MS, "ms"), end=False)
    high = grid.select("nat", "statelet", above=850)
    if not high:
        return [*checks, missing("nat statelet beyond 850M")]
    if not grid.select("nat", "statelet", at_most=850, above=790):
        checks.append(missing("nat statelet at 800M or 850M"))
    found = [more_than(grid, point, MEAN_RTT_MS, LARGE_RTT_MS, "ms") for point in high]
    if any(check.holds for check in found):
        found = [check for check in found if check.holds]
    return checks + found


def _statelet_bounded(grid: Grid) -> list[Check]:
    points = grid.select("nat", "statelet")
    checks = [at_most(grid, point, MEAN_RTT_MS, 100.0, "ms") for point in points if point.valid]
    if not any(point.valid for point in grid.select("nat", "statelet", above=850)):
        checks.append(missing("nat statelet beyond 850M"))
    return checks


def _overflows(grid: Grid) -> list[Check]:
    def count(point: Point) -> tuple[int, str]:
        over = sum(overflowed(point, run) for run in point.runs)
        depth = point.estimate(PKT_Q_PACKETS, with_failed=True)
        deepest = "pkt_q not used" if depth.mean is None else f"pkt_q {depth.mean:,.0f} packets"
        failed = f", {len(point.failed)} FAILED" if point.failed else ""
        return over, f"{point.title}: {over} of {len(point.runs)} overflowed, {deepest}{failed}"

    def high(point: Point) -> Check:
        over, text = count(point)
        return Check(over > 0, text)

    def low(point: Point) -> Check:
        over, text = count(point)
        return Check(over == 0, text)

    up_to_300 = up_to(grid, "nat", "duplication", 300, low, end=False)
    return beyond(grid, "nat", "duplication", 300, high) + up_to_300


def _overflow_loses(grid: Grid) -> list[Check]:
    checks = []
    for point in grid.points:
        for run in point.runs:
            loss_s = LOSS(run)
            if point.mode != "none" and overflowed(point, run) and loss_s is not None:
                checks.append(Check(loss_s > SMALL_LOSS_S, f"{point.title}: {loss_s:.3f} s of loss"))
    return checks or [missing("an overflow of pkt_q")]


RULES: tuple[Rule, ...] = (
    Rule(
        "baseline-rtt",
        "VII and VII-A",
        "the base RTT through the VNF is 10 ms",
        "10 ms",
        "median RTT of every control run within a tenth of 10 ms",
        _baseline,
    ),
    Rule(
        "duplication-delays",
        "VII-A, Fig. 14",
        "NAT: the bandwidth of duplicated packets lengthens queueing delays",
        "longer",
        "at every load beyond 200M measured in both modes duplication has the higher largest mean RTT of 500 ms",
        _duplication_delays_more,
    ),
    Rule(
        "pkt-q-delays",
        "VII-A, Fig. 14",
        "NAT: the large RTTs of duplication come from packets waiting in pkt_q",
        "-",
        f"wherever the largest mean RTT of 500 ms exceeds {LARGE_RTT_MS:g} ms, the deepest pkt_q over the request "
        "rate is a wait at least as long as that mean lies above the base RTT (necessary, not sufficient)",
        _pkt_q_explains,
    ),
    Rule(
        "statelet-large-rtt",
        "VII-A, Fig. 14",
        "NAT: statelets have large RTTs only beyond 850M",
        "beyond 850M",
        f"largest mean RTT of 500 ms at most {LARGE_RTT_MS:g} ms up to 850M (800M or 850M among them) and above it at "
        "some load beyond",
        _statelet_only_late,
    ),
    Rule(
        "statelet-rtt-bounded",
        "VII-A, Fig. 14",
        "NAT: mean RTTs of statelets stay at most 100 ms",
        "100 ms",
        "largest mean RTT of 500 ms, mean of the VALID runs, at every load measured, one beyond 850M among them",
        _statelet_bounded,
    ),
    Rule(
        "pkt-q-overflow",
        "VII-A, Fig. 17",
        "NAT: under duplication pkt_q (64K packets) overflows beyond 300M",
        "beyond 300M",
        "some run overflows at every load measured beyond 300M, none up to 300M; pkt_q of 65,536 "
        "packets times the scale",
        _overflows,
    ),
    Rule(
        "overflow-loses",
        "VII-A, Fig. 17",
        "an overflow of pkt_q results in large loss",
        "-",
        f"every run that overflowed has more than {SMALL_LOSS_S * 1e3:g} ms of loss",
        _overflow_loses,
    ),
)
