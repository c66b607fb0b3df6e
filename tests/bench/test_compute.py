"""The compute loop measures what it says, and refuses to measure anything else."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.bench import compute
from harness.bench.compute import compute_costs
from harness.bench.freeze import full_nat
from harness.bench.scope import QUICK
from harness.dataplane.table_check import dump
from harness.errors import HarnessError

TINY = replace(QUICK, pairs=3, compute_packets=2_000)


def test_costs_come_in_pairs_and_cost_something() -> None:
    off, on = compute_costs(TINY, 512)
    assert len(off) == len(on) == 3
    assert min(off + on) > 0


def test_a_nat_that_does_not_forward_is_no_measurement(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compute.Loop, "learn_echo_addresses", lambda _self: None)
    with pytest.raises(HarnessError, match=r"0 of 2000 packets"):
        compute_costs(TINY, 512)


def test_the_frozen_table_holds_what_it_says() -> None:
    assert len(dump(full_nat(2_000).tables)["mapping"]) == 2_000
