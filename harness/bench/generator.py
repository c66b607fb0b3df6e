"""What the load generator itself can send: into the fabric, addressed to nobody, so that no one spends time on it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from harness.bench.scope import Scope
from harness.bench.setting import ONE_S_NS, Workload, trial_specs
from harness.errors import HarnessError
from harness.profile.model import Profile
from harness.testbed.testbed import Testbed

NOBODYS_MAC = "02:00:00:00:77:77"
"""The bridge's port, the other end of the generator's veth, finds no entry for it and lets the frame go there."""
_ASKED_PPS = 2_000_000
_LEAD_NS = 150_000_000


def generator_rates(
    testbed: Testbed, profile: Profile, frame_bytes: int, scope: Scope, scratch: Path, tell: Callable[[str], None]
) -> list[float]:
    """Packets/s of `scope.generator_runs` processes asked for more than they can send. HarnessError where one could
    send it all: then the maximum was not found."""
    rates = []
    for number in range(scope.generator_runs):
        folder = scratch / f"generator-{frame_bytes}-{number}"
        folder.mkdir()
        # Half of the time the packets are due, the other half the generator works off what it is behind.
        half_ns = scope.generator_ns // 2
        workload = Workload(_ASKED_PPS, half_ns, frame_bytes, half_ns)
        _, spec = trial_specs(profile, testbed, number, workload, folder)
        spec = replace(spec, configuration={**spec.configuration, "gateway_mac": NOBODYS_MAC})
        (started,) = testbed.start([spec])
        try:
            started.process.send({"cmd": "start", "start_ns": time.monotonic_ns() + _LEAD_NS})
            started.process.wait_event("done", 30.0)
        finally:
            started.process.stop()
        unsent = json.loads((folder / "loadgen.json").read_bytes())["unsent_packets"]
        with np.load(folder / "loadgen.npz") as arrays:
            sent_ns = arrays["sent_ns"][arrays["sent_ns"] > 0]
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()
        took_ns = int(sent_ns.max() - sent_ns.min()) if sent_ns.size > 1 else 0
        if took_ns <= 0:
            raise HarnessError("bench: the load generator sent nothing")
        rate = sent_ns.size * ONE_S_NS / took_ns
        if not unsent and rate >= 0.99 * _ASKED_PPS:
            raise HarnessError(f"bench: the load generator sends {rate:,.0f} packets/s, more was not asked for")
        tell(f"{frame_bytes} bytes, generator alone: {rate:,.0f} packets/s")
        rates.append(rate)
    return rates
