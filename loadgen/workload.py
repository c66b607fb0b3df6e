"""What the load is, in parameters: how many packets, of which flows, sizes and times. No schedule yet."""

from __future__ import annotations

from dataclasses import dataclass

from harness.errors import UsageError

NS_PER_S = 1_000_000_000
SERVER_START_NS = 200_000_000
"""Server-originated packets begin when the first flows have long been seen by the echoserver."""
PACKETS_MAX = 1 << 26
DRAWS_MAX = 1 << 24
"""Handovers, or on and off times, that are drawn ahead."""
ARRIVALS = ("constant", "poisson", "on_off")
HANDOVER_DISTRIBUTIONS = ("uniform", "exponential")
CELLS_MAX = 65_535


@dataclass(frozen=True)
class Subscribers:
    """Every flow is a subscriber who stays in one of `cells` cells for a random time and then enters another.

    handover_distribution: of that time, "uniform" on 0..2 `handover_mean_ns` or "exponential". A cell is announced by
    the first packet sent from it; with `repeat_until_confirmed` by every packet until one has come back from it.
    """

    cells: int
    handover_mean_ns: int
    handover_distribution: str = "uniform"
    repeat_until_confirmed: bool = False

    def __post_init__(self) -> None:
        if self.handover_distribution not in HANDOVER_DISTRIBUTIONS:
            raise UsageError(
                f"workload: subscribers.handover_distribution {self.handover_distribution!r} is unknown; "
                f"{' and '.join(HANDOVER_DISTRIBUTIONS)} are possible"
            )
        if not 2 <= self.cells <= CELLS_MAX:
            raise UsageError(f"workload: subscribers.cells is {self.cells}; 2 to {CELLS_MAX} are possible")
        if self.handover_mean_ns < 1:
            raise UsageError(f"workload: subscribers.handover_mean_ns is {self.handover_mean_ns}, at least 1 is needed")


@dataclass(frozen=True)
class Workload:
    """Echo requests at a mean of `rate_pps` for `duration_ns`, over `flows` base flows and flows opened during the run.

    arrivals: "constant", "poisson" or "on_off" with mean on and off times `on_ns` and `off_ns` (loadgen.arrivals).
    Frames are of `frame_bytes` or, where `frame_mix` lists (bytes, share), of those sizes in those shares.
    New flows open evenly spaced, `new_flows_per_s`; each sends `new_flow_packets` packets, 0 / 50 ms / 200 ms / 1 s /
    3 s and then every 3 s after its opening, as far as the load lasts. `subscribers`: None for plain sockets.
    Construction raises UsageError for what cannot be sent.
    """

    rate_pps: int
    duration_ns: int
    flows: int
    frame_bytes: int
    new_flows_per_s: int = 0
    new_flow_packets: int = 4
    server_packets_per_s: int = 0
    arrivals: str = "constant"
    seed: int = 0
    on_ns: int = 100_000_000
    off_ns: int = 100_000_000
    frame_mix: tuple[tuple[int, int], ...] = ()
    subscribers: Subscribers | None = None

    def __post_init__(self) -> None:
        if self.arrivals not in ARRIVALS:
            raise UsageError(f"workload: arrivals {self.arrivals!r} is unknown; {', '.join(ARRIVALS)} are possible")
        for name in ("rate_pps", "duration_ns", "flows", "new_flow_packets", "on_ns", "off_ns"):
            if getattr(self, name) < 1:
                raise UsageError(f"workload: {name} is {getattr(self, name)}, at least 1 is needed")
        for name in ("new_flows_per_s", "server_packets_per_s"):
            if getattr(self, name) < 0:
                raise UsageError(f"workload: {name} is {getattr(self, name)}, at least 0 is needed")
        if not 1 <= self.packets <= PACKETS_MAX:
            raise UsageError(
                f"workload: {self.rate_pps} pps for {self.duration_ns} ns are {self.packets} packets; "
                f"1 to {PACKETS_MAX} are possible"
            )
        if 2 * self.new_flows_per_s * self.new_flow_packets > self.rate_pps:
            raise UsageError(
                f"workload: new flows send {self.new_flows_per_s * self.new_flow_packets} of {self.rate_pps} packets/s"
                "; at most half is possible"
            )
        if self.arrivals == "on_off" and self.duration_ns // (self.on_ns + self.off_ns) > DRAWS_MAX:
            raise UsageError(f"workload: on_ns + off_ns is {self.on_ns + self.off_ns}, too short for the load's length")
        if self.subscribers is not None and self._handovers > DRAWS_MAX:
            raise UsageError(
                f"workload: subscribers.handover_mean_ns makes {self._handovers} handovers; at most {DRAWS_MAX} are "
                "possible"
            )

    @property
    def packets(self) -> int:
        """N, the echo requests of the load."""
        return self.rate_pps * self.duration_ns // NS_PER_S

    @property
    def server_packets(self) -> int:
        """M, the server-originated packets of the load."""
        return max(0, self.duration_ns - SERVER_START_NS) * self.server_packets_per_s // NS_PER_S

    @property
    def new_flows(self) -> int:
        """Flows that open during the load."""
        return self.new_flows_per_s * self.duration_ns // NS_PER_S

    @property
    def _handovers(self) -> int:
        """About how many there are."""
        mean_ns = self.subscribers.handover_mean_ns if self.subscribers else self.duration_ns
        return (self.flows + self.new_flows) * self.duration_ns // mean_ns
