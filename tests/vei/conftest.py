"""A pair of instances for tests of a migration."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.vei.bench import Pair, wait_until


@pytest.fixture
def pair() -> Iterator[Pair]:
    made = Pair()
    made.traffic.start()
    wait_until(lambda: len(made.traffic.left[0]) > 200, "traffic before the migration")
    yield made
    made.close()
