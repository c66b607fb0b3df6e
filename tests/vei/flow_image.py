"""A small stateful image for tests of a migration: counts packets per flow, the flow's number being in the packet."""

from __future__ import annotations

from typing import Any

import numpy as np

from harness.dataplane.abi import (
    ANNOUNCE_SIGNATURE,
    FORWARD_SIGNATURE,
    INSTALL_SIGNATURE,
    TIMER_PORT,
    verdict,
)
from harness.dataplane.instance import ImageFunctions
from harness.dataplane.jit import vnf_function
from harness.dataplane.table import TableSpec, begin_write, commit, find, insert, make_arena

NUMBER_AT = 18
FLOWS_MAX = 4096


@vnf_function(ANNOUNCE_SIGNATURE)
def announce(packet: Any, length: int, port: int, now_ns: int, tables: Any, statelet: Any) -> int:
    if port == TIMER_PORT:
        return 0
    if length < 22:
        return -1
    statelet[0] = 0
    statelet[1] = 1
    statelet[2] = 0
    statelet[3] = 5
    statelet[4] = np.uint8(port)
    for i in range(4):
        statelet[5 + i] = packet[14 + i]
    return 9


@vnf_function(INSTALL_SIGNATURE)
def install(statelet: Any, length: int, tables: Any) -> int:
    if length != 9 or statelet[4] > 1:
        return -1
    flow = np.int64(0)
    for i in range(4):
        flow = (flow << 8) | np.int64(statelet[5 + i])
    slot = find(tables, 0, flow)
    if slot < 0:
        slot = insert(tables, 0, flow)
    if slot < 0:
        return -2
    at = begin_write(tables, 0, slot)
    tables[at + np.int64(statelet[4])] += np.uint64(1)
    commit(tables, 0, slot)
    return 0


@vnf_function(FORWARD_SIGNATURE)
def forward(packet: Any, length: int, port: int, now_ns: int, tables: Any, statelet: Any) -> int:
    return verdict(length, 1 - port)


def flow_image(version: str = "1") -> ImageFunctions:
    """Two tables: `flows` (flow -> packets of port 0, of port 1) and one with an entry from the start."""
    arena = make_arena([TableSpec("flows", 1, 2, FLOWS_MAX), TableSpec("fixed", 2, 1, 8)], seed=7)
    slot = insert(arena, 1, 5, 6)
    arena[begin_write(arena, 1, slot)] = np.uint64(99)
    commit(arena, 1, slot)
    return ImageFunctions("flows", version, arena, announce, install, forward, {1: "short"})
