"""Whether a run may be used: VALID, INVALID (the testbed could not hold the load) or FAILED (a promise was broken)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from harness.measure.histogram import LATE_EDGE_NS
from harness.measure.invariants import Invariant

RunVerdict = Literal["VALID", "INVALID", "FAILED"]
MigrationOutcome = Literal["completed", "aborted", "failed", "none"]


@dataclass(frozen=True)
class ValidityLimits:
    """Largest figures a VALID run may show."""

    # A packet that was never sent carries no information on the VNF: any at all changes the offered load.
    unsent_packets: int = 0
    # RTT counts from the intended send time and 5 ms lie between the base RTT (10 ms) and late (15 ms): a generator
    # later than this for one packet in a hundred makes packets late on its own.
    send_lateness_p99_ns: int = 5_000_000
    # Beyond the depth of the meter's bucket, what a generator that stood still makes up for at once is dropped by the
    # meter: loss of the testbed's own making, whatever the mechanism. As a share of `meter_burst_ns`.
    send_lateness_max_bursts: float = 1.0
    # Drops in the sockets of the measuring processes are losses of the ruler, not of what is measured.
    kernel_dropped_packets: int = 0
    # Share of wall time the threads of one process stood runnable without a CPU. At a quarter, bursts of 5 ms and more
    # are held up so often that the RTT tail is that of the scheduler.
    run_delay_fraction: float = 0.25
    # CPU time the hypervisor gave to others. Beyond a tenth, tails of 5-20 ms appear at any load.
    steal_fraction: float = 0.10
    # Base RTT measured before the load. 4 x 2.5 ms measure 10.1-10.2 ms with the delay line; 1 ms off, a fifth of the
    # distance to late is gone before the load begins. On longer paths the same shares hold: a tenth of the base RTT, as
    # far as that is no more than a fifth of the distance to late.
    base_rtt_error_ns: int = 1_000_000
    base_rtt_error_fraction: float = 0.1
    base_rtt_error_of_late_fraction: float = 0.2


@dataclass(frozen=True)
class RunConditions:
    """What was measured; None: not measured, which is a reason for INVALID (doubt never makes a run VALID).

    run_delay_fractions: by process. base_rtt_*: None for both when the testbed adds no latency to calibrate. late_ns:
    RTT above which a packet is late. base_rtt_tolerance_ns: what the links on purpose add to the error of the base RTT.
    contends_on_purpose: whether other processes were to compete for the CPUs; a generator that could not send on time
    still leaves nothing to measure.
    has_generator: whether there was a load to generate; without one nothing of the generator is judged. failures and
    doubts: of the workload itself, in words.
    """

    unsent_packets: int | None
    send_lateness_p99_ns: int | None
    send_lateness_max_ns: int | None
    meter_burst_ns: int
    loadgen_kernel_dropped_packets: int | None
    echoserver_kernel_dropped_packets: int | None
    run_delay_fractions: Mapping[str, float | None]
    steal_fraction: float | None
    base_rtt_median_ns: int | None
    base_rtt_expected_ns: int | None
    migration_outcome: MigrationOutcome
    migration_reason: str
    invariants: Sequence[Invariant]
    late_ns: int = LATE_EDGE_NS
    base_rtt_tolerance_ns: int = 0
    contends_on_purpose: bool = False
    has_generator: bool = True
    failures: Sequence[str] = ()
    doubts: Sequence[str] = ()


@dataclass(frozen=True)
class Validity:
    """Verdict of a run and every reason against it, with the measured figure and its limit; no reason when VALID."""

    verdict: RunVerdict
    reasons: tuple[str, ...]


def decide_validity(conditions: RunConditions, limits: ValidityLimits | None = None) -> Validity:
    """FAILED when the migration or an invariant failed, else INVALID for any breached limit or doubt, else VALID."""
    limits = limits or ValidityLimits()
    failures = _failures(conditions)
    doubts = _doubts(conditions, limits)
    verdict: RunVerdict = "FAILED" if failures else "INVALID" if doubts else "VALID"
    return Validity(verdict, (*failures, *doubts))


def _failures(conditions: RunConditions) -> list[str]:
    failures = []
    if conditions.migration_outcome in ("aborted", "failed"):
        failures.append(
            f"migration {conditions.migration_outcome}: {conditions.migration_reason or 'no reason recorded'}"
        )
    failures += conditions.failures
    failures += [f"{i.name}: broken ({i.detail})" for i in conditions.invariants if i.verdict == "broken"]
    return failures


def base_rtt_error_limit_ns(expected_ns: int, late_ns: int, limits: ValidityLimits) -> float:
    """How far the base RTT may be from the links' latencies together."""
    relative_ns = limits.base_rtt_error_fraction * expected_ns
    relative_ns = min(relative_ns, limits.base_rtt_error_of_late_fraction * (late_ns - expected_ns))
    return max(float(limits.base_rtt_error_ns), relative_ns)


def _doubts(conditions: RunConditions, limits: ValidityLimits) -> list[str]:
    def over(what: str, value: float | None, limit: float, unit: str, scale: float = 1) -> str | None:
        if value is None:
            return f"{what}: not measured (limit {limit / scale:g}{unit})"
        return f"{what}: {value / scale:.6g}{unit}, limit {limit / scale:g}{unit}" if value > limit else None

    dropped = limits.kernel_dropped_packets
    found: list[str | None] = list(conditions.doubts)
    if conditions.has_generator:
        of_generator = [
            over("generator left packets unsent", conditions.unsent_packets, limits.unsent_packets, " packets"),
            over("generator late, p99", conditions.send_lateness_p99_ns, limits.send_lateness_p99_ns, " ms", 1e6),
            over(
                "generator stood still, and made up for it in a burst beyond the meter's",
                conditions.send_lateness_max_ns,
                limits.send_lateness_max_bursts * conditions.meter_burst_ns,
                " ms",
                1e6,
            ),
            over("kernel drops at loadgen", conditions.loadgen_kernel_dropped_packets, dropped, " packets"),
            over("kernel drops at echoserver", conditions.echoserver_kernel_dropped_packets, dropped, " packets"),
        ]
        remark = " (under the CPU contention that was asked for)" if conditions.contends_on_purpose else ""
        found += [None if reason is None else reason + remark for reason in of_generator]
    found.append(
        over("CPU time stolen by the hypervisor", conditions.steal_fraction, limits.steal_fraction, " %", 0.01)
    )
    for process, fraction in sorted(conditions.run_delay_fractions.items()):
        found.append(over(f"{process} waited for a CPU", fraction, limits.run_delay_fraction, " % of the time", 0.01))
    expected, median = conditions.base_rtt_expected_ns, conditions.base_rtt_median_ns
    if expected is not None:
        error = None if median is None else abs(median - expected)
        limit_ns = base_rtt_error_limit_ns(expected, conditions.late_ns, limits) + conditions.base_rtt_tolerance_ns
        found.append(over("base RTT off its calibration", error, limit_ns, " ms", 1e6))
    found += [f"{i.name}: unknown ({i.detail})" for i in conditions.invariants if i.verdict == "unknown"]
    return [reason for reason in found if reason is not None]
