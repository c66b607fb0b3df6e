"""A profile, a testbed that is only described, and readings made by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from harness.plan import PlannedRun
from harness.profile.load import load_profile
from harness.profile.model import Profile
from harness.provision.facts import Facts, KernelFeatures
from harness.testbed.testbed import Testbed
from harness.testbed.topology import Topology

ROOT = Path(__file__).resolve().parents[2]

ProfileFactory = Callable[..., Profile]
TestbedFactory = Callable[[str], Testbed]

_FACTS = Facts(
    kernel_release="6.0",
    machine="x86_64",
    cpus=2,
    cap_net_admin=True,
    cap_net_raw=True,
    cap_sys_admin=True,
    cap_sys_nice=True,
    rmem_max_bytes=0,
    wmem_max_bytes=0,
    clock_source="tsc",
    steal_fraction=0.0,
    congestion_controls=("cubic",),
    allowed_congestion_controls=("cubic",),
    features=KernelFeatures(namespaces=True, veth=True, bridge=True, tbf=True, netem=True),
)


@pytest.fixture(scope="session")
def make_profile() -> ProfileFactory:
    """The smoke profile with --set overrides."""
    return lambda *overrides: load_profile(ROOT / "profiles" / "smoke.toml", overrides)


@pytest.fixture(scope="session")
def make_testbed() -> TestbedFactory:
    """A testbed with the given latency backend; nothing of it is created."""
    return lambda backend: Testbed(Topology("t1234567", latency_backend=backend), facts=_FACTS)


@pytest.fixture(scope="session")
def planned() -> PlannedRun:
    return PlannedRun(number=2, repetition=1, mode="statelet", load_seed=77)
