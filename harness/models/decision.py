"""The operator's question: which strategy moves a chain within its service level agreement, with which m, at what cost.

Candidates are serial migration and the m-mixed strategy for every m (m = 1: improved serial, m = M: parallel) of the
paper on service function chain migration (IoTBDS 2017). Of those within the limits the one with the shortest migration
time is chosen, as the paper argues: the downtime is what the users see, the migration time what the infrastructure
pays, and also what blocks other requests.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from harness.errors import UsageError
from harness.models import chain as model
from harness.models import queueing
from harness.models.chain import Chain
from harness.models.domain import array
from harness.models.multi_vm import Rounding


@dataclass(frozen=True)
class Limits:
    """Largest downtime in s, blocking probability, and mean waiting time in s; None: no limit."""

    downtime_s: float | None = None
    blocking: float | None = None
    waiting_s: float | None = None


@dataclass(frozen=True)
class Candidate:
    """A strategy and what it costs; `broken` are the limits it does not keep. None: not defined (does not converge)."""

    name: str
    parallel_vms: int | None
    time_s: float | None
    downtime_s: float | None
    blocking: float | None
    waiting_s: float | None
    """None also where the queue is unstable."""
    broken: tuple[str, ...]


@dataclass(frozen=True)
class Decision:
    """`required_m` is the real m of Eq. 19, None where the downtime limit does not bind or is out of reach of any m."""

    candidates: tuple[Candidate, ...]
    chosen: Candidate | None
    required_m: float | None
    channels: int
    explanation: str


def decide(chain: Chain, limits: Limits, arrival_per_s: float, channels: int, rounding: Rounding = "ceil") -> Decision:
    """Compare every strategy. The chain's fields are scalars; a request's service time is its migration time.

    UsageError: a limit that is no limit, or a chain no strategy can move.
    """
    _check(limits)
    vnfs = int(array(chain.vms))
    every_m = np.arange(1, vnfs + 1)
    times, downtimes = model.mixed_time(chain, every_m, rounding), model.mixed_downtime(chain, every_m, rounding)
    serial = float(model.serial_time(chain, rounding)), float(model.serial_downtime(chain, rounding))
    candidates = [_candidate("serial", None, *serial, limits, arrival_per_s, channels)]
    for m, time_s, downtime_s in zip(every_m.tolist(), times.tolist(), downtimes.tolist(), strict=True):
        name = "improved serial (m = 1)" if m == 1 else f"parallel (m = M = {m})" if m == vnfs else f"{m}-mixed"
        candidates.append(_candidate(name, m, time_s, downtime_s, limits, arrival_per_s, channels))
    kept = [c for c in candidates if not c.broken and c.time_s is not None]
    chosen = min(kept, key=lambda c: (c.time_s or 0.0, c.downtime_s or 0.0), default=None)
    required = _required(chain, limits)
    return Decision(tuple(candidates), chosen, required, channels, _explain(candidates, chosen, limits))


def _candidate(
    name: str,
    m: int | None,
    time_s: float | None,
    downtime_s: float | None,
    limits: Limits,
    arrival_per_s: float,
    channels: int,
) -> Candidate:
    if time_s is None or downtime_s is None:
        return Candidate(name, m, None, None, None, None, ("does not converge: m*lambda is 1 or more",))
    lost = float(queueing.blocking(arrival_per_s, time_s, channels))
    stable = arrival_per_s * time_s < channels
    waiting = float(queueing.waiting_time(arrival_per_s, time_s, channels)) if stable else None
    broken = []
    if limits.downtime_s is not None and downtime_s > limits.downtime_s * (1 + 1e-12):
        broken.append(f"downtime {downtime_s:.4g} s")
    if limits.blocking is not None and lost > limits.blocking:
        broken.append(f"blocking {lost:.3g}")
    if limits.waiting_s is not None and (waiting is None or waiting > limits.waiting_s):
        broken.append("unstable queue" if waiting is None else f"waiting {waiting:.4g} s")
    return Candidate(name, m, time_s, downtime_s, lost, waiting, tuple(broken))


def _required(chain: Chain, limits: Limits) -> float | None:
    if limits.downtime_s is None:
        return None
    try:
        return float(model.required_parallel_vms(chain, limits.downtime_s))
    except UsageError:
        return None


def _explain(candidates: list[Candidate], chosen: Candidate | None, limits: Limits) -> str:
    defined = [c for c in candidates if c.time_s is not None and c.downtime_s is not None]
    if chosen is None:
        least = min(defined, key=lambda c: c.downtime_s or 0.0)
        lost = min(defined, key=lambda c: c.blocking or 0.0)
        return (
            f"no strategy keeps the limits: the shortest downtime is {least.downtime_s:.4g} s ({least.name}), the "
            f"lowest blocking {lost.blocking:.3g} ({lost.name}); allow more, or raise the rate or the bandwidth"
        )
    fastest = min(defined, key=lambda c: c.time_s or 0.0)
    text = f"{chosen.name}: migration {chosen.time_s:.4g} s, downtime {chosen.downtime_s:.4g} s"
    if chosen is fastest:
        return f"{text}; no strategy migrates faster"
    more = (chosen.time_s or 0.0) - (fastest.time_s or 0.0)
    less = (fastest.downtime_s or 0.0) - (chosen.downtime_s or 0.0)
    added = (chosen.blocking or 0.0) - (fastest.blocking or 0.0)
    return (
        f"{text}; against the fastest, {fastest.name}, it costs {more:.4g} s of migration time and {added:+.3g} "
        f"blocking, and saves {less:.4g} s of downtime"
    )


def _check(limits: Limits) -> None:
    for name, value in (("largest downtime", limits.downtime_s), ("largest waiting time", limits.waiting_s)):
        if value is not None and not value >= 0:
            raise UsageError(f"{name} in s must be 0 or more; it is {value:g}")
    if limits.blocking is not None and not 0 <= limits.blocking <= 1:
        raise UsageError(f"largest blocking is a probability, 0 to 1; it is {limits.blocking:g}")
