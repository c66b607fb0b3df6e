"""The hosts that carried nodes beside the harness's own, and how far their clocks may have been off."""

from __future__ import annotations

from collections.abc import Sequence

from harness.record.summary import RunSummary
from harness.report.hostile import shown


def host_lines(runs: Sequence[RunSummary]) -> list[str]:
    """One line per host, with the largest error bound of its clock in any run."""
    bounds_ns: dict[tuple[str, tuple[str, ...]], int] = {}
    for run in runs:
        for name, host in run.other_hosts.items():
            key = (name, host.nodes)
            bounds_ns[key] = max(bounds_ns.get(key, 0), host.clock_error_bound_ns)
    return [
        f"host {shown(name, 64)}: {shown(', '.join(nodes), 100)}; clocks agree within {bound_ns / 1e6:.2g} ms"
        for (name, nodes), bound_ns in bounds_ns.items()
    ]
