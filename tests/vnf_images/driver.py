"""An instance of an image driven packet by packet, as the engine drives it."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import numpy as np

from harness.dataplane.abi import FLAG_REPLACED, REPLACED_REASON_SHIFT, STATELET_MAX_BYTES, TIMER_PORT
from harness.dataplane.table import Words, make_arena
from harness.dataplane.wire.octets import Octets

BUFFER_BYTES = 2048
DECISECOND_NS = 100_000_000


@dataclass
class Outcome:
    """What became of a frame: refusal or None, port or None, the frame that was sent."""

    refusal: str | None
    port: int | None
    frame: bytes


@dataclass
class Driver:
    """One instance of the image `program`; `statelets` collects what it announced."""

    program: ModuleType
    parameters: dict[str, Any] = field(default_factory=dict)
    statelets: list[bytes] = field(default_factory=list)
    check_purity: bool = True
    unresolved_changes_state: bool = False

    def __post_init__(self) -> None:
        self.tables: Words = make_arena(self.program.table_specs(self.parameters))
        self.program.configure(self.tables, self.parameters)
        self.statelet: Octets = np.zeros(STATELET_MAX_BYTES, dtype=np.uint8)

    def install(self, statelet: bytes) -> int:
        buffer = np.zeros(STATELET_MAX_BYTES, dtype=np.uint8)
        buffer[: len(statelet)] = np.frombuffer(statelet, dtype=np.uint8)
        return int(self.program.install(buffer, len(statelet), self.tables))

    def receive(self, content: bytes, port: int, now: int) -> Outcome:
        """Announce, install, forward; `now` in deciseconds."""
        buffer = np.zeros(BUFFER_BYTES, dtype=np.uint8)
        buffer[: len(content)] = np.frombuffer(content, dtype=np.uint8)
        before = self.tables.copy() if self.check_purity else self.tables
        n = int(self.program.announce(buffer, len(content), port, now * DECISECOND_NS, self.tables, self.statelet))
        if self.check_purity:
            assert np.array_equal(before, self.tables), "announce changed the state"
            assert bytes(buffer[: len(content)]) == content, "announce changed the packet"
        if n < 0:
            return Outcome(self.program.REASONS[-n], None, b"")
        if n > 0:
            statelet = bytes(self.statelet[:n])
            assert int.from_bytes(statelet[2:4], "big") == n - 4
            self.statelets.append(statelet)
            assert self.program.install(self.statelet, n, self.tables) == 0
        before = self.tables.copy() if self.check_purity else self.tables
        verdict = int(self.program.forward(buffer, len(content), port, now * DECISECOND_NS, self.tables, self.statelet))
        if self.check_purity:
            assert np.array_equal(before, self.tables), "forward changed the state"
        if verdict < 0:
            return Outcome(self.program.REASONS[-verdict], None, b"")
        refusal = self.program.REASONS[verdict >> REPLACED_REASON_SHIFT] if verdict & FLAG_REPLACED else None
        if refusal:
            assert n == 0 or self.unresolved_changes_state, "a packet that was not forwarded changed the state"
            verdict &= FLAG_REPLACED - 1
        return Outcome(refusal, verdict & 0xFF, bytes(buffer[: verdict >> 8]))

    def tick(self, number: int, now: int) -> int:
        """One timer tick; entries that expired."""
        empty = np.zeros(8, dtype=np.uint8)
        expired = 0
        while True:
            n = int(self.program.announce(empty, number, TIMER_PORT, now * DECISECOND_NS, self.tables, self.statelet))
            assert n >= 0
            if n == 0:
                return expired
            self.statelets.append(bytes(self.statelet[:n]))
            assert self.program.install(self.statelet, n, self.tables) == 0
            expired += 1

    def tick_all(self, now: int) -> int:
        """Ticks over all slots of all tables."""
        return sum(self.tick(number, now) for number in range(4))
