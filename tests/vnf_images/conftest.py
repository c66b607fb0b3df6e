"""The NAT as its tests make it."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from tests.vnf_images.driver import Driver
from vnf_images.nat import program


def _load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


reference_nat = _load("reference_nat")
traffic = _load("traffic")


@pytest.fixture(scope="session")
def make_nat_instance() -> Callable[..., Driver]:
    """Makes a NAT from its parameters; tables are small unless the parameters say otherwise."""
    small = {"max_mappings": 64, "max_sessions": 64, "max_hosts": 16, "max_neighbours": 16}
    return lambda parameters: Driver(program, {**small, **parameters})
