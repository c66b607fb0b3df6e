"""Claims about failing: Section VII and VII-A."""

from __future__ import annotations

from harness.record.summary import RunSummary
from harness.report.claims_grid import SAME_LOAD, Grid, Point
from harness.report.claims_judge import (
    HIGH_LOAD_M,
    LOSS,
    LOSS_FREE_S,
    PKT_Q_PACKETS,
    Check,
    Rule,
    figure,
    ledger_packets,
    missing,
)

MODES = ("statelet", "duplication")
FAILS_FROM_M, FAILS_TO_M = 850, 950
"""Around 900M: half a step of 100M either way."""


def fails(point: Point) -> bool:
    """Whether a point loses more than LOSS_FREE_S in the mean, or a run FAILED."""
    mean = point.estimate(LOSS, with_failed=True).mean
    return bool(point.failed) or (mean is not None and mean > LOSS_FREE_S)


def _statelet_fails(grid: Grid) -> list[Check]:
    checks: list[Check] = []
    for frame_bytes in grid.frames("nat"):
        points = grid.select("nat", "statelet", frame_bytes, at_most=FAILS_TO_M)
        around = [point for point in points if point.load_m >= FAILS_FROM_M * (1 - SAME_LOAD)]
        early = [point for point in points if point not in around and fails(point)]
        checks += [Check(False, f"{_loss(point)}: fails earlier") for point in early]
        failing = [point for point in around if fails(point)]
        if failing:
            checks.append(Check(True, _loss(failing[0])))
        elif grid.at("nat", "statelet", frame_bytes, FAILS_TO_M) is not None:
            checks.append(Check(False, f"{_loss(around[-1])}: does not fail"))
        else:
            checks.append(missing(f"nat {frame_bytes} B statelet, failing at {FAILS_FROM_M}M to {FAILS_TO_M}M"))
        if grid.at("nat", "statelet", frame_bytes, 800) is None:
            checks.append(missing(f"nat {frame_bytes} B statelet 800M"))
    return checks or [missing("nat statelet at 800M to 950M")]


def _loss(point: Point) -> str:
    found = point.estimate(LOSS, with_failed=True)
    loss = "loss not measured" if found.mean is None else figure(found, "s")
    return f"{point.title}: {loss}" + (
        f", {len(point.failed)} of {len(point.runs)} runs FAILED" if point.failed else ""
    )


def _migrations(grid: Grid, above: float) -> list[tuple[Point, RunSummary]]:
    points = [p for mode in MODES for image in ("nat", "pg") for p in grid.select(image, mode, above=above)]
    return [(point, run) for point in points for run in point.runs]


def overflowed(point: Point, run: RunSummary) -> bool:
    """Whether pkt_q dropped packets, or came to be as long as the published one (65,536 packets times the scale)."""
    depth = PKT_Q_PACKETS(run)
    return bool(ledger_packets(run, "pkt_q_overflow")) or (depth is not None and depth >= 65_536 * point.scale)


def _loss_indicates_failure(grid: Grid) -> list[Check]:
    checks = []
    for point, run in _migrations(grid, above=0):
        outcome, loss_s = run.migration.outcome, LOSS(run)
        if outcome == "completed" and not overflowed(point, run):
            continue
        what = "pkt_q overflowed" if outcome == "completed" else f"migration {outcome}"
        if loss_s is None:
            checks.append(missing(f"loss of {point.title} ({what})"))
        else:
            checks.append(Check(loss_s > LOSS_FREE_S, f"{point.title}: {what}, {loss_s:.3f} s of loss"))
    return checks or [missing("a migration that failed or overflowed pkt_q")]


def _eventual_success(grid: Grid) -> list[Check]:
    checks = []
    for mode in MODES:
        for point in grid.select("nat", mode, above=HIGH_LOAD_M):
            done = sum(run.migration.outcome == "completed" for run in point.runs)
            checks.append(Check(done == len(point.runs), f"{point.title}: {done} of {len(point.runs)} completed"))
    return checks or [missing(f"nat beyond {HIGH_LOAD_M}M")]


def _prioritised(grid: Grid) -> list[Check]:
    return [missing("a link on which the dataplane has priority over the migration")]


RULES: tuple[Rule, ...] = (
    Rule(
        "statelet-fails",
        "VII-A, Fig. 11",
        "NAT: statelets begin to fail only around 900M",
        "900M",
        f"the first load with more than {LOSS_FREE_S * 1e3:g} ms of loss or a FAILED run lies in 850M to 950M, in "
        "every size measured",
        _statelet_fails,
    ),
    Rule(
        "loss-indicates-failure",
        "VII-A",
        "loss is the primary indicator of a migration that failed from overload",
        "-",
        f"every migration that aborted, failed or overflowed pkt_q shows more than {LOSS_FREE_S * 1e3:g} ms of loss",
        _loss_indicates_failure,
    ),
    Rule(
        "eventual-success",
        "VII",
        "without priorities a migration succeeds in the end even in overload",
        "always",
        f"every NAT migration beyond {HIGH_LOAD_M}M completed, in both modes",
        _eventual_success,
    ),
    Rule(
        "priority-fails",
        "VII-A, footnote 15",
        "with priority for the dataplane, overloaded migrations fail completely",
        "-",
        "needs runs with prioritised traffic, which no profile has",
        _prioritised,
    ),
)
