"""For every test: reproducible property tests; what needs root is skipped without it."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings

# A fixed seed, and no limit per example: shared machines stall for longer than any useful limit.
settings.register_profile(
    "suite",
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("suite")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests below tests/system need root; without it they are skipped and say so."""
    if os.geteuid() == 0:
        return
    skip = pytest.mark.skip(reason="needs root")
    for item in items:
        if "tests/system" in item.path.as_posix():
            item.add_marker(skip)
