"""Every claim of the evaluation (Nobach et al., Section VII) beside measured results: holds, does not, not measurable.

Only what was measured counts: VALID runs, and FAILED ones where the claim is about failing. Loads are normalised by the
uplink, so that a scaled experiment is read on the paper's axis; nothing is interpolated between loads.
"""

from __future__ import annotations

from dataclasses import dataclass

from harness.record.sweep import Results
from harness.report import claims_delay, claims_duration, claims_failure, claims_loss, claims_traffic
from harness.report.claims_grid import Grid, grid_of
from harness.report.claims_judge import Rule, Verdict, measured_text, missing_text, verdict_of

RULES: tuple[Rule, ...] = (
    *claims_loss.RULES,
    *claims_failure.RULES,
    *claims_delay.RULES,
    *claims_duration.RULES,
    *claims_traffic.RULES,
)
"""In the order in which they are reported; ids are stable."""


@dataclass(frozen=True)
class Claim:
    """One claim of the paper in our words, with what these results say of it.

    measured: figures with their number of runs, counterexamples first; "-" without any. detail: the rule that was
    used, and what is missing.
    """

    id: str
    source: str
    text: str
    paper_value: str
    measured: str
    verdict: Verdict
    detail: str


def claims(results: Results) -> tuple[Claim, ...]:
    """All claims, judged. Pure: reads nothing but `results`."""
    grid = grid_of(results)
    return tuple(_judged(rule, grid) for rule in RULES)


def _judged(rule: Rule, grid: Grid) -> Claim:
    checks = rule.judge(grid)
    verdict = verdict_of(checks)
    absent = missing_text(checks)
    parts = [f"rule: {rule.rule}"]
    if absent:
        parts.append(f"missing: {absent}" if verdict == "not measurable here" else f"left out: {absent}")
    if verdict == "not measurable here" and grid.notes:
        parts.append("; ".join(grid.notes[:5]))
    return Claim(rule.id, rule.source, rule.text, rule.paper_value, measured_text(checks), verdict, ". ".join(parts))
