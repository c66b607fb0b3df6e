"""Discrete-event simulation of what the closed forms describe: pre-copy rounds, and requests at C channels.

Each quantity is simulated in independent replications; their Student t interval is to contain the closed form. The
closed forms know means only. Here pages are dirtied as a Poisson process, requests arrive as one, and migrations take
exponential times. Seeded: equal arguments give equal results.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import simpy

from harness.errors import UsageError
from harness.measure.statistics import Estimate, estimate
from harness.models import chain as chain_model
from harness.models import multi_vm, queueing
from harness.models.chain import Chain
from harness.models.multi_vm import VmSet

CONFIDENCE = 0.99
"""One in a hundred correct values lies outside its interval."""

Strategy: TypeAlias = Literal["serial", "parallel", "mixed"]
_Process: TypeAlias = Generator[simpy.Event, Any, None]


@dataclass(frozen=True)
class Agreement:
    """A quantity simulated, beside its closed form (None: none exists). The interval has the given confidence."""

    quantity: str
    unit: str
    closed_form: float | None
    simulated: Estimate
    confidence: float = CONFIDENCE

    @property
    def agrees(self) -> bool | None:
        """Whether the interval contains the closed form; None without a closed form or an interval.

        Without any spread the two must be equal but for rounding.
        """
        mean, half_width = self.simulated.mean, self.simulated.half_width
        if self.closed_form is None or mean is None or half_width is None:
            return None
        return abs(mean - self.closed_form) <= half_width + 1e-9 * abs(self.closed_form)


def simulate_migration(
    vm_set: VmSet, strategy: Strategy, *, parallel_vms: int = 1, page_bytes: int = 4096, replications: int, seed: int
) -> list[Agreement]:
    """Pre-copy of a set of VMs round by round against Eq. 6-9, or of a Chain by the m-mixed strategy (Eq. 15, 16).

    Every VM in parallel has its guaranteed share of the channel, as the papers assume, and rounds are whole. Fields of
    `vm_set` are scalars. parallel_vms: m of the mixed strategy. UsageError as the closed forms.
    """
    vms = int(_scalar(vm_set.vms))
    together = {"serial": 1, "parallel": vms, "mixed": parallel_vms}[strategy]
    closed = _closed_migration(vm_set, strategy, parallel_vms)
    fraction = _scalar(vm_set.copied_fraction) if isinstance(vm_set, Chain) else 1.0
    page_bits = 8 * page_bytes
    run = _Set(
        precopied=vms if strategy == "serial" else together,
        postcopied=vms - together if strategy == "mixed" else 0,
        one_by_one=strategy == "serial",
        pages=round(_scalar(vm_set.memory_bytes) / page_bytes),
        threshold_pages=_scalar(vm_set.threshold_bytes) / page_bytes,
        pages_per_s=_scalar(vm_set.dirty_bps) / page_bits,
        page_s=page_bits / _scalar(vm_set.rate_bps),
        rounds_max=int(_scalar(vm_set.rounds_max)),
        resume_s=_scalar(vm_set.resume_s),
        copied_fraction=fraction,
    )
    samples = _replicate(replications, seed, run.simulate)
    names = (
        ("total migration time", "s", closed[0]),
        ("downtime", "s", closed[1]),
        ("rounds per VM", "rounds", closed[2]),
        ("first stop to last running, with the spread the model leaves out", "s", None),
    )
    return [
        Agreement(name, unit, value, estimate(s, CONFIDENCE))
        for (name, unit, value), s in zip(names, samples, strict=True)
    ]


def simulate_queue(
    arrival_per_s: float,
    service_s: float,
    channels: int,
    *,
    discipline: Literal["lost", "queued"],
    replications: int,
    seed: int,
    requests: int = 4000,
) -> list[Agreement]:
    """Requests at C channels: blocked ones lost (Section 3.1) or waiting in line (Section 3.2, Eq. 22 and 23).

    requests: counted per replication; as many as the queue needs to forget its empty start come before them.
    """
    rho = arrival_per_s * service_s / channels
    if discipline == "lost":
        blocked = float(queueing.blocking(arrival_per_s, service_s, channels))
        closed: Sequence[tuple[str, str, float | None]] = (("blocking probability", "", blocked),)
        warm_up = 10 * channels
    else:
        arguments = (arrival_per_s, service_s, channels)
        closed = (
            ("probability of waiting", "", float(queueing.waiting_probability(*arguments))),
            ("waiting requests", "requests", float(queueing.queue_length(*arguments))),
            ("waiting time", "s", float(queueing.waiting_time(*arguments))),
        )
        # Relaxation time of M/M/C, as a number of arrivals.
        forgets = rho / (1 - math.sqrt(rho)) ** 2
        warm_up = 10 * channels + math.ceil(5 * forgets)
        requests = max(requests, math.ceil(10 * forgets))
    station = _Station(arrival_per_s, service_s, channels, discipline == "lost", warm_up, requests)
    samples = _replicate(replications, seed, station.simulate)
    return [
        Agreement(name, unit, value, estimate(s, CONFIDENCE))
        for (name, unit, value), s in zip(closed, samples, strict=True)
    ]


@dataclass(frozen=True)
class _Set:
    """A set of VMs in pages; `page_s`: a page at the channel's full rate."""

    precopied: int
    postcopied: int
    one_by_one: bool
    pages: int
    threshold_pages: float
    pages_per_s: float
    page_s: float
    rounds_max: int
    resume_s: float
    copied_fraction: float

    def simulate(self, rng: np.random.Generator) -> tuple[float, ...]:
        """Total time, downtime as the model defines it, rounds per VM, first stop to last running."""
        env = simpy.Environment()
        share = 1 if self.one_by_one else self.precopied
        slots = simpy.Resource(env, capacity=share)
        stops: list[float] = []
        ends: list[float] = []
        rounds: list[int] = []

        def precopy() -> _Process:
            with slots.request() as turn:
                yield turn
                pages, number, began = self.pages, 0, env.now
                while True:
                    yield env.timeout(pages * self.page_s * share)
                    pages = int(rng.poisson(self.pages_per_s * (env.now - began)))
                    number, began = number + 1, env.now
                    if pages <= self.threshold_pages or number >= self.rounds_max:
                        break
                stops.append(env.now)
                yield env.timeout(pages * self.page_s * share)
                ends.append(env.now)
                rounds.append(number)

        def migration() -> _Process:
            yield env.all_of([env.process(precopy()) for _ in range(self.precopied)])
            for _ in range(self.postcopied):
                yield env.timeout(self.pages * self.copied_fraction * self.page_s)

        env.run(until=env.process(migration()))
        return self._results(env.now, stops, ends, rounds)

    def _results(
        self, now: float, stops: list[float], ends: list[float], rounds: list[int]
    ) -> tuple[float, float, float, float]:
        """VMs in parallel all end at the same instant in the model: their mean is what it speaks of."""
        after_s = now - max(ends)
        if self.one_by_one:
            time_s, downtime_s = now, now - stops[0]
        else:
            time_s = math.fsum(ends) / len(ends) + after_s
            downtime_s = (math.fsum(ends) - math.fsum(stops)) / len(ends) + after_s
        spread_s = now - min(stops)
        return time_s, downtime_s + self.resume_s, sum(rounds) / len(rounds), spread_s + self.resume_s


@dataclass(frozen=True)
class _Station:
    """C channels; a request that finds none free is lost or waits. The first `warm_up` requests are not counted."""

    arrival_per_s: float
    service_s: float
    channels: int
    lossy: bool
    warm_up: int
    requests: int

    def simulate(self, rng: np.random.Generator) -> tuple[float, ...]:
        """Fraction lost; or fraction that waited, mean number waiting, mean waiting time in s."""
        env = simpy.Environment()
        servers = simpy.Resource(env, capacity=self.channels)
        total = self.warm_up + self.requests
        gaps, services = rng.exponential(1 / self.arrival_per_s, total), rng.exponential(self.service_s, total)
        waits = np.zeros(total)
        lost = np.zeros(total, dtype=bool)
        counted_from_s = 0.0

        def request(number: int) -> _Process:
            arrived = env.now
            with servers.request() as turn:
                yield turn
                waits[number] = env.now - arrived
                yield env.timeout(services[number])

        def arrivals() -> _Process:
            nonlocal counted_from_s
            for number in range(total):
                yield env.timeout(gaps[number])
                if number == self.warm_up:
                    counted_from_s = env.now
                if self.lossy and servers.count == self.channels:
                    lost[number] = True
                else:
                    env.process(request(number))

        env.run(until=env.process(arrivals()))
        counted_s = env.now - counted_from_s
        env.run()
        if self.lossy:
            return (float(lost[self.warm_up :].mean()),)
        waits = waits[self.warm_up :]
        return float((waits > 0).mean()), float(waits.sum() / counted_s), float(waits.mean())


def _closed_migration(vm_set: VmSet, strategy: Strategy, parallel_vms: int) -> tuple[float, float, float]:
    if strategy == "mixed":
        if not isinstance(vm_set, Chain):
            raise UsageError("the m-mixed strategy is that of a service chain")
        m = parallel_vms
        rounds = multi_vm.precopy(vm_set, m, "ceil", "m*").rounds
        times = (chain_model.mixed_time(vm_set, m, "ceil"), chain_model.mixed_downtime(vm_set, m, "ceil"))
    else:
        rounds = multi_vm.rounds(vm_set, parallel=strategy == "parallel").data
        if strategy == "serial":
            times = multi_vm.serial_time(vm_set), multi_vm.serial_downtime(vm_set)
        else:
            times = multi_vm.parallel_time(vm_set), multi_vm.parallel_downtime(vm_set)
    return float(times[0]), float(times[1]), float(rounds)


def _replicate(
    replications: int, seed: int, simulate: Callable[[np.random.Generator], tuple[float, ...]]
) -> list[tuple[float, ...]]:
    """One column of samples per quantity; every replication has random numbers of its own."""
    if replications < 2:
        raise UsageError(f"an interval needs at least 2 replications; there are {replications}")
    if seed < 0:
        raise UsageError(f"a seed is a whole number, 0 or more; it is {seed}")
    seeds = np.random.SeedSequence(seed).spawn(replications)
    return list(zip(*(simulate(np.random.default_rng(s)) for s in seeds), strict=True))


def _scalar(value: object) -> float:
    return float(np.asarray(value, dtype=float).item())
