"""What a link must hold to count as calibrated, and the decision. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from harness.calibrate.figures import CompetitionFigure, Figures, LatencyFigure, RateFigure, TransferFigure
from harness.calibrate.management import PATH as MANAGEMENT_PATH
from harness.units import format_rate

RATE_TOLERANCE = 0.02
"""Of the meter's rate. The kernel's token bucket is exact to a frame; what remains is the moment of reading its
counters. Loss under overload is the difference of two rates, so an error of the meter shows in it many times over."""
OFFER_SHARE = 1.05
"""A meter can only be judged by a sender that offers at least so much of its rate."""
INTERVALS_MIN = 4
"""Fewer intervals of 20 ms at the meter's limit than this say nothing of its rate: the machine stood still between."""
ARRIVAL_TOLERANCE = 0.001
"""Of the frames that left the meter: a veth loses none unless its far end has no time to receive."""
LATENCY_TOLERANCE_NS = 100_000
"""Per crossing, of the median: two context switches and the way through the bridge, on a machine with time."""
P99_TOLERANCE_NS = 1_000_000
"""Per crossing, of the 99th percentile."""
ELEMENT_NS = 100_000
"""Per crossing of the management path, more: its latency is made by a process of its own on the way, and it is timed
between programs."""
IDLE_MIN = 0.1
"""Of the CPUs. With less of them idle a frame waits for a CPU, and what is late says nothing of the link."""
TOTAL_TOLERANCE = 0.02
"""Of the meter's rate, by which load and state stream together may exceed it."""
TOTAL_REQUIRED = 0.9
"""Of the meter's rate, which load and state stream together must reach where the stream is paced to what is left. As
fast as it can, TCP saws against a meter that drops, and less is no breach."""
SLOW_RTT_NS = 50_000_000
"""Beyond it a stream has hardly found the rate when the measurement ends."""
PROBES_MIN = 10
"""Fewer probes than this have no median to speak of."""
GOODPUT_EXPECTED = 0.9
"""Of the rate: what an unhindered bulk transfer of full segments reaches (95.6 % is the headers' bound at 1500)."""
GOODPUT_REQUIRED = 0.5
"""Of the rate. Loose on purpose: one stall of the machine costs TCP a tenth of a short transfer; half the rate is only
missed where something other than the meter limits it, and then every snapshot measures that instead."""


class Fault(NamedTuple):
    """What is wrong with a figure. `breach`: a limit is not held; else the figure could not be judged here."""

    breach: bool
    text: str


def faults_of(figures: Figures) -> tuple[Fault, ...]:
    """All faults, each one line with link, measured and limit."""
    named: list[tuple[str, Iterator[Fault]]] = [(rate.link, rate_faults(rate)) for rate in figures.rates]
    named += [(latency.link, latency_faults(latency, figures.tick_ns)) for latency in figures.latencies]
    if figures.transfer is not None:
        named.append((figures.transfer.link, transfer_faults(figures.transfer)))
    rtt_ns = max((latency.asked_ns for latency in figures.latencies), default=0)
    named += [(found.link, competition_faults(found, rtt_ns)) for found in figures.competitions]
    return tuple(Fault(fault.breach, f"{name}: {fault.text}") for name, faults in named for fault in faults)


def latency_limits_ns(figure: LatencyFigure, tick_ns: int) -> tuple[int, int]:
    """Least and largest median of a path. A tick coarser than the default may put as many frames half of it early as
    late, but one path's all to one side."""
    tolerance_ns = max(LATENCY_TOLERANCE_NS, tick_ns // 2)
    if figure.path.startswith(MANAGEMENT_PATH):
        tolerance_ns += ELEMENT_NS
    least = figure.asked_ns - figure.crossings * tolerance_ns
    return max(0, least), figure.asked_ns + figure.crossings * tolerance_ns


def undecided(figure: RateFigure) -> bool:
    """Whether the machine stood still too often to judge the meter; another attempt may do better."""
    return figure.stalled and figure.intervals < INTERVALS_MIN


def rate_faults(figure: RateFigure) -> Iterator[Fault]:
    """Of the meter of one direction."""
    asked, offered = format_rate(figure.asked_bps), format_rate(figure.offered_bps, 4)
    if figure.measured_bps is None or figure.intervals < INTERVALS_MIN:
        if figure.offered_bps < OFFER_SHARE * figure.asked_bps and figure.measured_bps is None:
            yield Fault(False, f"not measurable: only {offered}/s offered, {OFFER_SHARE:g} x {asked}/s are needed")
        elif figure.measured_bps is None and figure.arrived_packets > 0 and not figure.stalled:
            yield Fault(True, f"the meter holds nothing back: {offered}/s offered, limit {asked}/s")
        else:
            yield Fault(
                False,
                f"not measurable: the sender was stopped too often, {figure.intervals} usable intervals of at least "
                f"{INTERVALS_MIN}; is the machine busy?",
            )
        return
    allowed_bps = RATE_TOLERANCE * figure.asked_bps + figure.resolution_bps
    if abs(figure.measured_bps - figure.asked_bps) > allowed_bps:
        measured, allowed = format_rate(figure.measured_bps, 4), format_rate(round(allowed_bps), 3)
        yield Fault(True, f"rate {measured}/s measured, {asked}/s asked, limit +- {allowed}/s")
    lost = figure.metered_packets - figure.arrived_packets
    if lost > ARRIVAL_TOLERANCE * figure.metered_packets:
        told = f"{lost} of {figure.metered_packets} frames lost behind the meter, limit {ARRIVAL_TOLERANCE:.1%}"
        yield Fault(not _is_busy(figure.idle_fraction), told + _busy_text(figure.idle_fraction))


def latency_faults(figure: LatencyFigure, tick_ns: int) -> Iterator[Fault]:
    """Of one path. Without a load only the median is judged: few probes have no tail to speak of.

    A frame that is late where no CPU was idle may have waited for one: a doubt, unless even the promptest was late.
    """
    if figure.impairment:
        return
    measured = figure.measured
    if measured is None or measured.count < min(PROBES_MIN, figure.sent):
        arrived = 0 if measured is None else measured.count
        if figure.load_bps:
            lost = f"packets of {format_rate(figure.load_bps, 4)}/s through the VNF were lost"
            yield Fault(False, f"not measurable: {lost}: the machine does not carry them")
        else:
            yield Fault(True, f"{arrived} of {figure.sent} probes found at both ends of the path, limit {PROBES_MIN}")
        return
    least, most = latency_limits_ns(figure, tick_ns)
    busy, told = _is_busy(figure.idle_fraction), _busy_text(figure.idle_fraction)
    crossings = "1 crossing" if figure.crossings == 1 else f"{figure.crossings} crossings"
    load = f" at {format_rate(figure.load_bps, 4)}/s through the VNF" if figure.load_bps else ""
    if not least <= measured.p50_ns <= most:
        limits = f"{least / 1e6:.3f} to {most / 1e6:.3f} ms"
        breach = measured.p50_ns < least or measured.minimum_ns > most or not busy
        text = f"latency p50 {measured.p50_ns / 1e6:.3f} ms over {crossings}{load}, limits {limits}"
        yield Fault(breach, text + told)
    worst = figure.asked_ns + figure.crossings * P99_TOLERANCE_NS
    if figure.load_bps and measured.p99_ns > worst:
        text = f"latency p99 {measured.p99_ns / 1e6:.3f} ms over {crossings}{load}, limit {worst / 1e6:.3f} ms"
        yield Fault(not busy, text + told)


def competition_faults(figure: CompetitionFigure, rtt_ns: int) -> Iterator[Fault]:
    """Of load and state stream under one meter. rtt_ns: of the path, as asked."""
    if figure.total_bps is None or figure.tcp_goodput_bps is None:
        yield Fault(False, "not measurable: the TCP stream did not get going in time")
        return
    total, asked = format_rate(figure.total_bps, 4), format_rate(figure.asked_bps)
    if figure.total_bps > (1 + TOTAL_TOLERANCE) * figure.asked_bps:
        yield Fault(True, f"{total}/s together, limit {1 + TOTAL_TOLERANCE:g} x {asked}/s")
    if figure.total_bps < TOTAL_REQUIRED * figure.asked_bps:
        busy, slow = _is_busy(figure.idle_fraction), rtt_ns > SLOW_RTT_NS
        why = _busy_text(figure.idle_fraction)
        if slow:
            why = f"; the RTT of {rtt_ns / 1e6:g} ms is too long for so short a stream"
        elif figure.paced_bps is None and not busy:
            why = "; as fast as it can, TCP saws against a meter that drops"
        breach = figure.paced_bps is not None and not busy and not slow
        yield Fault(breach, f"{total}/s together, expected {TOTAL_REQUIRED:g} x {asked}/s{why}")


def _is_busy(idle_fraction: float | None) -> bool:
    return idle_fraction is not None and idle_fraction < IDLE_MIN


def _busy_text(idle_fraction: float | None) -> str:
    busy = idle_fraction is not None and _is_busy(idle_fraction)
    return f"; only {idle_fraction:.0%} of the CPUs was idle" if busy else ""


def transfer_faults(figure: TransferFigure) -> Iterator[Fault]:
    """Of the bulk transfer; between the required and the expected goodput there is no fault, but a note."""
    if figure.goodput_bps is None:
        yield Fault(True, "no byte of a TCP transfer arrived in time")
    elif figure.goodput_bps < GOODPUT_REQUIRED * figure.asked_bps:
        measured, asked = format_rate(figure.goodput_bps, 4), format_rate(figure.asked_bps)
        yield Fault(True, f"TCP goodput {measured}/s, limit {GOODPUT_REQUIRED:g} x {asked}/s")


def transfer_note(figure: TransferFigure) -> str:
    """Whether a transfer without fault reached what is expected of it."""
    if figure.goodput_bps is not None and figure.goodput_bps >= GOODPUT_EXPECTED * figure.asked_bps:
        return "ok"
    return f"ok, below {GOODPUT_EXPECTED:g} x the rate"
