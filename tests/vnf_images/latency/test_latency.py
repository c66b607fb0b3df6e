"""The delay element."""

from __future__ import annotations

import random

import numpy as np
import pytest

from harness.dataplane.abi import TIMER_PORT
from harness.dataplane.table import make_arena
from harness.errors import UsageError
from vnf_images.latency import program


@pytest.mark.parametrize(("port", "out_port"), [(0, 1), (1, 0), (2, 3), (3, 2)])
def test_any_frame_leaves_unchanged_at_the_other_port_of_its_pair(port: int, out_port: int) -> None:
    tables = make_arena(program.table_specs({}))
    program.configure(tables, {})
    before = tables.copy()
    content = random.Random(port).randbytes(1400)
    frame, statelet = np.frombuffer(content, dtype=np.uint8).copy(), np.zeros(64, dtype=np.uint8)
    assert program.announce(frame, 1400, port, 5, tables, statelet) == 0
    assert program.forward(frame, 1400, port, 5, tables, statelet) == 1400 << 8 | out_port
    assert bytes(frame) == content
    assert np.array_equal(tables, before)


def test_there_are_no_statelets_timers_or_parameters() -> None:
    tables = make_arena(program.table_specs({}))
    frame = np.zeros(60, dtype=np.uint8)
    assert program.announce(frame, 0, TIMER_PORT, 5, tables, frame) == 0
    assert program.install(frame, 4, tables) < 0
    assert program.forward(frame, 61, 0, 5, tables, frame) < 0
    with pytest.raises(UsageError, match="latency"):
        program.table_specs({"delay": 1})
