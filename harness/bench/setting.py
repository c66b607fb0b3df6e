"""The bench's testbed and processes: those of a run, without latency and without a meter."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness.experiment.migration import Controls
from harness.experiment.processes import Secrets, instance_specs, load_specs
from harness.plan import PlannedRun
from harness.profile.load import parse_profile
from harness.profile.model import Profile
from harness.testbed import topology as names
from harness.testbed.testbed import ProcessSpec, StartedProcess, Testbed
from harness.testbed.topology import Topology, UplinkSpec

ONE_S_NS = 1_000_000_000


def bench_profile(**tables: Any) -> Profile:
    """Defaults of a profile, without latency; `tables` replace whole tables of the file."""
    document: dict[str, Any] = {
        "profile": {"name": "bench"},
        "load": {"new_flows_per_s": 0, "server_packets_per_s": 0},
        "uplink": {"latency": "0s", "latency_backend": "none"},
        **tables,
    }
    return parse_profile(document, source="bench")


def bench_topology(run_id: str) -> Topology:
    """The testbed with nothing that delays or drops on purpose."""
    return Topology(run_id, UplinkSpec(rate_bps=None, latency_ns=0), latency_backend="none")


@dataclass(frozen=True)
class Workload:
    """What a load process is told for one trial."""

    rate_pps: int
    duration_ns: int
    frame_bytes: int
    drain_ns: int


def trial_specs(
    profile: Profile, testbed: Testbed, number: int, workload: Workload, folder: Path
) -> tuple[ProcessSpec, ProcessSpec]:
    """Echoserver and load generator as a run starts them, with the trial's own load and time to drain."""
    planned = PlannedRun(number=number % 65_535, repetition=0, mode="none", load_seed=profile.load.seed)
    echoserver, loadgen = load_specs(profile, testbed, planned, folder, folder)
    load = {
        "rate_pps": workload.rate_pps,
        "duration_ns": workload.duration_ns,
        "frame_bytes": workload.frame_bytes,
    }

    def with_load(spec: ProcessSpec, **changes: Any) -> ProcessSpec:
        configuration = {**spec.configuration, "workload": {**spec.configuration["workload"], **load}, **changes}
        return replace(spec, configuration=configuration)

    return with_load(echoserver), with_load(loadgen, drain_ns=workload.drain_ns)


def source_spec(profile: Profile, testbed: Testbed, folder: Path, secrets: Secrets) -> ProcessSpec:
    """The source as a run without migration starts it."""
    (spec,) = instance_specs(profile, testbed, folder, folder, secrets, (names.SOURCE,))
    return spec


def activate_source(testbed: Testbed, started: StartedProcess, secrets: Secrets) -> None:
    """Have the fabric and the instance serve; the control connection is closed again, which changes nothing."""
    testbed.fabric.steer(names.SOURCE)
    controls = Controls.open(testbed, {names.SOURCE: int(started.ready["control_port"])}, secrets.key)
    try:
        controls.activate(names.SOURCE)
    finally:
        controls.close()
