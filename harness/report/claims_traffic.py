"""Claims about state traffic, statelets and order: Section VII-A, Fig. 18, and VI-C."""

from __future__ import annotations

from harness.measure.statistics import mann_whitney, smallest_p
from harness.record.summary import RunSummary
from harness.report.claims_failure import MODES
from harness.report.claims_grid import Grid, Point, Read
from harness.report.claims_judge import TRAFFIC_MB, Check, Rule, figure, missing, side_by_side

SNAPSHOT_MB, PG_MB = 20.0, 23.0
BASELINE_MAX_MB = 25.0
"""A baseline: at the lowest load nothing but the snapshot and at most a quarter more."""
NEARLY_CONSTANT = 0.1
NOT_PER_PACKET = 0.1
"""Not one statelet per packet: at most a tenth of what the NAT announces at the same load."""


def _few_statelets(grid: Grid) -> list[Check]:
    def statelets(run: RunSummary) -> float | None:
        return run.migration.statelets

    checks = []
    for point in grid.select("pg", "statelet"):
        nat = grid.at("nat", "statelet", point.frame_bytes, point.load_m)
        few, many = point.estimate(statelets), nat.estimate(statelets) if nat else None
        if many is not None and few.mean is not None and many.mean is not None:
            text = f"{point.title}: {few.mean:,.0f} statelets, nat {many.mean:,.0f}"
            checks.append(Check(few.mean <= NOT_PER_PACKET * many.mean, text))
    return checks or [missing("pg and nat statelet at a common load")]


def unscaled(point: Point, read: Read = TRAFFIC_MB) -> Read:
    """Bytes as they would be on the published link."""

    def of_run(run: RunSummary) -> float | None:
        value = read(run)
        return None if value is None else value / point.scale

    return of_run


def _snapshot_baseline(grid: Grid) -> list[Check]:
    checks = []
    for frame_bytes in grid.frames("nat"):
        for mode in MODES:
            points = [point for point in grid.select("nat", mode, frame_bytes) if point.values(TRAFFIC_MB)]
            for number, point in enumerate(points):
                found = point.estimate(unscaled(point))
                assert found.mean is not None
                low = number > 0 or mode != "statelet" or found.mean <= BASELINE_MAX_MB
                checks.append(Check(found.mean >= SNAPSHOT_MB and low, f"{point.title}: {figure(found, 'MB', 1)}"))
    return checks or [missing("state traffic of nat")]


def _pg_constant(grid: Grid) -> list[Check]:
    checks = []
    for frame_bytes in grid.frames("pg"):
        means = []
        for point in grid.select("pg", "statelet", frame_bytes):
            found = point.estimate(unscaled(point))
            if found.mean is not None:
                means.append(found.mean)
                near = abs(found.mean - PG_MB) <= NEARLY_CONSTANT * PG_MB
                checks.append(Check(near, f"{point.title}: {figure(found, 'MB', 1)}"))
        if len(means) < 2:
            checks.append(missing(f"pg {frame_bytes} B statelet at two loads"))
        else:
            spread = max(means) / min(means)
            checks.append(
                Check(spread <= 1 + NEARLY_CONSTANT, f"pg {frame_bytes} B: largest over smallest {spread:.2f}")
            )
    return checks or [missing("pg statelet")]


def _less_traffic(grid: Grid) -> list[Check]:
    def test(statelet: Point, duplication: Point) -> Check:
        few, many = statelet.values(TRAFFIC_MB), duplication.values(TRAFFIC_MB)
        ranks = mann_whitney(few, many)
        if ranks is None:
            return missing(f"state traffic of {statelet.title} or {duplication.title}")
        tested = smallest_p(len(few), len(many)) < 0.05
        less = ranks.u > len(few) * len(many) / 2
        holds = less and (ranks.p < 0.05 if tested else max(few) < min(many))
        means = (statelet.estimate(unscaled(statelet)), duplication.estimate(unscaled(duplication)))
        text = f"{statelet.title}: {figure(means[0], 'MB', 1)} against {figure(means[1], 'MB', 1)}"
        return Check(holds, f"{text}, p = {ranks.p:.3g}" if tested else text)

    return side_by_side(grid, "nat", 0, test)


def _in_order(grid: Grid) -> list[Check]:
    checks = []
    for point in grid.points:
        counts = [run.window.reordered_packets for run in point.runs if run.window is not None]
        if counts:
            checks.append(Check(sum(counts) == 0, f"{point.title}: {sum(counts)} in {len(counts)} runs"))
    return checks or [missing("order")]


RULES: tuple[Rule, ...] = (
    Rule(
        "pg-statelets",
        "VII-A",
        "PG: statelets are made by handovers only, not by every packet",
        "-",
        f"at most {NOT_PER_PACKET:.0%} of the statelets of the NAT at the same load and size",
        _few_statelets,
    ),
    Rule(
        "snapshot-baseline",
        "VII-A, Fig. 18",
        "NAT: the snapshot is a baseline of 20 MB of state traffic",
        "20 MB",
        f"every mean at least 20 MB, that of statelets at the lowest load at most {BASELINE_MAX_MB:g} MB; bytes "
        "divided by the scale",
        _snapshot_baseline,
    ),
    Rule(
        "pg-traffic",
        "VII-A",
        "PG: the state traffic is nearly constant at about 23 MB, whatever the load",
        "23 MB",
        f"statelets: every mean within {NEARLY_CONSTANT:.0%} of 23 MB, largest over smallest at most "
        f"{1 + NEARLY_CONSTANT:g}; bytes divided by the scale",
        _pg_constant,
    ),
    Rule(
        "less-traffic",
        "VII-A, Fig. 18",
        "NAT: statelets move significantly less state traffic than duplication",
        "significantly less",
        "at every load measured in both modes: Mann-Whitney p < 0.05 where that many "
        "repetitions can give it, otherwise every statelet run below every duplication run",
        _less_traffic,
    ),
    Rule(
        "in-order",
        "VI-C",
        "no packet arrived out of order",
        "0",
        "no reordered packet in any VALID or FAILED run; of statelets the invariants of a run say it",
        _in_order,
    ),
)
