"""Where the gateway's state and configuration are, and the layout of its statelets (image.toml says it in words)."""

from __future__ import annotations

import numpy as np
from numba import types

from harness.dataplane.abi import WORDS
from harness.dataplane.jit import compiled_as
from harness.dataplane.table import Words, value
from harness.dataplane.wire.octets import Number
from vnf_images.ports import LOW_32, OWN_CONFIG_AT, config

# Tables.
SUBSCRIBER = 0
NEIGHBOUR = 1

# Configuration words behind those of the ports.
CELLS_AT = OWN_CONFIG_AT
BEARER_PIECES_AT = OWN_CONFIG_AT + 1
"""Length of a bearer context in pieces of 4 bytes."""

PIECE_BYTES = 4

# Words of a subscriber's value; the bearer context follows, two pieces to a word.
PLACE = 0
HANDOVERS = 1
BEARER = 2

# Statelet types; those of ARP are in `vnf_images.neighbours`.
ATTACHED = 0x10
HANDED_OVER = 0x11

# Offsets in a statelet, after its 4 header bytes.
IP_AT = 4
PORT_AT = 8
CELL_AT = 10
PREVIOUS_AT = 12
HANDOVERS_AT = 14
BEARER_AT = 18

NO_CELL = 0xFFFF
"""Previous cell of a subscriber that has attached and not moved yet; no cell has this number."""


@compiled_as(types.int64(types.int64, types.int64))
def subscriber_key(ip: Number, port: Number) -> Number:
    """Key of a subscriber."""
    return (ip << 16) | port


@compiled_as(types.int64(types.int64, types.int64))
def place(cell: Number, previous: Number) -> Number:
    """Word of the cell a subscriber is in and the one before it."""
    return (previous << 16) | cell


@compiled_as(types.int64(WORDS, types.int64))
def cell_of(tables: Words, slot: Number) -> Number:
    """Cell the subscriber in a slot is in."""
    return value(tables, SUBSCRIBER, slot, PLACE) & 0xFFFF


@compiled_as(types.int64(WORDS, types.int64))
def handovers_of(tables: Words, slot: Number) -> Number:
    """Handovers of the subscriber in a slot, modulo 2**32."""
    return value(tables, SUBSCRIBER, slot, HANDOVERS) & LOW_32


@compiled_as(types.int64(WORDS))
def statelet_bytes(tables: Words) -> Number:
    """Length of the statelets ATTACHED and HANDED_OVER, header included."""
    return BEARER_AT + PIECE_BYTES * config(tables, BEARER_PIECES_AT)


@compiled_as(types.boolean(WORDS, types.int64))
def is_cell(tables: Words, number: Number) -> bool:
    """Whether there is a cell of this number."""
    return bool(np.int64(0) <= number < config(tables, CELLS_AT))
