"""Claims about loss and lateness: Section VII-A, Fig. 11 to 13."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from harness.report.claims_failure import MODES
from harness.report.claims_grid import Grid, Point, Read
from harness.report.claims_judge import (
    ABOUT,
    CLEARLY,
    LATE,
    LOSS,
    LOSS_FREE_S,
    MINOR_S,
    SMALL_LOSS_S,
    Check,
    Rule,
    about,
    at_most,
    beyond,
    exactly_at,
    figure,
    ledger_packets,
    missing,
    more_than,
    side_by_side,
    up_to,
)

LAST_POINT_FROM_M = 880
"""The load of the last point is not printed; statelets fail around 900M, and it is not below that."""
LOW_LOAD_M = 200
"""Low rates: below 300M, where the paper has duplication begin to lose."""
CAUSED_BY = 0.5
"""Caused by: more than half of what was lost."""


def _minor_at_low_rates(read: Read, grid: Grid) -> list[Check]:
    checks: list[Check] = []
    for mode in MODES:
        checks += up_to(grid, "nat", mode, LOW_LOAD_M, lambda p: at_most(grid, p, read, MINOR_S, "s"), end=False)
    return checks


def _duplication_starts(read: Read, least_s: float, grid: Grid) -> list[Check]:
    checks = exactly_at(grid, "nat", "duplication", 300, lambda p: more_than(grid, p, read, least_s, "s"), both=True)
    lower = grid.select("nat", "duplication", at_most=LOW_LOAD_M)
    return checks + [at_most(grid, point, read, max(least_s, MINOR_S), "s") for point in lower]


def _statelet_seamless(read: Read, limit_s: float, grid: Grid) -> list[Check]:
    return up_to(grid, "nat", "statelet", 800, lambda p: at_most(grid, p, read, limit_s, "s"))


def _outage(grid: Grid) -> list[Check]:
    return exactly_at(grid, "nat", "duplication", 800, lambda p: about(p, LOSS, 1.5, "s"))


def _last_point(read: Read, value_s: float, grid: Grid) -> list[Check]:
    points = grid.select("nat", "duplication", 1400, above=LAST_POINT_FROM_M)
    return [about(points[-1], read, value_s, "s")] if points else [missing("nat 1400 B duplication at 900M or beyond")]


def _late_clearly_better(grid: Grid) -> list[Check]:
    def test(statelet: Point, duplication: Point) -> Check:
        few, many = statelet.estimate(LATE), duplication.estimate(LATE)
        if few.mean is None or many.mean is None:
            return missing(f"RTT > 15 ms of {statelet.title} or {duplication.title}")
        text = f"{statelet.title}: {figure(few, 's')} against {figure(many, 's')}"
        return Check(few.mean <= CLEARLY * many.mean and few.mean < many.mean, text)

    return side_by_side(grid, "nat", LOW_LOAD_M, test)


def _small_loss_of_pg(grid: Grid) -> list[Check]:
    def small(point: Point) -> Check:
        check = at_most(grid, point, LOSS, SMALL_LOSS_S, "s")
        return check if check.holds is not True else more_than(grid, point, LOSS, LOSS_FREE_S, "s")

    checks = beyond(grid, "pg", "statelet", 500, small)
    return checks + [at_most(grid, p, LOSS, LOSS_FREE_S, "s") for p in grid.select("pg", "statelet", at_most=500)]


def _cause_of_pg_loss(grid: Grid) -> list[Check]:
    def test(point: Point) -> Check:
        lost = wrong = 0
        for run in point.valid:
            if run.ledger is not None:
                names = {row.name for row in run.ledger.rows} - {"delivered", "late"}
                lost += ledger_packets(run, *names) or 0
                wrong += ledger_packets(run, "wrong_cell") or 0
        if not lost:
            return Check(None, f"{point.title}: nothing lost, so nothing has a cause", required=False)
        return Check(wrong > CAUSED_BY * lost, f"{point.title}: {wrong:,} of {lost:,} lost packets in a wrong cell")

    return beyond(grid, "pg", "statelet", 500, test)


def _starts(read: Read, least_s: float) -> Callable[[Grid], list[Check]]:
    return partial(_duplication_starts, read, least_s)


_LOSS_RULE = (
    f"mean of the VALID runs, every size measured; loss-free is at most {LOSS_FREE_S * 1e3:g} ms, no run FAILED"
)
_ABOUT_RULE = f"mean within a factor of {ABOUT:g} of the paper's value"
_MINOR_RULE = f"mean at most {MINOR_S * 1e3:g} ms at every load measured up to {LOW_LOAD_M}M, no run FAILED"

RULES: tuple[Rule, ...] = (
    Rule(
        "low-rates-loss",
        "VII-A, Fig. 11",
        "NAT: no or only minor loss at low rates, in both modes",
        "0 or minor",
        _MINOR_RULE,
        partial(_minor_at_low_rates, LOSS),
    ),
    Rule(
        "low-rates-late",
        "VII-A, Fig. 13",
        "NAT: no or only minor RTT > 15 ms at low rates, in both modes",
        "0 or minor",
        _MINOR_RULE,
        partial(_minor_at_low_rates, LATE),
    ),
    Rule(
        "duplication-starts-loss",
        "VII-A, Fig. 11",
        "NAT: duplication begins to cause loss at 300M, in both sizes",
        "from 300M",
        f"mean above {LOSS_FREE_S * 1e3:g} ms at 300M in 512 and 1400 B, minor below",
        _starts(LOSS, LOSS_FREE_S),
    ),
    Rule(
        "duplication-starts-late",
        "VII-A, Fig. 13",
        "NAT: duplication begins to cause RTT > 15 ms at 300M, in both sizes",
        "from 300M",
        f"mean above {MINOR_S * 1e3:g} ms at 300M in 512 and 1400 B, not above it below 300M",
        _starts(LATE, MINOR_S),
    ),
    Rule(
        "statelet-no-loss",
        "VII-A, Fig. 11",
        "NAT: statelets avoid loss up to 800M",
        "0 up to 800M",
        f"{_LOSS_RULE}; 800M itself must be measured",
        partial(_statelet_seamless, LOSS, LOSS_FREE_S),
    ),
    Rule(
        "statelet-not-late",
        "VII-A, Fig. 13",
        "NAT: statelets avoid RTT > 15 ms up to 800M",
        "0 up to 800M",
        f"mean at most {MINOR_S * 1e3:g} ms at every load measured, 800M among them, no run FAILED",
        partial(_statelet_seamless, LATE, MINOR_S),
    ),
    Rule(
        "duplication-outage",
        "VII-A, Fig. 11",
        "NAT: duplication causes an outage of about 1.5 s at 800M",
        "1.5 s",
        _ABOUT_RULE,
        _outage,
    ),
    Rule(
        "duplication-last-loss",
        "Fig. 11, caption",
        "NAT, 1400 B: the last point of duplication is at 3.9 s of loss",
        "3.9 s",
        f"{_ABOUT_RULE}; the caption does not name the load: the highest measured from 900M on",
        partial(_last_point, LOSS, 3.9),
    ),
    Rule(
        "duplication-last-late",
        "Fig. 13, caption",
        "NAT, 1400 B: the last point of duplication is at 3.8 s of RTT > 15 ms",
        "3.8 s",
        f"{_ABOUT_RULE}; the highest load measured from 900M on (the caption contradicts that of Fig. 11: this figure "
        "contains the loss and cannot be below it)",
        partial(_last_point, LATE, 3.8),
    ),
    Rule(
        "late-clearly-better",
        "Fig. 13, caption",
        "NAT: beyond 200M statelets clearly outperform duplication in seconds of RTT > 15 ms",
        "clearly less",
        f"at every load beyond 200M measured in both modes the mean is at most {CLEARLY:.0%} of duplication's",
        _late_clearly_better,
    ),
    Rule(
        "pg-small-loss",
        "VII-A, Fig. 12",
        "PG: a small loss beyond 500M",
        "small",
        f"statelets: mean above {LOSS_FREE_S * 1e3:g} and at most {SMALL_LOSS_S * 1e3:g} ms beyond 500M, loss-free up "
        "to there",
        _small_loss_of_pg,
    ),
    Rule(
        "pg-loss-cause",
        "VII-A, Fig. 12",
        "PG: that loss comes from the rule that a handover must be in effect after 7.5 ms",
        "-",
        "more than half of the packets lost beyond 500M are in the ledger's row wrong_cell",
        _cause_of_pg_loss,
    ),
)
