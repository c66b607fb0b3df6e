"""What will make latency and impairments of a profile's links on this machine."""

from __future__ import annotations

from harness.doctor.finding import Finding
from harness.errors import MachineError
from harness.provision.facts import Facts
from harness.testbed.backend import GENERATOR, resolve_backend
from harness.testbed.topology import Topology

_CONSEQUENCES = {GENERATOR: "an extra hop in user space for every frame of a link: the rate without loss is lower"}


def assess_backend(topology: Topology, facts: Facts) -> Finding:
    """The backend and why it was chosen; `missing` where this machine has none for it. ProfileError where the profile
    contradicts itself."""
    try:
        backend = resolve_backend(topology, facts)
    except MachineError as error:
        return Finding("link conditions", "missing", "none fits", str(error))
    observed = f"{backend.name}: {backend.reason}"
    if backend.name in _CONSEQUENCES:
        return Finding("link conditions", "degraded", observed, _CONSEQUENCES[backend.name])
    return Finding("link conditions", "ok", observed, "as the profile asks")
