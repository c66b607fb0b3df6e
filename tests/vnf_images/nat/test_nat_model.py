"""The compiled NAT against the reference NAT, and its migration: the statelet stream and the snapshot alone
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
from reference_nat import ReferenceNat
from scapy.layers.inet import IP
from scapy.layers.l2 import ARP, Ether
from traffic import packet

from harness.dataplane.table import freeze_all, reap, unfreeze_all
from harness.dataplane.table_check import check, dump
from harness.dataplane.table_snapshot import load_records, read_frozen, record_words
from vnf_images.nat.reasons import REASONS

PACKETS = 160


def same_frame(sent: bytes, expected: Any) -> bool:
    """Byte for byte, but for the padding of short frames."""
    wanted = bytes(expected)
    if ARP in expected:
        return sent[: len(wanted)] == wanted and not any(sent[len(wanted) :])
    return sent == wanted


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from(["roomy", "few_ports", "small_tables"]), st.booleans())
def test_agrees_with_the_reference_on_outputs_refusals_and_state(
    make_nat_instance: Callable[..., Any], seed: int, limits: str, inbound_refresh: bool
) -> None:
    rng = random.Random(seed)
    sizes = {
        "roomy": {"max_mappings": 64, "max_sessions": 64, "max_hosts": 16, "max_neighbours": 16},
        "few_ports": {"max_mappings": 64, "max_sessions": 64, "max_hosts": 16, "max_neighbours": 16},
        "small_tables": {"max_mappings": 5, "max_sessions": 4, "max_hosts": 2, "max_neighbours": 5},
    }[limits]
    last = 1003 if limits == "few_ports" else 1020
    shared = {"port_first": 1000, "port_last": last, "inbound_refresh": inbound_refresh, **sizes}
    nat, reference = make_nat_instance(shared), ReferenceNat(**shared)
    now = rng.randrange(10**6)
    for _ in range(PACKETS):
        now += rng.choice([0, 0, 1, 5, 50, 700, 2500, 80000]) if rng.random() < 0.15 else 0
        frame, port = packet(rng, (1000, 1006))
        outcome = nat.receive(bytes(frame), port, now)
        refusal, out_port, expected = reference.receive(frame, port, now)
        assert (outcome.refusal, outcome.port) == (refusal, out_port), frame.show(dump=True)
        assert expected is None or same_frame(outcome.frame, expected)
        if rng.random() < 0.02:
            nat.tick_all(now)
            reference.tick(now)
    assert dump(nat.tables) == reference.dump()
    assert check(nat.tables) == []


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_the_statelet_stream_alone_reproduces_the_state(make_nat_instance: Callable[..., Any], seed: int) -> None:
    rng = random.Random(seed)
    source, destination = make_nat_instance({"port_last": 1030}), make_nat_instance({"port_last": 1030})
    now = 0
    for number in range(PACKETS):
        now += rng.choice([0, 0, 0, 3, 700])
        frame, port = packet(rng, (1024, 1030))
        source.receive(bytes(frame), port, now)
        source.tick(number, now)
    assert source.statelets
    for statelet in source.statelets:
        assert destination.install(statelet) == 0
    assert dump(destination.tables) == dump(source.tables)
    assert check(destination.tables) == []


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_a_snapshot_read_late_and_the_statelets_after_it_reproduce_the_state(
    make_nat_instance: Callable[..., Any], seed: int
) -> None:
    rng = random.Random(seed)
    source, destination = make_nat_instance({"port_last": 1030}), make_nat_instance({"port_last": 1030})
    now, frozen_at, read_at = 0, rng.randrange(PACKETS - 20), 0
    since = 0
    out = np.zeros(64, dtype=np.uint64)
    for number in range(PACKETS):
        if number == frozen_at:
            assert freeze_all(source.tables) == 0
            since, read_at = len(source.statelets), number + rng.randrange(20)
        if frozen_at <= number and read_at == number:
            for tid in range(6):
                cursor = 0
                while cursor >= 0:
                    records, cursor = (int(n) for n in read_frozen(source.tables, tid, cursor, out))
                    words = out[: records * int(record_words(source.tables, tid))].copy()
                    assert load_records(destination.tables, tid, words, records) == 0
            assert unfreeze_all(source.tables) == 0
        reap(source.tables, 3)
        now += rng.choice([0, 0, 0, 3, 700])
        frame, port = packet(rng, (1024, 1030))
        source.receive(bytes(frame), port, now)
        source.tick(number, now)
    for statelet in source.statelets[since:]:
        assert destination.install(statelet) == 0
    assert dump(destination.tables) == dump(source.tables)
    assert check(source.tables) == []
    assert check(destination.tables) == []
    frame, port = packet(rng, (1024, 1030))
    assert destination.receive(bytes(frame), port, now) == source.receive(bytes(frame), port, now)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_expiry_depends_on_packets_and_ticks_not_on_the_order_of_insertion(
    make_nat_instance: Callable[..., Any], seed: int
) -> None:
    """Duplication: the destination has the same entries in other slots and is given the same ticks."""
    rng = random.Random(seed)
    window = {"expiry_window_slots": 8, "max_mappings": 64, "max_sessions": 64}
    source, destination = make_nat_instance(window), make_nat_instance(window)
    for _ in range(PACKETS):
        frame, port = packet(rng, (1024, 1040))
        source.receive(bytes(frame), port, 0)
    contents = dump(source.tables)
    for tid, records in enumerate(contents.values()):
        rng.shuffle(records)
        words = np.array(records, dtype=np.uint64).reshape(-1)
        assert load_records(destination.tables, tid, words, len(records)) == 0
    expired = 0
    for number in range(60):
        now = number * 3000
        expired += source.tick(number, now)
        destination.tick(number, now)
        assert dump(destination.tables) == dump(source.tables)
    assert expired == len(contents["session"]) + sum(record[0] >> 48 != 6 for record in contents["mapping"])
    assert dump(source.tables)["mapping"] == []


@pytest.mark.parametrize("seed", range(3))
def test_bad_transport_checksums_stay_exactly_as_bad(make_nat_instance: Callable[..., Any], seed: int) -> None:
    rng = random.Random(seed)
    nat, good = make_nat_instance({}), make_nat_instance({})
    forwarded = 0
    for _ in range(PACKETS):
        frame, port = packet(rng, (1024, 1030))
        content = bytearray(bytes(frame))
        bad = bytearray(content)
        if IP in frame and len(content) > 60 and frame[IP].proto in (6, 17):
            bad[-1] ^= 0x5A
        outcome, expected = nat.receive(bytes(bad), port, 0), good.receive(bytes(content), port, 0)
        assert outcome.port == expected.port
        if bad != content and expected.port is not None and IP in Ether(expected.frame):
            difference = [i for i in range(len(bad)) if outcome.frame[i] != expected.frame[i]]
            assert difference == [len(bad) - 1]
            forwarded += 1
    assert forwarded > 0


def test_the_generated_traffic_reaches_every_kind_of_outcome(make_nat_instance: Callable[..., Any]) -> None:
    """Guards the tests above: they would say little if the sequences missed whole branches."""
    rng = random.Random(1)
    seen: dict[str | None, int] = {}
    types: set[int] = set()
    for limits in (
        {"max_mappings": 64, "max_sessions": 64, "port_last": 1030},
        {"port_last": 1026},
        {"max_mappings": 5, "max_sessions": 3, "max_hosts": 2, "max_neighbours": 5},
    ):
        nat = make_nat_instance(limits)
        nat.check_purity = False
        now = 0
        for _ in range(3000):
            now += rng.choice([0, 0, 1, 5, 50, 700, 2500]) if rng.random() < 0.15 else 0
            frame, port = packet(rng, (1024, 1030))
            refusal = nat.receive(bytes(frame), port, now).refusal
            seen[refusal] = seen.get(refusal, 0) + 1
            if rng.random() < 0.01:
                nat.tick_all(now)
        types |= {int.from_bytes(statelet[:2], "big") for statelet in nat.statelets}
    structural = {"frame_malformed", "not_for_us", "not_ipv4", "ip_malformed", "ip_options", "ip_checksum"}
    structural |= {"transport_malformed", "arp_malformed", "arp_other", "inconsistent"}
    assert set(REASONS.values()) - structural <= set(seen)
    assert seen[None] > 1000
    assert types == {1, 2, 0x10, 0x11, 0x12, 0x13, 0x20, 0x21, 0x22, 0x23, 0x30, 0x31, 0x32, 0x33, 0x34}
