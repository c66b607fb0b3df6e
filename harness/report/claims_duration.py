"""Claims about migration duration and link utilisation: Section VII-A, Fig. 15 and 16."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from itertools import pairwise

from harness.report.claims_failure import MODES, fails
from harness.report.claims_grid import Grid, Point
from harness.report.claims_judge import (
    A_THIRD_MAX,
    ABOUT,
    ALMOST_TRIPLED_MIN,
    DURATION_S,
    HIGH_LOAD_M,
    LOSS_FREE_S,
    Check,
    Rule,
    about,
    at_most,
    exactly_at,
    figure,
    missing,
    side_by_side,
    up_to,
)

GROWS_POINTS_MIN = 3
GROWS_FACTOR = 2.0
"""Much more time: at least twice as much at the highest load as at the lowest."""
GROWS_DIP = 0.1
"""A mean may lie so much below that of a lower load and still count as growing: noise of few repetitions."""


def _duration_at_most(mode: str, load_m: float, limit_s: float, grid: Grid) -> list[Check]:
    return exactly_at(grid, "nat", mode, load_m, lambda p: at_most(grid, p, DURATION_S, limit_s, "s"))


def _short_at_low_rates(grid: Grid) -> list[Check]:
    return [
        check
        for mode in MODES
        for check in up_to(grid, "nat", mode, 100, lambda p: at_most(grid, p, DURATION_S, 1.0, "s"))
    ]


def _duplication_grows(grid: Grid) -> list[Check]:
    checks = []
    for frame_bytes in grid.frames("nat"):
        found = [
            (point, mean)
            for point in grid.select("nat", "duplication", frame_bytes, at_most=800)
            if (mean := point.estimate(DURATION_S).mean) is not None
        ]
        if len(found) < GROWS_POINTS_MIN:
            checks.append(
                missing(f"nat {frame_bytes} B duplication, {GROWS_POINTS_MIN} loads up to 800M with VALID runs")
            )
            continue
        means = [mean for _, mean in found]
        growing = all(after >= (1 - GROWS_DIP) * before for before, after in pairwise(means))
        text = ", ".join(f"{point.load_m}M {mean:.2f} s" for point, mean in found)
        checks.append(
            Check(growing and means[-1] >= GROWS_FACTOR * means[0], f"nat {frame_bytes} B duplication: {text}")
        )
    return checks or [missing("nat duplication")]


def _duration_800(grid: Grid) -> list[Check]:
    return exactly_at(grid, "nat", "duplication", 800, lambda p: about(p, DURATION_S, 5.0, "s"))


def _a_third(grid: Grid) -> list[Check]:
    def test(statelet: Point, duplication: Point) -> Check:
        short, long = statelet.estimate(DURATION_S), duplication.estimate(DURATION_S)
        if not short.mean or not long.mean:
            return missing(f"duration of {statelet.title} or {duplication.title}")
        ratio = short.mean / long.mean
        return Check(ratio <= A_THIRD_MAX, f"{statelet.title}: {ratio:.2f} ({figure(short, 's')}, {figure(long, 's')})")

    return side_by_side(grid, "nat", HIGH_LOAD_M - 10, test)


def highest_loss_free(points: Sequence[Point]) -> tuple[int | None, int | None]:
    """(highest load up to which no measured load loses, lowest load that does); None where there is none such."""
    highest: int | None = None
    for point in sorted(points, key=lambda p: p.load_m):
        if fails(point):
            return highest, point.load_m
        highest = point.load_m
    return highest, None


def _tripled(grid: Grid) -> list[Check]:
    checks = []
    for frame_bytes in grid.frames("nat"):
        statelet, duplication = (grid.select("nat", mode, frame_bytes) for mode in MODES)
        if not statelet or not duplication:
            checks.append(missing(f"nat {frame_bytes} B in both modes"))
            continue
        (s_free, s_fails), (d_free, d_fails) = highest_loss_free(statelet), highest_loss_free(duplication)
        least = s_free / d_fails if s_free and d_fails else 0.0
        most = s_fails / d_free if s_fails and d_free else math.inf
        text = (
            f"nat {frame_bytes} B: {_between(least, most)}; statelets loss-free {_extent(s_free, s_fails)}, "
            f"duplication {_extent(d_free, d_fails)}"
        )
        holds = True if least >= ALMOST_TRIPLED_MIN else False if most < ALMOST_TRIPLED_MIN else None
        checks.append(Check(holds, text if holds is not None else f"{text}: loads too far apart to decide", shown=True))
    return checks or [missing("nat in both modes")]


def _between(least: float, most: float) -> str:
    if math.isinf(most):
        return f"ratio at least {least:.2f}" if least else "ratio unknown"
    return f"ratio {least:.2f} to {most:.2f}"


def _extent(free: int | None, failing: int | None) -> str:
    if free is None:
        return f"nowhere (loses at {failing}M)"
    return f"up to {free}M" + ("" if failing is None else f", losing at {failing}M")


def _pg_less_influenced(grid: Grid) -> list[Check]:
    checks = []
    for frame_bytes in grid.frames("pg"):
        both = [
            (pg, nat)
            for point in grid.select("pg", "statelet", frame_bytes)
            if (pg := point.estimate(DURATION_S).mean)
            and (other := grid.at("nat", "statelet", frame_bytes, point.load_m)) is not None
            and (nat := other.estimate(DURATION_S).mean)
        ]
        if len(both) < 2:
            checks.append(missing(f"{frame_bytes} B statelet of pg and nat at two common loads"))
            continue
        of_pg, of_nat = (max(means) / min(means) for means in zip(*both, strict=True))
        text = f"{frame_bytes} B statelet, longest over shortest of {len(both)} loads: pg {of_pg:.2f}, nat {of_nat:.2f}"
        checks.append(Check(of_pg < of_nat, text))
    return checks or [missing("pg statelet")]


def _pg_tendency(grid: Grid) -> list[Check]:
    checks = []
    for frame_bytes in grid.frames("pg"):
        low = _means(grid.select("pg", "statelet", frame_bytes, at_most=600))
        high = _means(grid.select("pg", "statelet", frame_bytes, above=600))
        if not low or not high:
            checks.append(missing(f"pg {frame_bytes} B statelet on both sides of 600M"))
            continue
        before, after = sum(low) / len(low), sum(high) / len(high)
        text = f"pg {frame_bytes} B statelet: {before:.3f} s up to 600M, {after:.3f} s beyond"
        checks.append(Check(before < after <= ABOUT * before, text))
    return checks or [missing("pg statelet")]


def _means(points: Sequence[Point]) -> list[float]:
    return [mean for point in points if (mean := point.estimate(DURATION_S).mean) is not None]


RULES: tuple[Rule, ...] = (
    Rule(
        "short-at-low-rates",
        "VII-A, Fig. 15",
        "NAT: both modes need less than 1 s up to 100M",
        "< 1 s",
        "mean of the VALID runs at every load measured up to 100M, 100M among them, no run FAILED",
        _short_at_low_rates,
    ),
    Rule(
        "duplication-grows",
        "VII-A, Fig. 15",
        "NAT: duplication needs much more time as the load grows",
        "1 to 5 s",
        f"over at least {GROWS_POINTS_MIN} loads up to 800M no mean is more than {GROWS_DIP:.0%} below the one "
        f"before, and the last is at least {GROWS_FACTOR:g} times the first",
        _duplication_grows,
    ),
    Rule(
        "duplication-duration",
        "VII-A, Fig. 15",
        "NAT: duplication reaches 5 s at 800M",
        "5 s",
        f"mean within a factor of {ABOUT:g} of 5 s",
        _duration_800,
    ),
    Rule(
        "statelet-duration",
        "VII-A, Fig. 15",
        "NAT: statelets still need less than 1 s at 800M",
        "< 1 s",
        "mean of the VALID runs, no run FAILED",
        partial(_duration_at_most, "statelet", 800, 1.0),
    ),
    Rule(
        "a-third-of-the-time",
        "VII-A, Fig. 15",
        "statelets finish in a third of duplication's time at high rates (the text says PG, the figure NAT)",
        "1/3",
        f"NAT: ratio of means at most {A_THIRD_MAX:.2f} (nearer to a third than to a half, or less) at every load "
        f"from {HIGH_LOAD_M}M on measured in both modes",
        _a_third,
    ),
    Rule(
        "utilisation-tripled",
        "VII-A",
        "the usable link load can almost be tripled with statelets",
        "800M / 300M = 2.7",
        f"ratio of the highest loss-free loads (at most {LOSS_FREE_S * 1e3:g} ms of loss, no run FAILED), a range "
        f"where the loads measured are far apart; holds when all of it is at least {ALMOST_TRIPLED_MIN:g}",
        _tripled,
    ),
    Rule(
        "pg-duration",
        "VII-A, Fig. 16",
        "PG: the load influences the duration less than with the NAT",
        "less",
        "statelets: longest over shortest mean, at the loads both were measured at",
        _pg_less_influenced,
    ),
    Rule(
        "pg-tendency",
        "VII-A, footnote 17",
        "PG: a slight tendency to take longer after 600M",
        "slight",
        f"statelets: mean of the loads beyond 600M above that of the others, at most {ABOUT:g} times it",
        _pg_tendency,
    ),
)
