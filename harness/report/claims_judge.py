"""How a claim is judged: one check per cell, three-valued, and no verdict without the cells the claim names.

The tolerances are here, each with its reason; the rule of every claim says which it uses.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from harness.measure.statistics import Estimate
from harness.record.summary import RunSummary
from harness.report.claims_grid import FRAMES, Grid, Point, Read
from harness.report.metrics import METRICS

Verdict = Literal["holds", "does not hold", "not measurable here"]

LOSS_FREE_S = 0.005
"""Loss that still counts as none: half the base RTT, a third of the delay from which a packet counts as late."""
MINOR_S = 0.05
"""Loss or lateness that still counts as minor: a thirtieth of what the paper calls an outage (1.5 s), within the
thickness of the lines of Fig. 11 and 13; a busy machine makes 0.01 to 0.04 s of lateness by itself."""
SMALL_LOSS_S = 0.15
"""The "small loss" of Fig. 12: at most a tenth of the outage of 1.5 s; from there on loss is large."""
ABOUT = 1.5
"""A value read from the text's "about" or from a figure of another testbed holds within this factor either way."""
CLEARLY = 0.5
"""Clearly better: at most half."""
A_THIRD_MAX = (1 / 3 + 1 / 2) / 2
"""A third of the time: nearer to a third than to a half."""
ALMOST_TRIPLED_MIN = 2.5
"""Almost tripled: rounds to three. The paper's own ratio is 800 / 300 = 2.7."""
HIGH_LOAD_M = 500
"""High data rates: the upper half of the paper's axis."""
SHOWN_MAX = 10

LOSS: Read = METRICS["window.loss_s"].read
LATE: Read = METRICS["window.rtt_late_s"].read
MEAN_RTT_MS: Read = METRICS["window.largest_mean_rtt_ms"].read
DURATION_S: Read = METRICS["migration.duration_s"].read
PKT_Q_PACKETS: Read = METRICS["migration.pkt_q_max_packets"].read
TRAFFIC_MB: Read = METRICS["migration.state_traffic_mb"].read


@dataclass(frozen=True)
class Check:
    """What one cell says: whether the claim holds there (None: cannot be said), and the figures.

    required: whether the claim cannot hold without this check; one that is not only explains why a cell is left out.
    shown: whether the text holds figures although nothing can be concluded from them.
    """

    holds: bool | None
    text: str
    required: bool = True
    shown: bool = False


@dataclass(frozen=True)
class Rule:
    """A claim of the paper with the rule it is judged by. `source`: section and figure."""

    id: str
    source: str
    text: str
    paper_value: str
    rule: str
    judge: Callable[[Grid], list[Check]] = field(repr=False)


def verdict_of(checks: Sequence[Check]) -> Verdict:
    """One counterexample is enough; to hold, every required check must hold, and there must be one."""
    if any(check.holds is False for check in checks):
        return "does not hold"
    required = [check.holds for check in checks if check.required]
    return "holds" if required and all(required) else "not measurable here"


def measured_text(checks: Sequence[Check]) -> str:
    """The figures, counterexamples first; "-" without any."""
    said = sorted(
        (check for check in checks if check.holds is not None or check.shown), key=lambda c: c.holds is not False
    )
    texts = [check.text for check in said[:SHOWN_MAX]]
    more = [f"and {len(said) - SHOWN_MAX} more"] if len(said) > SHOWN_MAX else []
    return "; ".join(texts + more) or "-"


def missing_text(checks: Sequence[Check]) -> str:
    """What could not be said, and why; empty when there is nothing."""
    texts = list(dict.fromkeys(check.text for check in checks if check.holds is None and not check.shown))
    more = [f"and {len(texts) - SHOWN_MAX} more"] if len(texts) > SHOWN_MAX else []
    return "; ".join(texts[:SHOWN_MAX] + more)


def missing(what: str) -> Check:
    """Something the claim needs is not in the results."""
    return Check(None, f"{what}: not measured")


def figure(found: Estimate, unit: str, digits: int = 3) -> str:
    """`0.123 +- 0.010 s (n = 3)`"""
    spread = "" if found.half_width is None else f" +- {found.half_width:.{digits}f}"
    return f"{found.mean:.{digits}f}{spread} {unit} (n = {found.count})"


def at_most(grid: Grid, point: Point, read: Read, limit: float, unit: str) -> Check:
    """The mean of the VALID runs does not exceed the limit, and no run FAILED. Where the control alone exceeds the
    limit, a cell that does proves nothing."""
    found = point.estimate(read)
    failed = f"{len(point.failed)} of {len(point.runs)} runs FAILED" if point.failed else ""
    if found.mean is None:
        return Check(False if failed else None, f"{point.title}: {failed or 'not measured'}")
    text = ", ".join(filter(None, (f"{point.title}: {figure(found, unit)}", failed)))
    if found.mean > limit:
        control = _control(grid, point, read)
        if control is not None and control > limit:
            return Check(None, f"{text}, but the control alone shows {control:.3f} {unit}", shown=True)
    return Check(found.mean <= limit and not failed, text)


def more_than(grid: Grid, point: Point, read: Read, limit: float, unit: str) -> Check:
    """The mean of the runs, VALID and FAILED, exceeds the limit, and the control's does not."""
    found = point.estimate(read, with_failed=True)
    if found.mean is None:
        return missing(point.title)
    text = f"{point.title}: {figure(found, unit)}" + (f", {len(point.failed)} FAILED" if point.failed else "")
    control = _control(grid, point, read)
    if found.mean > limit and control is not None and control > limit:
        return Check(None, f"{text}, but the control alone shows {control:.3f} {unit}", shown=True)
    return Check(found.mean > limit, text)


def about(point: Point, read: Read, value: float, unit: str) -> Check:
    """The mean lies within the factor ABOUT of a value: of the VALID runs, or of the FAILED where none is VALID."""
    found = point.estimate(read, with_failed=not point.valid)
    if found.mean is None:
        failed = f": {len(point.failed)} of {len(point.runs)} runs FAILED" if point.failed else ""
        return Check(False, point.title + failed) if failed else missing(point.title)
    text = f"{point.title}: {figure(found, unit)}" + (f", {len(point.failed)} FAILED" if point.failed else "")
    return Check(value / ABOUT <= found.mean <= value * ABOUT, text)


def _control(grid: Grid, point: Point, read: Read) -> float | None:
    control = grid.beside(point, "none")
    return None if control is None else control.estimate(read).mean


Test = Callable[[Point], Check]


def up_to(grid: Grid, image: str, mode: str, load_m: float, test: Test, end: bool = True) -> list[Check]:
    """Every measured load up to one, in every frame size measured; with `end` that load itself must be among them."""
    checks = []
    for frame_bytes in grid.frames(image):
        checks += [test(point) for point in grid.select(image, mode, frame_bytes, at_most=load_m)]
        if end and grid.at(image, mode, frame_bytes, load_m) is None:
            checks.append(missing(f"{image} {frame_bytes} B {mode} {load_m:g}M"))
    return checks or [missing(f"{image} {mode} up to {load_m:g}M")]


def beyond(grid: Grid, image: str, mode: str, load_m: float, test: Test) -> list[Check]:
    """Every measured load above one."""
    checks = [test(point) for point in grid.select(image, mode, above=load_m)]
    return checks or [missing(f"{image} {mode} beyond {load_m:g}M")]


def exactly_at(grid: Grid, image: str, mode: str, load_m: float, test: Test, both: bool = False) -> list[Check]:
    """One load, in every frame size measured; with `both` in the two of the paper."""
    checks = []
    for frame_bytes in FRAMES if both else grid.frames(image):
        point = grid.at(image, mode, frame_bytes, load_m)
        checks.append(missing(f"{image} {frame_bytes} B {mode} {load_m:g}M") if point is None else test(point))
    return checks or [missing(f"{image} {mode} {load_m:g}M")]


def side_by_side(grid: Grid, image: str, above: float, test: Callable[[Point, Point], Check]) -> list[Check]:
    """Every load above one that was measured with statelets (first argument) and with duplication (second).

    A load at which duplication has no VALID run has nothing to be beside; one at which only statelets have none is a
    counterexample.
    """
    checks = []
    for statelet in grid.select(image, "statelet", above=above):
        duplication = grid.beside(statelet, "duplication")
        if duplication is None:
            continue
        if not duplication.valid:
            text = f"{duplication.title}: no VALID run, {len(duplication.failed)} FAILED"
            checks.append(Check(None, text, required=False))
        elif not statelet.valid:
            checks.append(Check(False, f"{statelet.title}: no VALID run, {len(statelet.failed)} FAILED"))
        else:
            checks.append(test(statelet, duplication))
    return checks or [missing(f"{image} statelet beside duplication beyond {above:g}M")]


def ledger_packets(run: RunSummary, *names: str) -> int | None:
    """Packets of the whole run in the named rows of the ledger; None without a ledger."""
    if run.ledger is None:
        return None
    return sum(row.echo_packets + row.server_packets for row in run.ledger.rows if row.name in names)
