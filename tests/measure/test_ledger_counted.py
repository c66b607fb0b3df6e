"""The ledger where an element on the wires counts every frame it loses or duplicates."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from harness.measure.hops import TO_EXTERIOR, TO_LOADGEN, WIRES, WireCounters
from harness.measure.ledger import attribute
from tests.measure.test_ledger import Lossy


class Counted(Lossy):
    """A path of which each wire loses and duplicates in its own measure."""

    def __init__(self, seed: int, losses: dict[str, float], duplications: dict[str, float]) -> None:
        super().__init__(seed, 0.0, 0.0)
        self.losses, self.duplications = losses, duplications

    def cross(self, wire: str, frames: int) -> int:
        self.loss, self.duplication = self.losses.get(wire, 0.0), self.duplications.get(wire, 0.0)
        return super().cross(wire, frames)

    def counted(self) -> dict[str, WireCounters]:
        """What has been done on each wire."""
        return {
            wire: WireCounters(self.left[wire] + self.dropped[wire] - self.entered[wire], self.dropped[wire])
            for wire in WIRES
        }


@given(
    st.integers(0, 1 << 32),
    st.dictionaries(st.sampled_from(WIRES), st.sampled_from([0.02, 0.3, 1.0]), max_size=4),
    st.dictionaries(st.sampled_from(WIRES), st.sampled_from([0.05, 0.5, 1.0]), max_size=4),
)
def test_whichever_wires_lose_and_whichever_duplicate_all_hops_are_even(records, seed, losses, duplications) -> None:
    path = Counted(seed, losses, duplications)
    arrived = [path.arrivals(WIRES) for _ in range(60)]
    server = [path.arrivals((TO_EXTERIOR, TO_LOADGEN)) for _ in range(20)]
    made = records(
        [10.0 if copies else None for copies in arrived],
        duplicates=[max(0, copies - 1) for copies in arrived],
        server_delays_ms=[5.0 if copies else None for copies in server],
        server_duplicates=np.array([max(0, copies - 1) for copies in server], np.uint16),
    )
    ledger = attribute(made, replace(path.counters(60, 20), bounds=(), counted=path.counted()))
    assert [hop.residual_packets for hop in ledger.hops if hop.residual_packets] == []
    assert ledger.explained
    row = ledger.row("impairment")
    assert (row.echo_packets, row.server_packets) == (arrived.count(0), server.count(0))
