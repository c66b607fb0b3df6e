"""A NAT instance driven packet by packet, as the engine drives it."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from harness.dataplane.abi import FLAG_REPLACED, REPLACED_REASON_SHIFT, STATELET_MAX_BYTES, TIMER_PORT
from harness.dataplane.table import Words, make_arena
from harness.dataplane.wire.octets import Octets
from vnf_images.nat import program

BUFFER_BYTES = 2048
DECISECOND_NS = 100_000_000


def _load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


reference_nat = _load("reference_nat")
traffic = _load("traffic")


@dataclass
class Outcome:
    """What became of a frame: refusal or None, port or None, the frame that was sent."""

    refusal: str | None
    port: int | None
    frame: bytes


@dataclass
class Nat:
    """One instance; `statelets` collects what it announced."""

    parameters: dict[str, Any] = field(default_factory=dict)
    statelets: list[bytes] = field(default_factory=list)
    check_purity: bool = True

    def __post_init__(self) -> None:
        small = {"max_mappings": 64, "max_sessions": 64, "max_hosts": 16, "max_neighbours": 16}
        self.parameters = {**small, **self.parameters}
        self.tables: Words = make_arena(program.table_specs(self.parameters))
        program.configure(self.tables, self.parameters)
        self.statelet: Octets = np.zeros(STATELET_MAX_BYTES, dtype=np.uint8)

    def install(self, statelet: bytes) -> int:
        buffer = np.zeros(STATELET_MAX_BYTES, dtype=np.uint8)
        buffer[: len(statelet)] = np.frombuffer(statelet, dtype=np.uint8)
        return int(program.install(buffer, len(statelet), self.tables))

    def receive(self, content: bytes, port: int, now: int) -> Outcome:
        """Announce, install, forward; `now` in deciseconds."""
        buffer = np.zeros(BUFFER_BYTES, dtype=np.uint8)
        buffer[: len(content)] = np.frombuffer(content, dtype=np.uint8)
        before = self.tables.copy() if self.check_purity else self.tables
        n = int(program.announce(buffer, len(content), port, now * DECISECOND_NS, self.tables, self.statelet))
        if self.check_purity:
            assert np.array_equal(before, self.tables), "announce changed the state"
            assert bytes(buffer[: len(content)]) == content, "announce changed the packet"
        if n < 0:
            return Outcome(program.REASONS[-n], None, b"")
        if n > 0:
            statelet = bytes(self.statelet[:n])
            assert int.from_bytes(statelet[2:4], "big") == n - 4
            self.statelets.append(statelet)
            assert program.install(self.statelet, n, self.tables) == 0
        before = self.tables.copy() if self.check_purity else self.tables
        verdict = int(program.forward(buffer, len(content), port, now * DECISECOND_NS, self.tables, self.statelet))
        if self.check_purity:
            assert np.array_equal(before, self.tables), "forward changed the state"
        if verdict < 0:
            return Outcome(program.REASONS[-verdict], None, b"")
        refusal = program.REASONS[verdict >> REPLACED_REASON_SHIFT] if verdict & FLAG_REPLACED else None
        if refusal:
            assert n == 0, "a packet that was not forwarded changed the state"
            verdict &= FLAG_REPLACED - 1
        return Outcome(refusal, verdict & 0xFF, bytes(buffer[: verdict >> 8]))

    def tick(self, number: int, now: int) -> int:
        """One timer tick; entries that expired."""
        empty = np.zeros(8, dtype=np.uint8)
        expired = 0
        while True:
            n = int(program.announce(empty, number, TIMER_PORT, now * DECISECOND_NS, self.tables, self.statelet))
            assert n >= 0
            if n == 0:
                return expired
            self.statelets.append(bytes(self.statelet[:n]))
            assert program.install(self.statelet, n, self.tables) == 0
            expired += 1

    def tick_all(self, now: int) -> int:
        """Ticks over all slots of all tables."""
        return sum(self.tick(number, now) for number in range(4))


@pytest.fixture(scope="session")
def make_nat_instance() -> Callable[..., Nat]:
    """Makes a NAT from its parameters; tables are small unless the parameters say otherwise."""
    return Nat
