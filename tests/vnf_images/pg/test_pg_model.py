"""The compiled gateway against the reference gateway, and its migration: the statelet stream and the snapshot alone
reproduce its state.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.l2 import ARP

from harness.dataplane.replay import replay
from harness.dataplane.table import freeze_all, reap, unfreeze_all
from harness.dataplane.table_check import check, dump
from harness.dataplane.table_snapshot import load_records, read_frozen, record_words
from harness.dataplane.trace import TRACE_DTYPE
from tests.vnf_images.driver import DECISECOND_NS
from tests.vnf_images.pg.reference_gateway import ReferenceGateway
from tests.vnf_images.pg.tagged_traffic import packet
from vnf_images.pg import program
from vnf_images.pg.reasons import REASONS

PACKETS = 120
CELLS = 6
TABLES = 2


def copy_snapshot(source: Any, destination: Any, tables: int = TABLES) -> None:
    """What the migration does: the frozen state of the source, a few records at a time."""
    out = np.zeros(64, dtype=np.uint64)
    for tid in range(tables):
        cursor = 0
        while cursor >= 0:
            records, cursor = (int(n) for n in read_frozen(source.tables, tid, cursor, out))
            words = out[: records * int(record_words(source.tables, tid))].copy()
            assert load_records(destination.tables, tid, words, records) == 0


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([(64, 16), (5, 4)]))
def test_agrees_with_the_reference_on_outputs_refusals_and_state(
    make_gateway: Callable[..., Any], seed: int, limits: tuple[int, int]
) -> None:
    rng = random.Random(seed)
    shared = {"cells": CELLS, "max_subscribers": limits[0], "max_neighbours": limits[1]}
    gateway, reference = make_gateway(shared), ReferenceGateway(**shared)
    for _ in range(PACKETS):
        frame, port = packet(rng, CELLS)
        outcome = gateway.receive(bytes(frame), port, 0)
        refusal, out_port, expected = reference.receive(frame, port)
        assert (outcome.refusal, outcome.port) == (refusal, out_port), frame.show(dump=True)
        if expected is not None:
            wanted = bytes(expected)
            assert outcome.frame == (wanted.ljust(60, b"\0") if ARP in expected else wanted)
    state = dump(gateway.tables)
    assert [record[:3] for record in state["subscriber"]] == reference.places()
    assert state["neighbour"] == reference.neighbour_records()
    assert check(gateway.tables) == []


@settings(max_examples=6, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_the_statelet_stream_alone_reproduces_the_state(make_gateway: Callable[..., Any], seed: int) -> None:
    """f(s, p) = h(s, g(s, p)), at another instance and in the same order."""
    rng = random.Random(seed)
    source, destination = make_gateway({"cells": CELLS}), make_gateway({"cells": CELLS})
    for _ in range(PACKETS):
        frame, port = packet(rng, CELLS)
        source.receive(bytes(frame), port, 0)
    assert source.statelets
    for statelet in source.statelets:
        assert destination.install(statelet) == 0
    assert dump(destination.tables) == dump(source.tables)
    assert check(destination.tables) == []


@settings(max_examples=6, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_a_snapshot_read_late_and_the_statelets_after_it_reproduce_the_state(
    make_gateway: Callable[..., Any], seed: int
) -> None:
    rng = random.Random(seed)
    source, destination = make_gateway({"cells": CELLS}), make_gateway({"cells": CELLS})
    frozen_at, since = rng.randrange(PACKETS - 30), 0
    read_at = frozen_at + rng.randrange(30)
    for number in range(PACKETS):
        if number == frozen_at:
            assert freeze_all(source.tables) == 0
            since = len(source.statelets)
        if number == read_at:
            copy_snapshot(source, destination)
            assert unfreeze_all(source.tables) == 0
        reap(source.tables, 3)
        frame, port = packet(rng, CELLS)
        source.receive(bytes(frame), port, 0)
    for statelet in source.statelets[since:]:
        assert destination.install(statelet) == 0
    assert dump(destination.tables) == dump(source.tables)
    assert check(source.tables) == check(destination.tables) == []
    frame, port = packet(rng, CELLS)
    assert destination.receive(bytes(frame), port, 0) == source.receive(bytes(frame), port, 0)


@settings(max_examples=6, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_after_an_abort_the_source_serves_on_and_a_retry_works(make_gateway: Callable[..., Any], seed: int) -> None:
    rng = random.Random(seed)
    source, untouched = make_gateway({"cells": CELLS}), make_gateway({"cells": CELLS})
    discarded, destination = make_gateway({"cells": CELLS}), make_gateway({"cells": CELLS})
    frames = [packet(rng, CELLS) for _ in range(PACKETS)]

    def serve(part: list[Any]) -> None:
        for frame, port in part:
            assert source.receive(bytes(frame), port, 0) == untouched.receive(bytes(frame), port, 0)

    serve(frames[:40])
    assert freeze_all(source.tables) == 0
    copy_snapshot(source, discarded, tables=1)
    serve(frames[40:60])
    assert unfreeze_all(source.tables) == 0  # aborted half-way through the snapshot
    serve(frames[60:80])
    assert freeze_all(source.tables) == 0
    since = len(source.statelets)
    serve(frames[80:100])
    copy_snapshot(source, destination)
    assert unfreeze_all(source.tables) == 0
    serve(frames[100:])
    for statelet in source.statelets[since:]:
        assert destination.install(statelet) == 0
    assert dump(destination.tables) == dump(source.tables) == dump(untouched.tables)


@pytest.mark.parametrize("seed", range(3))
def test_the_traced_part_of_each_packet_is_enough_to_reach_the_same_state(
    make_gateway: Callable[..., Any], seed: int
) -> None:
    """The reference of a run's verification replays packets of which only the first bytes were kept."""
    rng = random.Random(seed)
    gateway, reference = make_gateway({"cells": CELLS}), make_gateway({"cells": CELLS})
    gateway.check_purity = False
    records = np.zeros(300, dtype=TRACE_DTYPE)
    for number, record in enumerate(records):
        frame, port = packet(rng, CELLS)
        content = bytes(frame)
        captured = content[: records["data"].shape[1]]
        record["now_ns"], record["length"], record["port"] = number * DECISECOND_NS, len(content), port
        record["captured"] = len(captured)
        record["data"][: len(captured)] = list(captured)
        gateway.receive(content, port, number)
    replayed = records.view(np.uint8).reshape(len(records), -1)
    assert replay(program.announce, program.install, reference.tables, replayed) == len(records)
    assert dump(reference.tables) == dump(gateway.tables)
    assert len(dump(gateway.tables)["subscriber"]) > 5


def test_the_generated_traffic_reaches_every_kind_of_outcome(make_gateway: Callable[..., Any]) -> None:
    """Guards the tests above: they would say little if the sequences missed whole branches."""
    rng = random.Random(1)
    seen: dict[str | None, int] = {}
    types: set[int] = set()
    for limits in ({}, {"max_subscribers": 3, "max_neighbours": 4}):
        gateway = make_gateway({"cells": CELLS, **limits})
        gateway.check_purity = False
        for _ in range(1000):
            frame, port = packet(rng, CELLS)
            refusal = gateway.receive(bytes(frame), port, 0).refusal
            seen[refusal] = seen.get(refusal, 0) + 1
        types |= {int.from_bytes(statelet[:2], "big") for statelet in gateway.statelets}
    structural = {"frame_malformed", "not_for_us", "not_ipv4", "ip_malformed", "ip_options", "ip_checksum"}
    structural |= {"transport_malformed", "arp_malformed", "arp_other", "inconsistent"}
    assert set(REASONS.values()) - structural <= set(seen)
    assert seen[None] > 300
    assert types == {1, 2, 0x10, 0x11}
