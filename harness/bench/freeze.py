"""How long freezing a large table keeps the dataplane from its packets, while packets flow."""

from __future__ import annotations

import time
from pathlib import Path

from harness.bench.compute import FLOWS, Loop
from harness.bench.engine_node import EngineNode
from harness.bench.frames import flow_frames
from harness.bench.image import load_nat
from harness.bench.scope import Scope
from harness.dataplane.instance import UPDATES_STATELET, ImageFunctions
from harness.dataplane.table_check import dump
from harness.errors import HarnessError
from harness.testbed.testbed import Testbed

LOAD_PPS = 20_000
_LOAD_FRAME_BYTES = 512
_FILL_FRAME_BYTES = 64
_FROZEN_S = 0.01
_MAPPINGS_MAX = 1 << 17


def full_nat(entries: int) -> ImageFunctions:
    """A NAT whose mapping table holds `entries`: UDP and ICMP by halves, because one protocol has 64,512 ports.

    HarnessError where it does not come to hold them.
    """
    image = load_nat({"max_mappings": _MAPPINGS_MAX})
    loop = Loop(image)
    loop.learn_echo_addresses()
    for protocol in ("udp", "icmp"):
        templates = flow_frames(entries // 2, _FILL_FRAME_BYTES, protocol=protocol)
        loop.run(templates, len(templates))
    found = len(dump(image.tables)["mapping"])
    if found < entries:
        raise HarnessError(f"bench: the NAT holds {found} mappings, {entries} were opened")
    return image


def freeze_pauses(testbed: Testbed, image: ImageFunctions, scope: Scope, scratch: Path, number: int) -> list[int]:
    """Pauses in ns of `scope.freezes` freezes, each with announcing begun and with packets flowing before, during and
    after it. HarnessError where they did not flow."""
    pauses = []
    with EngineNode(testbed, image, scratch, number) as node:
        sender = node.sender(flow_frames(FLOWS, _LOAD_FRAME_BYTES))
        sender.start(LOAD_PPS, 1 << 40, 600_000_000_000)
        try:
            for _ in range(scope.freezes):
                before = node.forwarded_packets
                pauses.append(node.announce(UPDATES_STATELET))
                time.sleep(_FROZEN_S)
                node.end_announcing()
                if node.forwarded_packets == before:
                    raise HarnessError("bench: no packet was forwarded while the tables were frozen")
        finally:
            sender.stop()
    return pauses
