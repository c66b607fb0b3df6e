"""What one packet costs in computing alone: g, h and f of an image in a compiled loop, no sockets, no other thread."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from numba import typeof, types

from harness.bench.frames import echo_arp_requests, flow_frames
from harness.bench.image import load_nat
from harness.bench.scope import Scope
from harness.dataplane.abi import (
    ANNOUNCE,
    BYTES,
    EXTERIOR_PORT,
    FLAG_REPLACED,
    FORWARD,
    INSTALL,
    INTERIOR_PORT,
    STATELET_MAX_BYTES,
    WORDS,
)
from harness.dataplane.byte_ring import ByteRing, has_room, make_byte_ring, put, reset_ring
from harness.dataplane.instance import ImageFunctions
from harness.dataplane.jit import Int, compiled_as
from harness.errors import HarnessError

HEADER_BYTES = 64
"""Restored before each packet, because forwarding rewrites it; no image's decision depends on what lies behind."""
FLOWS = 128
_RING_BYTES, _RING_STATELETS = 1 << 20, 1 << 14
_FRAMES = types.Array(types.uint8, 2, "C")
_RING = typeof(make_byte_ring(8192, 1))
_NOW_NS = types.int64


@compiled_as(
    types.int64(
        ANNOUNCE, INSTALL, FORWARD, WORDS, _FRAMES, types.int64, types.int64, _NOW_NS, types.int64, BYTES, BYTES, _RING
    )
)
def run_packets(
    announce: Any,
    install: Any,
    forward: Any,
    tables: Any,
    templates: Any,
    port: Int,
    packets: Int,
    now_ns: Int,
    announcing: Int,
    frame: Any,
    statelet: Any,
    ring: ByteRing,
) -> Int:
    """Take `packets` frames, the rows of `templates` in turn, through the image as the engine does; returns how many
    were forwarded. With `announcing` every statelet is put on `ring`, which is emptied when full."""
    rows, length = templates.shape[0], templates.shape[1]
    forwarded = np.int64(0)
    for i in range(packets):
        template = templates[i % rows]
        for k in range(min(HEADER_BYTES, length)):
            frame[k] = template[k]
        if announcing and not has_room(ring, STATELET_MAX_BYTES):
            reset_ring(ring)
        n = announce(frame, length, port, now_ns, tables, statelet)
        if n < 0:
            continue
        if n > 0:
            if install(statelet, n, tables) != 0:
                continue
            if announcing:
                put(ring, statelet, n)
        verdict = forward(frame, length, port, now_ns, tables, statelet)
        if verdict >= 0 and verdict & FLAG_REPLACED == 0:  # a frame of the image's own is no packet forwarded
            forwarded += 1
    return forwarded


class Loop:
    """An image's tables and the memory for `run_packets`."""

    def __init__(self, image: ImageFunctions) -> None:
        self.image = image
        self._statelet = np.zeros(STATELET_MAX_BYTES, np.uint8)
        self._ring = make_byte_ring(_RING_BYTES, _RING_STATELETS)

    def run(self, templates: np.ndarray, packets: int, *, port: int = INTERIOR_PORT, announcing: bool = False) -> int:
        """Forwarded packets of `packets`."""
        image = self.image
        frame = np.zeros(max(templates.shape[1], STATELET_MAX_BYTES), np.uint8)
        frame[: templates.shape[1]] = templates[0]
        arguments = (templates, port, packets, time.monotonic_ns(), int(announcing), frame, self._statelet, self._ring)
        return int(run_packets(image.announce, image.install, image.forward, image.tables, *arguments))

    def learn_echo_addresses(self) -> None:
        """Let the NAT learn where the echo addresses are."""
        requests = echo_arp_requests()
        self.run(requests, len(requests), port=EXTERIOR_PORT)


def compute_costs(scope: Scope, frame_bytes: int) -> tuple[list[float], list[float]]:
    """ns per packet without and with announcing, `scope.pairs` each, measured in turn. HarnessError where the NAT does
    not forward every packet: then something else than its packet path would be measured."""
    loop = Loop(load_nat())
    loop.learn_echo_addresses()
    templates = flow_frames(FLOWS, frame_bytes)
    loop.run(templates, FLOWS, announcing=True)  # opens the mappings
    costs: dict[bool, list[float]] = {False: [], True: []}
    for pair in range(scope.pairs):
        # The order alternates, so that a drift of the machine hits both alike.
        for announcing in (False, True) if pair % 2 == 0 else (True, False):
            began_ns = time.thread_time_ns()
            forwarded = loop.run(templates, scope.compute_packets, announcing=announcing)
            costs[announcing].append((time.thread_time_ns() - began_ns) / scope.compute_packets)
            if forwarded != scope.compute_packets:
                raise HarnessError(f"compute loop: {forwarded} of {scope.compute_packets} packets were forwarded")
    return costs[False], costs[True]
