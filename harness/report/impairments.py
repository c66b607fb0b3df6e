"""What was done to the links and the machine on purpose, beside the figures it explains."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from harness.record.summary import RunSummary
from harness.units import format_time


def carried_out(run: RunSummary) -> str | None:
    """How many of a run's impairments came about; None where none was planned."""
    if not run.impairments:
        return None
    done = sum(1 for impairment in run.impairments if impairment.error is None)
    return f"{done} of {len(run.impairments)}"


def impairment_lines(runs: Sequence[RunSummary]) -> list[str]:
    """One line per link with conditions of its own, and per change, with the number of runs that had it."""
    lines = []
    links = Counter((link, text) for run in runs for link, text in run.links.items())
    lines += [f"link {link}: {text}{_share(count, runs)}" for (link, text), count in links.items()]
    steps = Counter((step.at_ns, step.text) for run in runs for step in run.impairments if step.error is None)
    for (at_ns, text), count in sorted(steps.items()):
        lines.append(f"s+{format_time(max(0, at_ns))} {text}{_share(count, runs)}")
    return lines


def _share(count: int, runs: Sequence[RunSummary]) -> str:
    return "" if count == len(runs) else f" (in {count} of {len(runs)} runs)"
