"""For every test: reproducible property tests; what needs privileges is skipped without them."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings

from harness.provision.capabilities import held_capabilities, missing_privileges

# A fixed seed, and no limit per example: shared machines stall for longer than any useful limit.
settings.register_profile(
    "suite",
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("suite")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests below tests/system need root, or the user namespace of tests/enter.py; those marked `real_root` need root.
    Without it they are skipped and say so.
    """
    if os.geteuid() == 0:
        return
    outside = missing_privileges(held_capabilities())
    for item in items:
        if "tests/system" not in item.path.as_posix():
            continue
        needs = item.get_closest_marker("real_root")
        if needs is not None:
            item.add_marker(pytest.mark.skip(reason=f"needs root: {needs.args[0]}"))
        elif outside:
            item.add_marker(pytest.mark.skip(reason="needs root, or python tests/enter.py where the kernel permits it"))
