"""Sends probes through both instances with a run's own processes, and reads when each station saw them."""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from harness.calibrate.asked import asked_of, paths_of, slowest_bps
from harness.calibrate.crossings import Crossings, Stations, Times, probe_times
from harness.calibrate.figures import LatencyFigure, spread_of
from harness.calibrate.neighbours import introduce
from harness.calibrate.probe_profile import PROBING_NS, probe_profile
from harness.dataplane.trace import TRACE_DTYPE
from harness.errors import HarnessError
from harness.experiment.migration import Controls
from harness.experiment.processes import LATENCY, Secrets, instance_specs, load_specs, trace_path
from harness.measure.packets import PacketRecords, load_packet_records
from harness.plan import PlannedRun
from harness.profile.model import Profile
from harness.testbed import topology as names
from harness.testbed.testbed import Launched, ProcessSpec, StartedProcess, Testbed

LEAD_NS = 500_000_000
"""From the start command to the first probe: both processes must have read it, also on a busy machine. What is measured
meanwhile must leave the CPUs mostly idle."""
DRAIN_NS = 100_000_000
"""Beside the round trip, after the last probe."""
_DONE_TIMEOUT_S = 20.0
_STOP_TIMEOUT_S = 5.0


@dataclass
class Processes:
    """The processes of a run, both instances active; `fabric` steers to the source. Use as a context manager.

    profile: of the probes, the first load; `begin_load` takes another one afterwards.
    """

    testbed: Testbed
    profile: Profile
    folder: Path
    loads: int = 0
    started: dict[str, StartedProcess] = field(default_factory=dict)

    def __enter__(self) -> Processes:
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_exception: object) -> None:
        self.stop()

    def _start(self) -> None:
        testbed, folder = self.testbed, self.folder
        own = Secrets(secrets.token_bytes(32), secrets.token_bytes(16), secrets.randbits(64))
        testbed.fabric.steer(names.SOURCE)
        instances = testbed.launch(instance_specs(self.profile, testbed, folder, folder, own, names.INSTANCES))
        load, launched = self._launch_load(self.profile)
        self._ready(testbed.wait_ready(instances))
        ports = {node: int(self.started[node].ready["control_port"]) for node in names.INSTANCES}
        controls = Controls.open(testbed, ports, own.key)
        try:
            for instance in names.INSTANCES:
                controls.activate(instance)
        finally:
            controls.close()
        self._ready(testbed.wait_ready(launched))
        # The load has asked the source for its neighbours; the destination has to learn them the same way.
        testbed.fabric.steer(names.DESTINATION)
        loadgen, echoserver = (next(spec for spec in load if spec.node == node) for node in _LOAD)
        introduce(testbed, loadgen.configuration["hosts"][0], echoserver.configuration["echo_addresses"][0])
        testbed.fabric.steer(names.SOURCE)

    @property
    def load_folder(self) -> Path:
        """Where the present load leaves its files."""
        return self.folder / f"load-{self.loads}"

    def _launch_load(self, profile: Profile) -> tuple[list[ProcessSpec], list[Launched]]:
        self.loads += 1
        self.load_folder.mkdir()
        planned = PlannedRun(number=self.loads - 1, repetition=0, mode="none", load_seed=0)
        specs = load_specs(profile, self.testbed, planned, self.load_folder, self.load_folder)
        load = [self._drained(spec) for spec in specs]
        return load, self.testbed.launch(load)

    def begin_load(self, profile: Profile) -> list[Launched]:
        """Start the processes of another load, once the one before has ended; `load_ready` waits for them."""
        self.testbed.fabric.steer(names.SOURCE)
        for node in _LOAD:
            self.started.pop(node).process.stop()
        return self._launch_load(profile)[1]

    def load_ready(self, launched: list[Launched]) -> None:
        """Wait until they can be told to start. HarnessError when they do not come about."""
        self._ready(self.testbed.wait_ready(launched))

    def _drained(self, spec: ProcessSpec) -> ProcessSpec:
        """The load generator waits no longer for replies than a round trip takes."""
        if spec.node != names.LOADGEN:
            return spec
        asked = asked_of(self.testbed.topology, self.testbed.backend, paths_of(names.SOURCE).round_trip)
        drain_ns = 2 * (asked.latency_ns + 4 * asked.ipdv_ns) + DRAIN_NS
        configuration: dict[str, Any] = {**spec.configuration, "drain_ns": drain_ns}
        return replace(spec, configuration=configuration)

    def _ready(self, started: list[StartedProcess]) -> None:
        self.started.update({item.title: item for item in started})

    def stop(self) -> None:
        """End all of them; the instances write their traces first. Doing it twice is no error."""
        running, self.started = self.started, {}
        asked = [item for item in running.values() if item.title in (*names.INSTANCES, LATENCY)]
        for item in asked:
            if item.process.returncode is None:
                with contextlib.suppress(HarnessError):
                    item.process.send({"command": "stop"})
        for item in asked:
            with contextlib.suppress(HarnessError):  # then it is ended the hard way below
                item.process.wait_event("done", _STOP_TIMEOUT_S)
        for item in running.values():
            item.process.stop()


_LOAD = (names.LOADGEN, names.ECHOSERVER)


Act = tuple[int, Callable[[int], object]]
"""(ns after the first packet is due, what is to be done then), which is told when that is (CLOCK_MONOTONIC ns)."""


def carry_load(processes: Processes, acts: Sequence[Act], lead_ns: int = LEAD_NS) -> int:
    """Run the present load to its end; returns when its first packet was due. Acts before the first packet have a
    negative time and must be over by then. HarnessError when a process fails."""
    start_ns = time.monotonic_ns() + lead_ns
    for node in _LOAD:
        processes.started[node].process.send({"cmd": "start", "start_ns": start_ns})
    for at_ns, act in sorted(acts, key=lambda item: item[0]):
        time.sleep(max(0, start_ns + at_ns - time.monotonic_ns()) / 1e9)
        act(start_ns + at_ns)
    processes.started[names.LOADGEN].process.wait_event("done", _DONE_TIMEOUT_S)
    processes.started[names.ECHOSERVER].process.send({"cmd": "stop"})
    processes.started[names.ECHOSERVER].process.wait_event("done", _DONE_TIMEOUT_S)
    return start_ns


def send_probes(processes: Processes, meanwhile: Callable[[], object] = lambda: None) -> int:
    """Half of the probes through the source, then half through the destination; `meanwhile` is called before the first
    is sent. As `carry_load`."""
    steer = processes.testbed.fabric.steer
    acts: list[Act] = [(-LEAD_NS, lambda _: meanwhile()), (PROBING_NS // 2, lambda _: steer(names.DESTINATION))]
    return carry_load(processes, acts)


def read_packets(load_folder: Path) -> PacketRecords:
    """What the load of that folder recorded. HarnessError where it is not there or not whole."""
    return load_packet_records(load_folder / "loadgen.npz", load_folder / "echoserver.npz")


def read_traces(folder: Path) -> dict[str, tuple[Times, Times]]:
    """When each instance took requests and replies, once they have ended. HarnessError."""
    found = {}
    for instance in names.INSTANCES:
        try:
            trace = np.fromfile(trace_path(folder, instance), TRACE_DTYPE)
        except OSError as error:
            raise HarnessError(f"calibration: no trace of the {instance}: {error}") from error
        found[instance] = probe_times(trace)
    return found


def stations_of(packets: PacketRecords, traces: Mapping[str, tuple[Times, Times]], span: tuple[int, int]) -> Stations:
    """A load's packets at every station; span: the load was under way from, until (CLOCK_MONOTONIC ns)."""
    was_sent = packets.sent_ns > 0
    requests_ns, replies_ns = (
        {name: times[which][(times[which] >= span[0]) & (times[which] < span[1])] for name, times in traces.items()}
        for which in (0, 1)
    )
    return Stations(packets.sent_ns[was_sent], packets.received_ns[was_sent], requests_ns, replies_ns)


def latency_figures(
    testbed: Testbed, crossings: Mapping[str, Crossings], load_bps: int = 0, idle_fraction: float | None = None
) -> list[LatencyFigure]:
    """The paths of every instance, beside what their links are meant to take."""
    figures = []
    for instance, found in crossings.items():
        paths = paths_of(instance)
        for path, number, crossed, times_ns in (
            ("towards the instance, from the load generator", 1, paths.towards, found.towards_ns),
            ("from the instance, to the load generator", 1, paths.back, found.back_ns),
            ("from and towards it, over the echoserver", 2, paths.beyond, found.beyond_ns),
            ("round trip of the load", 4, paths.round_trip, found.round_trip_ns),
        ):
            asked = asked_of(testbed.topology, testbed.backend, crossed)
            figures.append(
                LatencyFigure(
                    instance,
                    path,
                    number,
                    asked.latency_ns,
                    found.sent,
                    spread_of(times_ns.tolist()),
                    load_bps,
                    idle_fraction,
                    asked.impairment,
                )
            )
    return figures


def make_processes(testbed: Testbed, profile: Profile, folder: Path) -> Processes:
    """The processes for the links of `profile`, their files in `folder`."""
    return Processes(testbed, probe_profile(profile, slowest_bps(testbed.topology) or profile.uplink.rate_bps), folder)
