"""How much one call of the bench measures: the whole, or in about half a minute whether everything can be measured."""

from __future__ import annotations

from dataclasses import dataclass

MS = 1_000_000


@dataclass(frozen=True)
class Scope:
    """Counts and durations of every measurement; durations in ns, rates in 1/s."""

    quick: bool
    frame_sizes: tuple[int, ...] = (512, 1400)
    searches: int = 3
    attempts: int = 2
    confirmations: int = 1
    round_trip_trial_ns: int = 1_000 * MS
    round_trip_resolution: float = 0.03
    forwarding_trial_ns: int = 500 * MS
    forwarding_resolution: float = 0.02
    pairs: int = 15
    drain_packets: int = 40_000
    compute_packets: int = 400_000
    freezes: int = 40
    frozen_entries: int = 100_000
    generator_runs: int = 3
    generator_ns: int = 600 * MS
    starts: int = 3
    run_load_ns: int = 13_000 * MS
    stream_pairs: int = 7
    stream_repeats: int = 8
    points: int = 100_000


FULL = Scope(quick=False)
QUICK = Scope(
    quick=True,
    searches=1,
    attempts=1,
    confirmations=0,
    round_trip_trial_ns=200 * MS,
    round_trip_resolution=0.4,
    forwarding_trial_ns=100 * MS,
    forwarding_resolution=0.2,
    pairs=5,
    drain_packets=5_000,
    compute_packets=50_000,
    freezes=20,
    generator_runs=1,
    generator_ns=200 * MS,
    starts=1,
    run_load_ns=1_500 * MS,
    stream_pairs=2,
    stream_repeats=1,
    points=20_000,
)
