"""What a link must hold to count as calibrated, and the decision. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from harness.calibrate.figures import Figures, LatencyFigure, RateFigure, TransferFigure
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
EARLY_NS = 50_000
"""Per crossing, how much earlier than asked a frame may come: the difference of the two clocks that stamp it."""
LATE_NS = 200_000
"""Per crossing, beside the timer error: two context switches and the way through the bridge, on a machine with time."""
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
    named.append((figures.transfer.link, transfer_faults(figures.transfer)))
    return tuple(Fault(fault.breach, f"{name}: {fault.text}") for name, faults in named for fault in faults)


def latency_limits_ns(figure: LatencyFigure, tick_ns: int) -> tuple[int, int]:
    """Least and largest median of a path."""
    least = figure.asked_ns - figure.crossings * EARLY_NS
    return max(0, least), figure.asked_ns + figure.crossings * (LATE_NS + tick_ns)


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
        yield Fault(
            True, f"{lost} of {figure.metered_packets} frames lost behind the meter, limit {ARRIVAL_TOLERANCE:.1%}"
        )


def latency_faults(figure: LatencyFigure, tick_ns: int) -> Iterator[Fault]:
    """Of one path. Only the median is judged: tails are the machine's, and the control run shows them."""
    measured = figure.measured
    if measured is None or measured.count < min(PROBES_MIN, figure.sent):
        arrived = 0 if measured is None else measured.count
        yield Fault(True, f"{arrived} of {figure.sent} probes found at both ends of the path, limit {PROBES_MIN}")
        return
    least, most = latency_limits_ns(figure, tick_ns)
    if not least <= measured.p50_ns <= most:
        limits = f"{least / 1e6:.3f} to {most / 1e6:.3f} ms"
        crossings = "1 crossing" if figure.crossings == 1 else f"{figure.crossings} crossings"
        yield Fault(True, f"latency p50 {measured.p50_ns / 1e6:.3f} ms over {crossings}, limits {limits}")


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
