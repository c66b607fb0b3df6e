"""Which external port a new mapping gets (RFC 4787 section 4.2: no port overloading)."""

from __future__ import annotations

import numpy as np

from harness.dataplane.jit import compiled
from harness.dataplane.table import Words, find, value
from harness.dataplane.wire.octets import Number
from vnf_images.nat.layout import EXTERNAL, POOL, PORT_FIRST_AT, PORT_LAST_AT, external_key
from vnf_images.ports import config


@compiled
def following_port(tables: Words, port: Number) -> Number:
    """The port after `port` in the pool, around its end."""
    first, last = config(tables, PORT_FIRST_AT), config(tables, PORT_LAST_AT)
    return port + 1 if first <= port < last else first


@compiled
def allocate_port(tables: Words, protocol: Number) -> Number:
    """The first free port from the protocol's next port on, or -1 if all are in use.

    The search starts where the last one ended; an exhausted pool is known by its count, without a search.
    """
    first, last = config(tables, PORT_FIRST_AT), config(tables, PORT_LAST_AT)
    port = first
    pool = find(tables, POOL, protocol)
    if pool >= 0:
        if value(tables, POOL, pool, 1) > last - first:
            return np.int64(-1)
        port = value(tables, POOL, pool, 0)
        if port < first or port > last:
            port = first
    for _ in range(last - first + 1):
        if find(tables, EXTERNAL, external_key(protocol, port)) < 0:
            return port
        port = following_port(tables, port)
    return np.int64(-1)
