"""Sends probes through both instances with a run's own processes, and reads when each station saw them."""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from harness.calibrate.crossings import Crossings, Stations, crossings_of, probe_times
from harness.calibrate.figures import LatencyFigure, spread_of
from harness.calibrate.neighbours import introduce
from harness.calibrate.probe_profile import PROBING_NS, probe_profile
from harness.dataplane.trace import TRACE_DTYPE
from harness.errors import HarnessError
from harness.experiment.migration import Controls
from harness.experiment.processes import LATENCY, Secrets, instance_specs, load_specs, trace_path
from harness.measure.packets import load_packet_records
from harness.plan import PlannedRun
from harness.profile.model import Profile
from harness.testbed import topology as names
from harness.testbed.testbed import ProcessSpec, StartedProcess, Testbed

LEAD_NS = 700_000_000
"""From the start command to the first probe: both processes must have read it, also on a busy machine. What is measured
meanwhile must leave the CPUs mostly idle."""
DRAIN_NS = 100_000_000
"""Beside the round trip, after the last probe."""
_DONE_TIMEOUT_S = 20.0
_STOP_TIMEOUT_S = 5.0


@dataclass
class Processes:
    """The processes of a run, both instances active; `fabric` steers to the source. Use as a context manager."""

    testbed: Testbed
    profile: Profile
    folder: Path
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
        planned = PlannedRun(number=0, repetition=0, mode="none", load_seed=0)
        testbed.fabric.steer(names.SOURCE)
        instances = testbed.launch(instance_specs(self.profile, testbed, folder, folder, own, names.INSTANCES))
        load = [self._drained(spec) for spec in load_specs(self.profile, testbed, planned, folder, folder)]
        launched = testbed.launch(load)
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

    def _drained(self, spec: ProcessSpec) -> ProcessSpec:
        """The load generator waits no longer for replies than a round trip takes."""
        if spec.node != names.LOADGEN:
            return spec
        drain_ns = 4 * self.profile.uplink.latency_ns + DRAIN_NS
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


def send_probes(processes: Processes, meanwhile: Callable[[], None]) -> None:
    """Half of the probes through the source, then half through the destination. `meanwhile` is called once before the
    first is sent. HarnessError when a process fails."""
    start_ns = time.monotonic_ns() + LEAD_NS
    for node in _LOAD:
        processes.started[node].process.send({"cmd": "start", "start_ns": start_ns})
    meanwhile()
    time.sleep(max(0, start_ns + PROBING_NS // 2 - time.monotonic_ns()) / 1e9)
    processes.testbed.fabric.steer(names.DESTINATION)
    processes.started[names.LOADGEN].process.wait_event("done", _DONE_TIMEOUT_S)
    processes.started[names.ECHOSERVER].process.send({"cmd": "stop"})
    processes.started[names.ECHOSERVER].process.wait_event("done", _DONE_TIMEOUT_S)


def read_stations(folder: Path) -> Stations:
    """What the processes left, once they have ended. HarnessError where it is not there or not whole."""
    packets = load_packet_records(folder / "loadgen.npz", folder / "echoserver.npz")
    was_sent = packets.sent_ns > 0
    requests_ns, replies_ns = {}, {}
    for instance in names.INSTANCES:
        try:
            trace = np.fromfile(trace_path(folder, instance), TRACE_DTYPE)
        except OSError as error:
            raise HarnessError(f"calibration: no trace of the {instance}: {error}") from error
        requests_ns[instance], replies_ns[instance] = probe_times(trace)
    return Stations(packets.sent_ns[was_sent], packets.received_ns[was_sent], requests_ns, replies_ns)


def latency_figures(crossings: Mapping[str, Crossings], latency_ns: int) -> list[LatencyFigure]:
    """The paths of every instance; the expected times are whole crossings of `latency_ns` each."""
    figures = []
    for instance, found in crossings.items():
        for path, number, times_ns in (
            ("towards the instance, from the load generator", 1, found.towards_ns),
            ("from the instance, to the load generator", 1, found.back_ns),
            ("from and towards it, over the echoserver", 2, found.beyond_ns),
            ("round trip of the load", 4, found.round_trip_ns),
        ):
            measured = spread_of(times_ns.tolist())
            figures.append(LatencyFigure(instance, path, number, number * latency_ns, found.sent, measured))
    return figures


def make_processes(testbed: Testbed, profile: Profile, folder: Path) -> Processes:
    """The processes for the links of `profile`, their files in `folder`."""
    return Processes(testbed, probe_profile(profile), folder)


def measured_latencies(folder: Path, latency_ns: int) -> list[LatencyFigure]:
    """The figures from what the processes left in `folder`. HarnessError as `read_stations`."""
    return latency_figures(crossings_of(read_stations(folder)), latency_ns)
