"""A subscriber's bearer context: what a real gateway keeps beside the cell (tunnel endpoints, quality class, keys).

Here it is opaque: pieces of 32 bits, each derived from its predecessor at the handover, as the keys of a mobile network
are chained (3GPP TS 33.401, section 7.2.8). So it is state like any other: a context that is lost or damaged on the way
to the destination stays different from the source's for good, where the comparison of the final states finds it.
"""

from __future__ import annotations

import numpy as np
from numba import types

from harness.dataplane.abi import BYTES, WORDS
from harness.dataplane.jit import compiled, compiled_as
from harness.dataplane.table import Words, value
from harness.dataplane.wire.octets import Number, Octets, get_u32, put_u32
from vnf_images.pg.layout import BEARER, BEARER_AT, BEARER_PIECES_AT, PIECE_BYTES, SUBSCRIBER
from vnf_images.ports import LOW_32, config


@compiled_as(types.int64(types.int64))
def mixed(number: Number) -> Number:
    """32 bits scattered: multiply and fold twice. The factors are below 2**31, so that no product leaves an int64."""
    number &= LOW_32
    number = ((number ^ (number >> 16)) * 0x7FEB352D) & LOW_32
    number = ((number ^ (number >> 15)) * 0x31848BAB) & LOW_32
    return number ^ (number >> 16)


@compiled
def _piece(tables: Words, slot: Number, index: Number) -> Number:
    """A piece of the context kept in a slot, 0 for a subscriber that is not there yet (slot < 0)."""
    if slot < 0:
        return np.int64(0)
    word = value(tables, SUBSCRIBER, slot, BEARER + (index >> 1))
    return (word >> (32 * (1 - (index & 1)))) & LOW_32


@compiled_as(types.void(BYTES, WORDS, types.int64, types.int64, types.int64, types.int64))
def put_next_bearer(
    statelet: Octets, tables: Words, slot: Number, subscriber: Number, cell: Number, handovers: Number
) -> None:
    """Write into a statelet the context that follows the one kept in `slot` (< 0: none)."""
    chain = mixed(mixed(mixed(mixed(subscriber >> 32) ^ subscriber) ^ cell) ^ handovers)
    for index in range(config(tables, BEARER_PIECES_AT)):
        chain = mixed(chain + index + 1) ^ _piece(tables, slot, index)
        put_u32(statelet, BEARER_AT + PIECE_BYTES * index, chain)


@compiled_as(types.void(BYTES, WORDS, types.int64))
def store_bearer(statelet: Octets, tables: Words, at: Number) -> None:
    """Copy a statelet's context into the value words that begin at index `at` of the tables."""
    pieces = config(tables, BEARER_PIECES_AT)
    for index in range(0, pieces, 2):
        offset = BEARER_AT + PIECE_BYTES * index
        low = get_u32(statelet, offset + PIECE_BYTES) if index + 1 < pieces else np.int64(0)
        tables[at + BEARER + (index >> 1)] = (np.uint64(get_u32(statelet, offset)) << np.uint64(32)) | np.uint64(low)
