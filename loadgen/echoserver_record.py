"""Where the echoserver sees the packets of each flow come from."""

from __future__ import annotations

from typing import Any

import numpy as np

from harness.dataplane.jit import compiled
from loadgen.echoserver_state import MAPPING_CHANGES
from loadgen.wire import IP_DESTINATION, IP_SOURCE, UDP_DESTINATION, UDP_SOURCE, get16, get32, signed


@compiled
def record_request(frame: Any, flow: int, record: Any, words: Any) -> None:
    """Note where the flow's packets come from; a change of it after the first packet is counted."""
    address, port = get32(frame, IP_SOURCE), get16(frame, UDP_SOURCE)
    if record.packets[flow] == 0:
        record.external_ip[flow] = address
        record.external_port[flow] = port
        record.seen[words.cursor[1]] = flow
        words.cursor[1] += 1
    elif record.peer[flow, 0] != address or record.peer[flow, 1] != port:
        record.mapping_changes[flow] += 1
        words.counters[MAPPING_CHANGES] += 1
    record.peer[flow, 0] = address
    record.peer[flow, 1] = port
    record.peer[flow, 2] = get32(frame, IP_DESTINATION)
    record.peer[flow, 3] = get16(frame, UDP_DESTINATION)
    record.packets[flow] += np.uint64(1)


@compiled
def is_echo_address(address: int, echo: Any) -> bool:
    """Whether `address` is one of `echo` (uint32[E])."""
    found = False
    for i in range(echo.shape[0]):
        found |= signed(echo[i]) == address
    return found
