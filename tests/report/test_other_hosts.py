from __future__ import annotations

from harness.record.summary import OtherHostSummary
from harness.report.other_hosts import host_lines
from tests.report.conftest import make_run


def host(bound_ns: int) -> dict[str, OtherHostSummary]:
    return {"alpha": OtherHostSummary(nodes=("source",), clock_offset_ns=5, clock_error_bound_ns=bound_ns)}


def test_the_largest_bound_of_a_host_s_clock_is_told() -> None:
    runs = [make_run("none", other_hosts=host(250_000)), make_run("statelet", other_hosts=host(400_000))]
    assert host_lines(runs) == ["host alpha: source; clocks agree within 0.4 ms"]
    assert host_lines([make_run("none")]) == []
