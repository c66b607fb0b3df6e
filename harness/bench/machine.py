"""The machine a bench ran on, and what it did to the bench meanwhile."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from harness.bench.figures import Machine
from harness.measure.host import HostSample, load_between


def describe_machine(manifest: Mapping[str, Any], scheduler: str, first: HostSample, last: HostSample) -> Machine:
    """`manifest` as `collect_manifest` makes it; `first` and `last` enclose the measurements."""
    load = load_between(first, last)
    return Machine(
        cpu_model=manifest["cpu"]["model"],
        cpus=manifest["cpu"]["online"] or 1,
        cpus_usable=manifest["cpu"]["usable"],
        memory_bytes=manifest["memory_bytes"],
        kernel=manifest["kernel"]["release"],
        architecture=manifest["kernel"]["machine"],
        python=manifest["python"]["version"],
        numba=manifest["packages"].get("numba"),
        scheduler=scheduler,
        steal_fraction=load.steal_fraction,
        idle_fraction=load.idle_fraction,
        load_average=os.getloadavg(),
    )
