"""Measures the links of a profile's testbed before anything is concluded from runs over them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

from harness.calibrate.figures import Direction, Figures, LatencyFigure
from harness.calibrate.limits import faults_of, undecided
from harness.calibrate.management import measure_round_trips, measure_transfer
from harness.calibrate.overload import measure_rate, prepare
from harness.calibrate.probes import make_processes, measured_latencies, send_probes
from harness.experiment.experiment import new_run_id
from harness.profile.model import Profile
from harness.profile.topology import make_topology
from harness.provision.interrupt import interruptible
from harness.provision.scratch import scratch_directory
from harness.testbed import topology as names
from harness.testbed.testbed import Testbed


def _say_nothing(_text: str) -> None:
    pass


@dataclass(frozen=True)
class Calibration:
    """What was measured of the links of a profile's testbed, and whether that is what the profile says."""

    profile: str
    started_utc: str
    duration_ns: int
    figures: Figures

    @property
    def problems(self) -> tuple[str, ...]:
        """Every limit that is not held: one line each with link, measured and limit. Empty: the links are sound."""
        return tuple(fault.text for fault in faults_of(self.figures) if fault.breach)

    @property
    def doubts(self) -> tuple[str, ...]:
        """What could not be judged here, one line each; it says nothing against the links, and nothing for them."""
        return tuple(fault.text for fault in faults_of(self.figures) if not fault.breach)

    def document(self) -> dict[str, Any]:
        """As JSON data, for calibration.json."""
        return {
            "schema_version": 1,
            "profile": self.profile,
            "started_utc": self.started_utc,
            "duration_ns": self.duration_ns,
            "problems": list(self.problems),
            "doubts": list(self.doubts),
            **self.figures.document(),
        }


def calibrate(profile: Profile, tell: Callable[[str], None] = _say_nothing) -> Calibration:
    """Provision the profile's testbed, measure its links, and tear it down whatever happens; takes about 7 s.

    `tell` hears of each step. Call it in the main thread: an interruption ends it after the tear-down. A limit that is
    not held is a problem of the result, no error. MachineError when the testbed cannot be built here or another run
    owns the machine; HarnessError when one of its processes fails.
    """
    started_utc, started_ns = datetime.now(UTC).isoformat(timespec="seconds"), time.monotonic_ns()
    prepare()
    testbed = Testbed(make_topology(profile, new_run_id()))
    with interruptible(), scratch_directory("calibration") as scratch:
        try:
            figures = _measure(testbed, profile, scratch, tell)
        finally:
            testbed.teardown()
    return Calibration(profile.name, started_utc, time.monotonic_ns() - started_ns, figures)


def _measure(testbed: Testbed, profile: Profile, scratch: Path, tell: Callable[[str], None]) -> Figures:
    tell("testbed")
    testbed.provision()
    # The meters first: while they are overloaded nothing else of ours runs.
    rates = []
    for instance in names.INSTANCES:
        for direction in get_args(Direction):
            tell(f"rate {direction} the {instance}")
            rate = measure_rate(testbed, profile, instance, direction)
            if undecided(rate):
                rate = measure_rate(testbed, profile, instance, direction)
            rates.append(rate)
    tell("processes")
    latency_ns = profile.uplink.latency_ns if testbed.backend != "none" else 0
    round_trips: list[LatencyFigure] = []
    with make_processes(testbed, profile, scratch) as processes:
        tell("latency")
        send_probes(processes, lambda: round_trips.append(measure_round_trips(testbed, latency_ns)))
        tell("management path")
        transfer = measure_transfer(testbed, profile.uplink.rate_bps)
    return Figures(
        latency_backend=testbed.backend,
        tick_ns=profile.dataplane.tick_ns,
        rates=tuple(rates),
        latencies=(*measured_latencies(scratch, latency_ns), *round_trips),
        transfer=transfer,
    )
