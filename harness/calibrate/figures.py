"""What a calibration measured: plain figures, each with its count and spread. No decisions here (see limits)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from harness.measure.histogram import nearest_rank

Direction = Literal["towards", "from"]
"""Of an instance's uplink: towards the instance, or from it."""


@dataclass(frozen=True)
class Spread:
    """Nearest-rank percentiles and ends of `count` times, in ns."""

    count: int
    minimum_ns: int
    p50_ns: int
    p99_ns: int
    maximum_ns: int


def spread_of(times_ns: Sequence[int]) -> Spread | None:
    """The spread of some times; None for none."""
    if not times_ns:
        return None
    ascending = sorted(int(time_ns) for time_ns in times_ns)
    p50, p99 = (ascending[nearest_rank(len(ascending), quantile)] for quantile in (0.5, 0.99))
    return Spread(len(ascending), ascending[0], p50, p99, ascending[-1])


@dataclass(frozen=True)
class RateFigure:
    """What the meter of one direction of an uplink let through while it was offered more.

    asked_bps: the profile's rate; offered_bps: of the sender; measured_bps: of whole frames with their Ethernet header,
    as the meter counts them, over `intervals` in which the meter was at its limit (None: there were none), with the
    slowest and the fastest interval. resolution_bps: what two frames more or less amount to. stalled: the sender was
    stopped for too long in some interval. metered_packets left the meter, arrived_packets came out of the link.
    idle_fraction: of the CPUs meanwhile (None: not known).
    """

    instance: str
    direction: Direction
    asked_bps: int
    offered_bps: int
    frame_bytes: int
    intervals: int
    measured_bps: int | None
    minimum_bps: int | None
    maximum_bps: int | None
    resolution_bps: int
    stalled: bool
    metered_packets: int
    arrived_packets: int
    idle_fraction: float | None = None

    @property
    def link(self) -> str:
        """The link in words."""
        return f"{self.instance} uplink, {self.direction} the instance"


@dataclass(frozen=True)
class LatencyFigure:
    """Times over one path that crosses uplinks `crossings` times; asked_ns is the sum over all of them.

    `path` says what lies between the two timestamps. sent: probes; the spread counts those that arrived. load_bps:
    through the VNF meanwhile, both directions together (0: the probes alone). idle_fraction: of the CPUs meanwhile
    (None: not known). impairment: what the path does to frames on purpose, which keeps it from being judged.
    """

    instance: str
    path: str
    crossings: int
    asked_ns: int
    sent: int
    measured: Spread | None
    load_bps: int = 0
    idle_fraction: float | None = None
    impairment: str = ""

    @property
    def link(self) -> str:
        """The path in words."""
        return f"{self.instance}, {self.path}"


@dataclass(frozen=True)
class CompetitionFigure:
    """A TCP stream as those of a migration beside UDP through the VNF, both under one direction's meter of `asked_bps`.

    paced_bps: of the stream (None: as fast as it can). udp_offered_bps and udp_achieved_bps: of this direction of the
    link, whole frames; udp_lost_packets of udp_packets round trips were lost. rtt: of the UDP, from the intended send
    time. tcp_goodput_bps: payload that arrived (None: nothing did). total_bps: of everything the meter let through.
    """

    instance: str
    congestion_control: str
    asked_bps: int
    paced_bps: int | None
    udp_offered_bps: int
    udp_achieved_bps: int
    udp_packets: int
    udp_lost_packets: int
    rtt: Spread | None
    tcp_goodput_bps: int | None
    total_bps: int | None
    duration_ns: int
    idle_fraction: float | None = None

    @property
    def path(self) -> str:
        """What competes, in words."""
        pacing = "unpaced" if self.paced_bps is None else "paced"
        return f"from the instance, {pacing} TCP ({self.congestion_control}) beside UDP"

    @property
    def link(self) -> str:
        """The link in words."""
        return f"{self.instance} uplink, {self.path}"


@dataclass(frozen=True)
class TransferFigure:
    """A TCP transfer between the instances' management addresses, paced at paced_bps a little below the meter's rate.

    goodput_bps counts payload only, as received from the end of the slow start to the end of the transfer (None:
    nothing came).
    """

    instance: str
    path: str
    asked_bps: int
    paced_bps: int
    payload_bytes: int
    duration_ns: int
    goodput_bps: int | None

    @property
    def link(self) -> str:
        """The path in words."""
        return f"{self.instance}, {self.path}"


@dataclass(frozen=True)
class Figures:
    """Everything a calibration measured. tick_ns: the granularity of the delay lines (dataplane.tick). transfer: None
    where the calibration was a short one."""

    latency_backend: str
    tick_ns: int
    rates: tuple[RateFigure, ...]
    latencies: tuple[LatencyFigure, ...]
    transfer: TransferFigure | None = None
    competitions: tuple[CompetitionFigure, ...] = ()

    def document(self) -> dict[str, Any]:
        """As JSON data."""
        return asdict(self)
