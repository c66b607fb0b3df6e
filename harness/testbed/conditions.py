"""What one direction of a link does to frames: meter, delay and impairments, as data. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from harness.errors import ProfileError

Direction = Literal["up", "down"]
"""Of a node's link: "up" is towards the fabric, "down" is from it."""
DIRECTIONS: tuple[Direction, ...] = get_args(Direction)

Distribution = Literal["uniform", "normal", "pareto", "paretonormal"]
DISTRIBUTIONS: tuple[Distribution, ...] = get_args(Distribution)
"""Of the IPDV, as tc-netem(8) names them."""

PROBABILITIES = ("loss", "duplication", "reordering", "corruption")
MIN_RATE_BPS, MAX_RATE_BPS = 1_000_000, 34_000_000_000
MAX_DELAY_NS = 60_000_000_000
_NS_PER_BYTE_AND_BPS = 8_000_000_000


@dataclass(frozen=True)
class LinkConditions:
    """One direction of a link. Raises ProfileError for values that mean nothing.

    `rate_bps` is the meter's (None: no meter), its bucket lasts `burst_ns` at that rate, and `queue_limit_bytes` may
    wait for tokens. Delay and impairments mean what tc-netem(8) means by them: each frame takes `latency_ns` plus a
    draw of `ipdv_distribution`, of which `ipdv_ns` is the half-width if it is uniform and the standard deviation
    otherwise; `loss`, `duplication`, `reordering` and `corruption` are probabilities from 0 to 1, each independent of
    the frame before. A reordered frame skips the delay; a corrupted one has one bit flipped.
    """

    rate_bps: int | None = None
    burst_ns: int = 20_000_000
    queue_limit_bytes: int = 65536
    latency_ns: int = 0
    ipdv_ns: int = 0
    ipdv_distribution: Distribution = "uniform"
    loss: float = 0.0
    duplication: float = 0.0
    reordering: float = 0.0
    corruption: float = 0.0

    def __post_init__(self) -> None:
        if self.rate_bps is not None and not MIN_RATE_BPS <= self.rate_bps <= MAX_RATE_BPS:
            raise ProfileError(f"rate {self.rate_bps} bit/s: must be between 1 Mbit/s and 34 Gbit/s")
        for name, value_ns in (("latency", self.latency_ns), ("ipdv", self.ipdv_ns)):
            if not 0 <= value_ns <= MAX_DELAY_NS:
                raise ProfileError(f"{name} {value_ns} ns: must be between 0 s and 60 s")
        if self.ipdv_distribution not in DISTRIBUTIONS:
            known = ", ".join(DISTRIBUTIONS)
            raise ProfileError(f"ipdv distribution {self.ipdv_distribution!r}: unknown; it is one of {known}")
        for name in PROBABILITIES:
            if not 0.0 <= getattr(self, name) <= 1.0:  # false for NaN, too
                raise ProfileError(f"{name} {getattr(self, name)}: must be a probability from 0 to 1")

    @property
    def bucket_bytes(self) -> int:
        """Size of the meter's bucket; 0 without a meter."""
        return 0 if self.rate_bps is None else self.rate_bps * self.burst_ns // _NS_PER_BYTE_AND_BPS

    @property
    def is_impaired(self) -> bool:
        """Whether frames meet more than a meter and a constant latency."""
        return self.ipdv_ns > 0 or any(getattr(self, name) > 0.0 for name in PROBABILITIES)

    @property
    def delays_or_impairs(self) -> bool:
        """Whether frames meet anything but a meter."""
        return self.latency_ns > 0 or self.is_impaired


UNIMPEDED = LinkConditions()
"""Neither metered, delayed nor impaired."""


@dataclass(frozen=True)
class LaterConditions:
    """What one direction of a link will be during a run; `path` names what asks for it, such as "impairment[0]"."""

    path: str
    node: str
    direction: Direction
    conditions: LinkConditions
