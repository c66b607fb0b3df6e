"""Two results side by side, one figure at a time: difference, interval, p, effect size and a verdict.

Direction: everything is B against A. Of each figure the verdict follows the Mann-Whitney test; the interval is that of
the Hodges-Lehmann shift, which inverts the same test (harness.measure.statistics), so that the two tell one story.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import Any, Literal

from harness.errors import UsageError
from harness.measure.statistics import Interval, Shift, cliffs_delta, estimate, mann_whitney, shift, smallest_p
from harness.report.bootstrap import skew_interval
from harness.units import UnitError, parse_size, parse_time

Verdict = Literal["better", "worse", "no difference shown", "too few repetitions", "not measured"]
Direction = Literal["lower", "higher"]

SIGNIFICANT_P = 0.05
LIMIT_LENGTH_MAX = 40
_PER_SECOND = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}
_PER_BYTE = {"bytes": 1.0, "MB": 1e-6}
_NUMBER = re.compile(r"[0-9]+(?:\.[0-9]+)?", re.ASCII)


@dataclass(frozen=True)
class Quantity:
    """What is compared: name, unit of its values, direction in which it improves, and how it is shown.

    A value is shown divided by `divisor`, in `shown_unit`, with `digits` after the point. centre: what stands for
    several values, the mean (as in the paper's figures) or the median (as `harness bench` prints). is_skewed: each side
    is given its bootstrap interval (harness.report.bootstrap).
    """

    name: str
    title: str
    unit: str
    better: Direction
    digits: int
    centre: Literal["mean", "median"] = "mean"
    divisor: float = 1.0
    shown_unit: str = ""
    is_skewed: bool = False


@dataclass(frozen=True)
class Limit:
    """How much worse B may be: a share of A's figure, or an amount in seconds, bytes or packets."""

    text: str
    value: float
    kind: Literal["share", "s", "bytes", "packets"]

    def allowed(self, unit: str, a: float) -> float | None:
        """The worsening permitted from `a`, in `unit`; None where the limit is in another kind of unit."""
        if self.kind == "share":
            return self.value * abs(a)
        if self.kind == "s":
            return self.value * _PER_SECOND[unit] if unit in _PER_SECOND else None
        if self.kind == "bytes":
            return self.value * _PER_BYTE[unit] if unit in _PER_BYTE else None
        return self.value if unit == "packets" else None


@dataclass(frozen=True)
class Row:
    """One figure of one pair: values of A and B, everything said about them, and whether it breaches the limit.

    `difference` is B's centre less A's, `relative` that over A's centre (None when A's is 0). `allowed` is the
    worsening the limit permits here, None without a limit for this unit. `a_student_t` (half width) and `a_bca` are
    intervals of A's mean where the figure is skewed, as those of B.
    """

    where: str
    quantity: Quantity
    a: tuple[float, ...]
    b: tuple[float, ...]
    verdict: Verdict
    a_centre: float | None = None
    b_centre: float | None = None
    difference: float | None = None
    relative: float | None = None
    shift: Shift | None = None
    p: float | None = None
    delta: float | None = None
    allowed: float | None = None
    breach: bool = False
    note: str = ""
    a_student_t: float | None = None
    b_student_t: float | None = None
    a_bca: Interval | None = None
    b_bca: Interval | None = None


def parse_limit(text: str) -> Limit:
    """A limit as a user writes it: "5%", "0.1s", "64KiB", "100packets". UsageError when it is none of them."""
    refused = UsageError(
        f"--limit {text!r:.40}: give a share of A's figure (5%) or an amount (0.1s, 5ms, 64KiB, 100packets)"
    )
    if len(text) > LIMIT_LENGTH_MAX:
        raise refused
    number, unit = text.removesuffix("%"), text.removesuffix("packets")
    if text.endswith("%") and _NUMBER.fullmatch(number):
        return Limit(text, float(number) / 100, "share")
    if text.endswith("packets") and _NUMBER.fullmatch(unit.strip()):
        return Limit(text, float(unit), "packets")
    try:
        return Limit(text, parse_time(text) / 1e9, "s")
    except UnitError:
        pass
    try:
        return Limit(text, float(parse_size(text)), "bytes")
    except UnitError:
        raise refused from None


def compare(
    where: str,
    quantity: Quantity,
    first: Sequence[float | None],
    second: Sequence[float | None],
    limit: Limit | None = None,
) -> Row:
    """Set the values of B beside those of A.

    too few repetitions: even samples that do not overlap would not reach p < 0.05 (fewer than 4 against 4). The limit
    is breached when B's centre is worse by more than it *and* the whole interval is; for too few repetitions that is
    the interval of all pairwise differences, for single runs the plain difference, and the note says so.
    """
    a, b = _present(first), _present(second)
    if not a or not b:
        missing = " and ".join(name for name, values in (("A", a), ("B", b)) if not values)
        return Row(
            where, quantity, a, b, "not measured", _centre(quantity, a), _centre(quantity, b), note=f"in {missing}"
        )
    a_centre, b_centre = _middle(quantity, a), _middle(quantity, b)
    difference = b_centre - a_centre
    moved, test, delta = shift(a, b), mann_whitney(a, b), cliffs_delta(a, b)
    assert moved is not None
    assert test is not None
    assert delta is not None
    allowed = limit.allowed(quantity.unit, a_centre) if limit else None
    sign = 1 if quantity.better == "lower" else -1
    least_worsening = moved.low if sign > 0 else -moved.high
    breach = allowed is not None and sign * difference > allowed and least_worsening > allowed
    return Row(
        where=where,
        quantity=quantity,
        a=a,
        b=b,
        verdict=_verdict(len(a), len(b), test.p, sign * delta),
        a_centre=a_centre,
        b_centre=b_centre,
        difference=difference,
        relative=difference / abs(a_centre) if a_centre else None,
        shift=moved,
        p=test.p,
        delta=delta,
        allowed=allowed,
        breach=breach,
        note=_note(len(a), len(b), moved),
        **_intervals(quantity, a, b),
    )


def _intervals(quantity: Quantity, a: Sequence[float], b: Sequence[float]) -> dict[str, Any]:
    if not quantity.is_skewed or quantity.centre != "mean":
        return {}
    return {
        "a_student_t": estimate(a).half_width,
        "b_student_t": estimate(b).half_width,
        "a_bca": skew_interval(a),
        "b_bca": skew_interval(b),
    }


def _verdict(a_count: int, b_count: int, p: float, worsening: float) -> Verdict:
    if smallest_p(a_count, b_count) >= SIGNIFICANT_P:
        return "too few repetitions"
    if p >= SIGNIFICANT_P:
        return "no difference shown"
    return "worse" if worsening > 0 else "better"


def _note(a_count: int, b_count: int, moved: Shift) -> str:
    if a_count == b_count == 1:
        return "single runs: plain difference"
    if smallest_p(a_count, b_count) >= SIGNIFICANT_P:
        return f"{a_count} and {b_count} repetitions: interval of {moved.confidence:.0%} at most"
    return ""


def _present(values: Sequence[float | None]) -> tuple[float, ...]:
    present = tuple(float(value) for value in values if value is not None)
    if not all(math.isfinite(value) for value in present):
        raise ValueError("a value is not finite")
    return present


def _middle(quantity: Quantity, values: Sequence[float]) -> float:
    return fmean(values) if quantity.centre == "mean" else median(values)


def _centre(quantity: Quantity, values: Sequence[float]) -> float | None:
    return _middle(quantity, values) if values else None
