"""The gateway as its tests make it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.vnf_images.driver import Driver
from vnf_images.pg import program


@pytest.fixture(scope="session")
def make_gateway() -> Callable[..., Driver]:
    """Makes a gateway from its parameters; tables are small unless the parameters say otherwise."""
    small = {"cells": 8, "max_subscribers": 64, "max_neighbours": 16}
    return lambda parameters: Driver(program, {**small, **parameters}, unresolved_changes_state=True)
