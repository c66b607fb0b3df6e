"""Measures the links of a profile's testbed before anything is concluded from runs over them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

from harness.calibrate.asked import meter_of, slowest_bps
from harness.calibrate.crossings import crossings_of
from harness.calibrate.figures import Direction, Figures, LatencyFigure, RateFigure
from harness.calibrate.limits import faults_of, undecided
from harness.calibrate.loaded import make_loaded_links
from harness.calibrate.management import measure_round_trips, measure_transfer
from harness.calibrate.overload import MEASURE_NS, SHORT_NS, measure_rate, prepare
from harness.calibrate.probes import (
    latency_figures,
    make_processes,
    read_packets,
    read_traces,
    send_probes,
    stations_of,
)
from harness.experiment.experiment import new_run_id, process_template
from harness.measure.host import load_between, read_host
from harness.profile.model import Profile
from harness.profile.topology import make_topology
from harness.provision.connections.local import LocalConnection
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
            "schema_version": 2,
            "profile": self.profile,
            "started_utc": self.started_utc,
            "duration_ns": self.duration_ns,
            "problems": list(self.problems),
            "doubts": list(self.doubts),
            **self.figures.document(),
        }


def calibrate(profile: Profile, tell: Callable[[str], None] = _say_nothing) -> Calibration:
    """Provision the profile's testbed, measure its links, and tear it down whatever happens; takes about 10 s.

    `tell` hears of each step. Call it in the main thread: an interruption ends it after the tear-down. A limit that is
    not held is a problem of the result, no error. MachineError when the testbed cannot be built here or another run
    owns the machine; HarnessError when one of its processes fails.
    """
    # Seven processes that load the packet path one by one would take longer than all measurements together.
    template = process_template()
    try:
        prepare()
        testbed = Testbed(make_topology(profile, new_run_id()), connection=LocalConnection(template))
        with template, interruptible():
            try:
                tell("testbed")
                started_ns = time.monotonic_ns()
                testbed.provision()
                return _measured(testbed, profile, tell, _everything, started_ns)
            finally:
                testbed.teardown()
    finally:
        template.close()


def calibrate_standing(testbed: Testbed, profile: Profile, tell: Callable[[str], None] = _say_nothing) -> Calibration:
    """Rates and latencies only, on a provisioned testbed that stays; takes about 4 s. Errors as `calibrate`."""
    prepare()
    return _measured(testbed, profile, tell, _briefly, time.monotonic_ns())


Measure = Callable[[Testbed, Profile, Path, Callable[[str], None]], Figures]


def _measured(
    testbed: Testbed, profile: Profile, tell: Callable[[str], None], measure: Measure, started_ns: int
) -> Calibration:
    started_utc = datetime.now(UTC).isoformat(timespec="seconds")
    with scratch_directory("calibration") as scratch:
        figures = measure(testbed, profile, scratch, tell)
    return Calibration(profile.name, started_utc, time.monotonic_ns() - started_ns, figures)


def _rates(testbed: Testbed, profile: Profile, measure_ns: int, tell: Callable[[str], None]) -> tuple[RateFigure, ...]:
    """Of every meter. First of all: while they are overloaded nothing else of ours runs."""
    rates = []
    for instance in names.INSTANCES:
        for direction in get_args(Direction):
            if meter_of(testbed.topology, instance, direction).rate_bps is None:
                continue
            tell(f"rate {direction} the {instance}")
            scheduler = profile.dataplane.scheduler
            rate = measure_rate(testbed, scheduler, instance, direction, measure_ns)
            if undecided(rate):
                rate = measure_rate(testbed, scheduler, instance, direction, measure_ns)
            rates.append(rate)
    return tuple(rates)


def _briefly(testbed: Testbed, profile: Profile, scratch: Path, tell: Callable[[str], None]) -> Figures:
    rates = _rates(testbed, profile, SHORT_NS, tell)
    tell("processes")
    with make_processes(testbed, profile, scratch) as processes:
        tell("latency")
        host = [read_host({})]
        start_ns = send_probes(processes)
        host.append(read_host({}))
        load_folder = processes.load_folder
    found = stations_of(read_packets(load_folder), read_traces(scratch), (start_ns, 1 << 62))
    idle = load_between(*host).idle_fraction
    latencies = tuple(latency_figures(testbed, crossings_of(found), 0, idle))
    return Figures(testbed.backend, profile.dataplane.tick_ns, rates, latencies)


def _everything(testbed: Testbed, profile: Profile, scratch: Path, tell: Callable[[str], None]) -> Figures:
    rates = _rates(testbed, profile, MEASURE_NS, tell)
    slowest = slowest_bps(testbed.topology)
    source_bps = meter_of(testbed.topology, names.SOURCE, "from").rate_bps
    tell("processes")
    round_trips: list[LatencyFigure] = []
    transfer, loaded = None, None
    with make_processes(testbed, profile, scratch) as processes:
        tell("latency")
        host = [read_host({})]
        start_ns = send_probes(processes, lambda: round_trips.append(measure_round_trips(testbed)))
        host.append(read_host({}))
        ended_ns, load_folder = time.monotonic_ns(), processes.load_folder
        if slowest is not None:
            loaded = make_loaded_links(testbed, processes, slowest)
            loaded.launch(profile)
        if source_bps is not None:
            tell("management path")
            transfer = measure_transfer(testbed, source_bps)
        if loaded is not None:
            loaded.carry_out(tell)
    traces = read_traces(scratch)
    found = stations_of(read_packets(load_folder), traces, (start_ns, ended_ns))
    idle = load_between(*host).idle_fraction
    latencies = [*latency_figures(testbed, crossings_of(found), 0, idle)]
    latencies += [replace(figure, idle_fraction=idle) for figure in round_trips]
    return Figures(
        latency_backend=testbed.backend,
        tick_ns=profile.dataplane.tick_ns,
        rates=rates,
        latencies=(*latencies, *(loaded.latencies(traces) if loaded else ())),
        transfer=transfer,
        competitions=loaded.competitions() if loaded else (),
    )
