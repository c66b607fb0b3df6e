"""Tests on a kernel with netem: booted here, carried out in the guest. Skipped where its package is not installed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.uml.boot import PACKAGE, kernel_program


@pytest.fixture(scope="session", autouse=True)
def guest_kernel() -> None:
    """In continuous integration its absence is a failure, elsewhere a reason to skip."""
    if kernel_program() is None:
        reason = f"no User Mode Linux: install {PACKAGE}"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the guest of a module writes to."""
    return tmp_path_factory.mktemp("guest")
