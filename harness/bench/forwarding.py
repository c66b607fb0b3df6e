"""Packets per second the NAT forwards in one direction, without loss and at most, and what announcing costs."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import numpy as np

from harness.bench.engine_node import EngineNode
from harness.bench.figures import paired_ratios
from harness.bench.scope import Scope
from harness.bench.search import SearchSettings, search_rate
from harness.dataplane.instance import MODE_ACTIVE, MODE_BUFFERING, UPDATES_STATELET
from harness.errors import HarnessError

START_PPS = 100_000
FILL_PPS = 60_000
BACKLOG_SHARE = 0.05
"""A trial whose last packet leaves the VNF later than this share of the trial after it was due has only filled buffers:
the rate is not sustained."""
_FILL_DEADLINE_NS = 5_000_000_000
_DRAIN_ATTEMPTS = 3


def forwards(node: EngineNode, frames: np.ndarray, rate_pps: int, trial_ns: int) -> bool:
    """One trial: whether every packet sent at `rate_pps` arrives, the last one in time."""
    packets = max(1, rate_pps * trial_ns // 1_000_000_000)
    allowed_ns = int(trial_ns * (1 + BACKLOG_SHARE))
    forwarded, delivered = node.forwarded_packets, node.delivered_packets()
    sender = node.sender(frames)
    sender.start(rate_pps, packets, 2 * trial_ns)
    time.sleep(trial_ns / 1e9)
    sent = sender.wait()
    while time.monotonic_ns() < sent.first_ns + allowed_ns and node.forwarded_packets - forwarded < packets:
        time.sleep(0.0005)
    in_time = node.forwarded_packets - forwarded
    node.settle()
    arrived = node.delivered_packets() - delivered
    return sent.packets == packets and in_time == packets and arrived >= packets


def forwarding_rates(node: EngineNode, frames: np.ndarray, scope: Scope) -> list[int]:
    """Rates without loss (1/s) of `scope.searches` searches; the later ones begin where the one before ended."""
    rates: list[int] = []
    for number in range(scope.searches):
        settings = SearchSettings(
            start=rates[-1] if number and rates[-1] else START_PPS,
            growth=1.15 if number and rates[-1] else 2.0,
            resolution=scope.forwarding_resolution,
            attempts=scope.attempts,
            confirmations=scope.confirmations,
        )
        result = search_rate(lambda rate: forwards(node, frames, rate, scope.forwarding_trial_ns), settings)
        rates.append(result.rate)
    return rates


@dataclass
class AnnouncingCosts:
    """Of each drain of pkt_q: CPU time of the engine per packet, in ns."""

    off_ns: list[float] = field(default_factory=list)
    on_ns: list[float] = field(default_factory=list)

    def rate_ratios(self) -> list[float]:
        """Forwarding rate with announcing over that without, pair by pair."""
        return paired_ratios(self.off_ns, self.on_ns)


def _drain_cost_ns(node: EngineNode, frames: np.ndarray, packets: int, announcing: bool) -> float:
    """As `_one_drain_ns`, of a drain of which the kernel took every frame: where a receiver was held up until its
    backlog was full, the figure would be of fewer packets. HarnessError where that happens again and again.
    """
    for _ in range(_DRAIN_ATTEMPTS):
        cost_ns, forwarded = _one_drain_ns(node, frames, packets, announcing)
        if forwarded == packets:
            return cost_ns
    raise HarnessError(
        f"bench: {forwarded} of {packets} packets of pkt_q were forwarded, and no better in {_DRAIN_ATTEMPTS} drains: "
        "measure on a machine with less other work"
    )


def _one_drain_ns(node: EngineNode, frames: np.ndarray, packets: int, announcing: bool) -> tuple[float, int]:
    """CPU time of the engine per packet, in ns, while it works off `packets` from pkt_q (g, h, f and transmission), and
    how many of them the kernel took.

    At overload the figure would hold whatever the kernel does for the sender on the same CPU, and at a lower rate the
    cost of waking up; from pkt_q every burst is full and nobody sends. Receiving, the same with announcing and
    without, is left out: the ratio can only come out worse than that of the whole path.
    """
    node.settle()
    node.instance.set_mode(MODE_BUFFERING)
    sender = node.sender(frames)
    sender.start(FILL_PPS, packets, _FILL_DEADLINE_NS)
    sender.wait()
    node.wait(lambda: node.waiting_packets == packets, f"{packets} packets in pkt_q")
    if announcing:
        node.announce(UPDATES_STATELET)
    forwarded, cpu_ns = node.forwarded_packets, node.engine_cpu_ns()
    node.instance.set_mode(MODE_ACTIVE)
    node.wait(lambda: node.waiting_packets == 0, "an empty pkt_q")
    node.settle()
    cost_ns = (node.engine_cpu_ns() - cpu_ns) / packets
    if announcing:
        node.end_announcing()
    return cost_ns, node.forwarded_packets - forwarded


def announcing_costs(node: EngineNode, frames: np.ndarray, scope: Scope) -> AnnouncingCosts:
    """Drains without and with announcing in turn, `scope.pairs` of each."""
    costs = AnnouncingCosts()
    _drain_cost_ns(node, frames, scope.drain_packets, True)  # opens the mappings, touches the memory of st_q_out
    for pair in range(scope.pairs):
        # The order alternates, so that a drift of the machine hits both alike.
        for announcing in (False, True) if pair % 2 == 0 else (True, False):
            cost_ns = _drain_cost_ns(node, frames, scope.drain_packets, announcing)
            (costs.on_ns if announcing else costs.off_ns).append(cost_ns)
    return costs
