"""What the latency generator of a run is told, and what its counters mean for the ledger."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.dataplane import engine_state as es
from harness.dataplane.element import state as at
from harness.errors import HarnessError, UsageError
from harness.experiment.collect import Reading, counter_pairs, hop_counters, refused_frames, take_reading
from harness.experiment.generator_counters import read_generator
from harness.experiment.latency_generator import (
    QUEUE_PACKETS_MAX,
    QUEUE_PACKETS_MIN,
    LatencyGenerator,
    conditions_document,
    generator_configuration,
    queue_packets,
)
from harness.latency_generator.config import parse_config
from harness.measure.hops import TO_ECHOSERVER, TO_EXTERIOR, TO_INTERIOR, TO_LOADGEN, WireCounters
from harness.measure.invariants import counters_exact
from harness.testbed.conditions import LinkConditions
from harness.testbed.counters import FabricCounters, LinkCounters
from harness.testbed.testbed import StartedProcess, Testbed
from harness.testbed.topology import Topology, UplinkSpec
from tests.experiment.conftest import ProfileFactory, TestbedFactory

NODES = ("loadgen", "source", "destination")
NOTHING = dict.fromkeys(
    (
        *("sent_packets", "received_frames", "echo_replies_packets", "echo_duplicates_packets", "arp_packets"),
        *("server_received_packets", "server_duplicates_packets", "kernel_dropped_packets"),
        *("echoed_packets", "tx_failed_packets", "server_sent_packets"),
    ),
    0,
)


def described_testbed(make_testbed: TestbedFactory, **fields: Any) -> Testbed:
    topology = Topology("t1234567", latency_backend="latency_generator", **fields)
    return Testbed(topology, facts=make_testbed("latency_generator").facts)


def test_the_generator_takes_its_configuration(make_profile: ProfileFactory, make_testbed: TestbedFactory) -> None:
    pareto = LinkConditions(latency_ns=9, ipdv_ns=5, ipdv_distribution="pareto", loss=0.25, reordering=0.5)
    testbed = described_testbed(make_testbed, links={("loadgen", "down"): pareto})
    document = generator_configuration(make_profile(), testbed, 77, Path("/run/latency.status"))
    config = parse_config(json.dumps(document, allow_nan=False).encode())
    assert [link.node for link in config.links] == ["loadgen", "source", "destination"]
    loadgen, source, _ = config.links
    assert (loadgen.outer.netns, loadgen.outer.interface, loadgen.inner.interface) == (
        *("t1234567-loadgen", "up0"),
        "inner0p",
    )
    assert loadgen.down.loss == 0.25
    assert loadgen.down.ipdv_distribution == "pareto"
    assert loadgen.up == type(loadgen.up)()
    assert source.up.latency_ns == source.down.latency_ns == 2_500_000
    assert source.counted_addresses == ["02:00:00:00:01:00", "02:00:00:00:01:01"]
    assert loadgen.counted_addresses == ["02:00:00:00:00:01"]
    assert config.seed == 77


def test_corruption_is_refused_with_what_to_do() -> None:
    with pytest.raises(UsageError, match=r"corruption: the latency generator corrupts no frame; .* netem"):
        conditions_document(LinkConditions(corruption=0.1))


@pytest.mark.parametrize(
    ("latency_ns", "least", "most"),
    [
        (0, QUEUE_PACKETS_MIN, QUEUE_PACKETS_MIN),
        (5_000_000_000, 49_000, 55_000),
        (60_000_000_000, QUEUE_PACKETS_MAX, QUEUE_PACKETS_MAX),
    ],
)
def test_the_queue_holds_what_is_under_way(
    make_profile: ProfileFactory, make_testbed: TestbedFactory, latency_ns: int, least: int, most: int
) -> None:
    testbed = described_testbed(make_testbed, uplink=UplinkSpec(latency_ns=latency_ns))
    assert least <= queue_packets(make_profile(), testbed) <= most


class Answering:
    """In the place of a process: it answers every command with the events it was given."""

    def __init__(self, *events: dict[str, Any]) -> None:
        self.events = list(events)
        self.sent: list[dict[str, Any]] = []

    def send(self, command: dict[str, Any]) -> None:
        self.sent.append(command)

    def wait_event(self, name: str, timeout_s: float) -> dict[str, Any]:
        event = self.events.pop(0)
        return {"number": self.sent[-1]["number"], **event, "event": name}


def test_a_change_waits_for_its_own_answer() -> None:
    process = Answering({"number": -1, "applied_ns": 5}, {"applied_ns": 8})
    generator = LatencyGenerator(StartedProcess("latency", process))  # type: ignore[arg-type]
    assert generator.set_conditions("source", "down", LinkConditions(loss=0.5)) == 8
    (command,) = process.sent
    assert (command["node"], command["direction"], command["conditions"]["loss"]) == ("source", "down", 0.5)


def test_an_answer_without_a_time_is_an_error() -> None:
    generator = LatencyGenerator(StartedProcess("latency", Answering({"applied_ns": None})))  # type: ignore[arg-type]
    with pytest.raises(HarnessError, match="latency generator: answered"):
        generator.set_conditions("source", "down", LinkConditions())


# -- counters ---------------------------------------------------------------------------------------------------------


def page(counters: dict[tuple[str, str], dict[int, int]]) -> Any:
    """Status page of a generator at NODES; by node and direction, word -> count."""
    words = np.zeros(es.STATUS_WORDS, np.int64)
    for (node, way), block in counters.items():
        direction = 2 * NODES.index(node) + (way == "up")
        for word, count in block.items():
            words[at.DIRECTIONS_AT + direction * at.DIRECTION_WORDS + word] = count
    return words


def link(node: str, name: str, rx: int, tx: int) -> LinkCounters:
    return LinkCounters(node, name, rx, 0, 0, 0, tx, 0, 0, 0)


def reading(generator: Any, links: dict[tuple[str, str], tuple[int, int]], instance: Any = None) -> Reading:
    names = {(node, name): (0, 0) for node in NODES for name in ("up0", "inner0", "inner0p")} | {
        ("echoserver", "up0"): (0, 0)
    }
    fabric = FabricCounters(1, 2, tuple(link(*key, *counted) for key, counted in {**names, **links}.items()), ())
    source = np.zeros(es.STATUS_WORDS, np.int64) if instance is None else instance
    boots = generator if isinstance(generator, list) else [generator]
    return take_reading({"source": [source]}, boots, fabric, {}, NODES)


IDLE = reading(page({}), {})


def test_what_ends_in_the_generator_is_known_by_hop_and_cause() -> None:
    after = reading(
        page(
            {
                ("source", "down"): {at.IMPAIRED: 1, at.IMPAIRED + 1: 2, at.IMPAIRED + 2: 500, at.REFUSED: 3},
                ("source", "up"): {at.METER: 4, at.METER + 1: 5, at.DUPLICATED: 6, at.FAILED + 1: 7},
                ("destination", "down"): {at.IMPAIRED: 10},
                ("loadgen", "up"): {at.IMPAIRED: 20},
                ("loadgen", "down"): {at.DUPLICATED: 30, at.KERNEL_DROPPED: 9},
            }
        ),
        {},
    )
    hops = hop_counters(IDLE, after, NOTHING, NOTHING)
    assert hops.counted[TO_INTERIOR] == WireCounters(impairment_packets=31, queue_packets=3)
    assert hops.counted[TO_EXTERIOR] == WireCounters(impairment_packets=2)
    assert hops.counted[TO_LOADGEN] == WireCounters(duplicated_packets=36, meter_packets=4)
    assert hops.counted[TO_ECHOSERVER] == WireCounters(meter_packets=5, queue_packets=7)
    assert hops.duplicates_by_design
    assert [(bound.cause, bound.packets) for bound in hops.bounds] == [("queue", 9)]
    assert refused_frames(IDLE, after)["source", "up"] == 9
    assert not hop_counters(IDLE, IDLE, NOTHING, NOTHING).duplicates_by_design


def test_every_frame_is_paired_on_both_sides_of_the_generator() -> None:
    counters = {
        ("source", "down"): {at.RECEIVED: 5, at.RECEIVED + 2: 2, at.OVERSIZED: 1, at.KERNEL_DROPPED: 3, at.SENT: 4},
        ("source", "up"): {at.RECEIVED + 1: 8, at.SENT + 1: 6, at.METER + 1: 2},
    }
    links = {("source", "up0"): (11, 6), ("source", "inner0p"): (8, 4)}
    exact = counter_pairs(IDLE, reading(page(counters), links), NOTHING, NOTHING)
    assert counters_exact(exact).verdict == "holds", counters_exact(exact).detail
    for key, counted in ((("source", "up0"), (12, 6)), (("source", "inner0p"), (8, 5))):
        off = counter_pairs(IDLE, reading(page(counters), {**links, key: counted}), NOTHING, NOTHING)
        found = counters_exact(off)
        assert found.verdict == "broken"
        assert f"latency generator at source/{key[1]}" in found.detail


def test_a_node_behind_the_generator_is_paired_with_its_inner_link() -> None:
    after = reading(page({}), {("loadgen", "inner0"): (0, 7)})
    pairs = {pair.name: pair for pair in counter_pairs(IDLE, after, {**NOTHING, "sent_packets": 7}, NOTHING)}
    assert (pairs["loadgen sent"].interface_packets, pairs["loadgen sent"].application_packets) == (7, 7)


def test_of_a_generator_that_was_killed_the_pairs_are_left_out_and_the_losses_bounded() -> None:
    counters = {("source", "down"): {at.RECEIVED: 10, at.SENT: 7}}
    after = reading(page(counters), {("source", "up0"): (15, 0), ("source", "inner0p"): (0, 7)})
    assert not [pair for pair in counter_pairs(IDLE, after, NOTHING, NOTHING, ["latency"]) if "generator" in pair.name]
    hops = hop_counters(IDLE, after, NOTHING, NOTHING, ["latency"])
    (bound,) = hops.bounds
    assert bound.cause == "instance_down"
    assert bound.packets >= 5 + 3


def test_what_an_ended_instance_left_is_asked_of_the_generator() -> None:
    instance = np.zeros(es.STATUS_WORDS, np.int64)
    instance[es.PORTS_AT + es.RX_IPV4] = 90
    instance[es.PORTS_AT + es.TX_FRAMES], instance[es.PORTS_AT + es.TX_OTHER] = 61, 1
    counters = {("source", "down"): {at.SENT: 100, at.SENT + 2: 1000}, ("source", "up"): {at.RECEIVED: 64}}
    hops = hop_counters(IDLE, reading(page(counters), {}, instance), NOTHING, NOTHING, ["source"])
    assert (hops.source.unread_packets, hops.source.unrecorded_packets) == (10, 4)


def test_counters_of_generators_one_after_the_other_are_summed() -> None:
    boots = [page({("loadgen", "up"): {at.RECEIVED: 3, at.RX_BYTES: 40}}) for _ in range(2)]
    found = read_generator(boots, NODES)["loadgen", "up"]
    assert found["received"] == (6, 0, 0)
    assert found["rx_bytes"] == 80
