"""A tiny image for tests of the engine: counts packets per port and passes them on; refuses a marked one."""

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

STATELET_BYTES = 5
REFUSED_MARK = 0xEE
REASON = 7


@vnf_function(ANNOUNCE_SIGNATURE)
def announce(packet: Any, length: int, port: int, now_ns: int, tables: Any, statelet: Any) -> int:
    if port == TIMER_PORT:
        return 0
    if length < 14:
        return -1
    if packet[14] == REFUSED_MARK:
        return -REASON
    statelet[0] = 0
    statelet[1] = 1
    statelet[2] = 0
    statelet[3] = 1
    statelet[4] = np.uint8(port)
    return STATELET_BYTES


@vnf_function(INSTALL_SIGNATURE)
def install(statelet: Any, length: int, tables: Any) -> int:
    if length != STATELET_BYTES or statelet[4] > 1:
        return -1
    key = np.int64(statelet[4]) + 1
    slot = find(tables, 0, key)
    if slot < 0:
        slot = insert(tables, 0, key)
    if slot < 0:
        return -2
    at = begin_write(tables, 0, slot)
    tables[at] += np.uint64(1)
    commit(tables, 0, slot)
    return 0


@vnf_function(FORWARD_SIGNATURE)
def forward(packet: Any, length: int, port: int, now_ns: int, tables: Any, statelet: Any) -> int:
    return verdict(length, 1 - port)


def counting_image() -> ImageFunctions:
    """The image with an empty arena."""
    arena = make_arena([TableSpec("ports", 1, 1, 16)])
    return ImageFunctions("counting", "1", arena, announce, install, forward, {1: "short", REASON: "marked"})
