"""Single rules of the gateway; frames are built and dissected with scapy."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import ARP, Ether

from harness.dataplane.table_check import dump
from harness.errors import UsageError
from tests.vnf_images.pg.tagged_traffic import (
    ECHO_MAC,
    EXTERIOR_MAC,
    HOSTS,
    INTERIOR_MAC,
    LOADGEN_MAC,
    SERVERS,
    arp,
    inbound,
    outbound,
    tag,
)
from vnf_images.pg import program

HOST, OTHER = HOSTS[0], HOSTS[1]


def ready(gateway: Any) -> Any:
    """The gateway with every neighbour known."""
    for host in HOSTS:
        assert gateway.receive(bytes(arp(0, 1, host, LOADGEN_MAC)), 0, 0).port == 0
    for server in SERVERS:
        assert gateway.receive(bytes(arp(1, 2, server, ECHO_MAC)), 1, 0).refusal == "arp_consumed"
    gateway.statelets.clear()
    return gateway


@pytest.fixture
def gateway(make_gateway: Callable[..., Any]) -> Any:
    return ready(make_gateway({}))


def send(gateway: Any, cell: int, announce: bool = False, host: str = HOST, sport: int = 5000) -> Any:
    """Send from inside; the frame that came out, or the refusal."""
    outcome = gateway.receive(bytes(outbound(host, sport, tag(cell, int(announce)) + b"data")), 0, 0)
    return outcome.refusal or Ether(outcome.frame)


def answer(
    gateway: Any, host: str = HOST, dport: int = 5000, payload: bytes = tag(7, 1, 9) + b"data", **udp: Any
) -> Any:
    outcome = gateway.receive(bytes(inbound(host, dport, payload, **udp)), 1, 0)
    return outcome.refusal or Ether(outcome.frame)


def cell_of(frame: Any) -> int:
    payload = bytes(frame[UDP].payload)
    assert payload[2:4] == b"\0\0"
    return int.from_bytes(payload[:2], "big")


def subscriber(gateway: Any, index: int = 0) -> tuple[int, ...]:
    return tuple(dump(gateway.tables)["subscriber"][index])


def test_answers_are_tagged_with_the_cell_announced_last(gateway: Any) -> None:
    """Paper, section VI-C."""
    send(gateway, 3, announce=True)
    assert cell_of(answer(gateway)) == 3
    send(gateway, 5)
    assert cell_of(answer(gateway)) == 3
    send(gateway, 5, announce=True)
    assert cell_of(answer(gateway)) == 5


def test_subscribers_are_told_apart_by_address_and_port(gateway: Any) -> None:
    for cell, (host, sport) in enumerate([(HOST, 5000), (HOST, 5001), (OTHER, 5000)]):
        send(gateway, cell, True, host, sport)
    assert [cell_of(answer(gateway, *key)) for key in ((HOST, 5000), (HOST, 5001), (OTHER, 5000))] == [0, 1, 2]


def test_only_a_change_of_state_makes_a_statelet(gateway: Any) -> None:
    """Table of the paper: 50 bytes for a handover, nothing for a packet."""
    send(gateway, 3, announce=True)
    for _ in range(3):
        send(gateway, 3)
        send(gateway, 3, announce=True)
        answer(gateway)
    send(gateway, 4, announce=True)
    send(gateway, 4, announce=True)
    send(gateway, 2)
    assert [int.from_bytes(statelet[:2], "big") for statelet in gateway.statelets] == [0x10, 0x11]
    assert [len(statelet) - 4 for statelet in gateway.statelets] == [50, 50]


def test_a_statelet_says_who_moved_where_from_where_and_how_often(gateway: Any) -> None:
    for cell in (3, 6, 2):
        send(gateway, cell, announce=True)
    fields = [statelet[4:18] for statelet in gateway.statelets]
    identity = bytes([10, 1, 1, 1]) + (5000).to_bytes(2, "big")
    places = [(3, 0xFFFF, 0), (6, 3, 1), (2, 6, 2)]
    assert fields == [
        identity + cell.to_bytes(2, "big") + previous.to_bytes(2, "big") + handovers.to_bytes(4, "big")
        for cell, previous, handovers in places
    ]
    assert subscriber(gateway)[:3] == (int.from_bytes(identity, "big"), 6 << 16 | 2, 2)


def test_the_bearer_context_is_kept_as_it_was_announced(gateway: Any) -> None:
    send(gateway, 3, announce=True)
    send(gateway, 4, announce=True)
    kept = b"".join(word.to_bytes(8, "big") for word in subscriber(gateway)[3:])
    assert kept == gateway.statelets[-1][18:] + bytes(4)


def test_the_bearer_context_depends_on_subscriber_cell_count_and_what_it_was_before(
    make_gateway: Callable[..., Any],
) -> None:
    """So that a damaged one differs for good, and every piece of it counts."""
    contexts = {}
    for host, cells in [(HOST, (1, 2, 1)), (HOST, (1, 3, 1)), (OTHER, (1, 2, 1)), (HOST, (2, 1))]:
        gateway = ready(make_gateway({}))
        for cell in cells:
            send(gateway, cell, True, host)
        contexts[host, cells] = gateway.statelets[-1][18:]
    assert len(set(contexts.values())) == len(contexts)
    damaged = ready(make_gateway({}))
    send(damaged, 1, announce=True)
    attached = bytearray(damaged.statelets[-1])
    attached[-1] ^= 1
    damaged = ready(make_gateway({}))
    assert damaged.install(bytes(attached)) == 0
    for cell in (2, 1):
        send(damaged, cell, announce=True)
    assert damaged.statelets[-1][4:18] == bytes([10, 1, 1, 1, 0x13, 0x88, 0, 1, 0, 2, 0, 0, 0, 2])
    assert damaged.statelets[-1][18:] != contexts[HOST, (1, 2, 1)]


@pytest.mark.parametrize(("bearer_bytes", "value_words"), [(0, 2), (4, 3), (8, 3), (112, 16)])
def test_the_length_of_the_bearer_context_is_a_parameter(
    make_gateway: Callable[..., Any], bearer_bytes: int, value_words: int
) -> None:
    gateway = ready(make_gateway({"bearer_bytes": bearer_bytes}))
    send(gateway, 3, announce=True)
    send(gateway, 4, announce=True)
    assert [len(statelet) for statelet in gateway.statelets] == [18 + bearer_bytes] * 2
    assert len(subscriber(gateway)) == 1 + value_words
    assert cell_of(answer(gateway)) == 4


def test_what_goes_out_is_unchanged_but_for_addresses_of_the_link_ttl_and_checksum(gateway: Any) -> None:
    sent = outbound(HOST, 5000, tag(3, 1) + b"payload", ttl=64)
    outcome = gateway.receive(bytes(sent), 0, 0)
    received = Ether(outcome.frame)
    assert (outcome.port, received.src, received.dst, received[IP].ttl) == (1, EXTERIOR_MAC, ECHO_MAC, 63)
    expected = sent.copy()
    expected.src, expected.dst, expected[IP].ttl = EXTERIOR_MAC, ECHO_MAC, 63
    del expected[IP].chksum
    assert bytes(received) == bytes(expected)


def test_what_comes_in_goes_to_the_subscribers_own_address(gateway: Any) -> None:
    send(gateway, 3, announce=True)
    received = answer(gateway)
    assert (received.src, received.dst, received[IP].dst, received[UDP].dport, received[IP].ttl) == (
        INTERIOR_MAC,
        LOADGEN_MAC,
        HOST,
        5000,
        63,
    )
    assert bytes(received[UDP].payload)[4:] == b"data"


@pytest.mark.parametrize("payload", [tag(7) + b"data", tag(0xFFFF, 0xFF, 0xFF), tag(3), tag(0, 1) + b"x" * 471])
def test_udp_checksum_is_right_after_tagging_and_none_stays_none(gateway: Any, payload: bytes) -> None:
    send(gateway, 3, announce=True)
    received = answer(gateway, payload=payload)
    expected = received.copy()
    del expected[UDP].chksum
    assert Ether(bytes(expected))[UDP].chksum == received[UDP].chksum != 0
    assert answer(gateway, payload=payload, chksum=0)[UDP].chksum == 0


def test_udp_checksum_that_comes_out_as_zero_is_sent_as_ffff(gateway: Any) -> None:
    """RFC 768."""
    send(gateway, 3, announce=True)
    tagged = Ether() / IP(src=SERVERS[0], dst=HOST) / UDP(sport=7, dport=5000) / (tag(3) + b"\0\0")
    checksum = Ether(bytes(tagged))[UDP].chksum  # as the payload, it makes the sum come out as zero
    received = answer(gateway, payload=tag(6, 1) + checksum.to_bytes(2, "big"))
    assert received[UDP].chksum == 0xFFFF


def test_a_wrong_udp_checksum_stays_exactly_as_wrong(gateway: Any) -> None:
    send(gateway, 3, announce=True)
    good = bytes(inbound(HOST, 5000, tag(7, 1) + b"data"))
    bad = bytes([*good[:-1], good[-1] ^ 0x5A])
    outcomes = [gateway.receive(content, 1, 0).frame for content in (good, bad)]
    assert [i for i in range(len(good)) if outcomes[0][i] != outcomes[1][i]] == [len(good) - 1]


def test_an_unknown_subscriber_is_refused_until_it_announces(gateway: Any) -> None:
    assert send(gateway, 3) == "unknown_subscriber"
    assert answer(gateway) == "unknown_subscriber"
    send(gateway, 3, announce=True)
    assert send(gateway, 3)[IP].src == HOST
    assert answer(gateway, dport=5001) == "unknown_subscriber"


def test_a_full_table_refuses_the_newcomer_and_serves_the_others(make_gateway: Callable[..., Any]) -> None:
    gateway = ready(make_gateway({"max_subscribers": 2}))
    for sport in (5000, 5001):
        send(gateway, 1, True, sport=sport)
    assert send(gateway, 1, True, sport=5002) == "subscriber_table_full"
    send(gateway, 4, True, sport=5001)
    assert cell_of(answer(gateway, dport=5001)) == 4


def test_an_announcement_counts_even_if_its_packet_must_wait_for_arp(make_gateway: Callable[..., Any]) -> None:
    gateway = make_gateway({})
    outcome = gateway.receive(bytes(outbound(HOST, 5000, tag(3, 1))), 0, 0)
    request = Ether(outcome.frame)
    assert (outcome.refusal, outcome.port, request[ARP].op) == ("arp_unresolved", 1, 1)
    assert (request[ARP].psrc, request[ARP].pdst) == ("198.18.0.1", SERVERS[0])
    outcome = gateway.receive(bytes(inbound(HOST, 5000, tag(0))), 1, 0)
    assert (outcome.refusal, outcome.port, Ether(outcome.frame)[ARP].pdst) == ("arp_unresolved", 0, HOST)
    ready(gateway)
    assert cell_of(answer(gateway)) == 3


def test_arp_request_is_answered_and_a_changed_neighbour_announced_once(make_gateway: Callable[..., Any]) -> None:
    gateway = make_gateway({})
    for mac, statelets in ((LOADGEN_MAC, 1), (LOADGEN_MAC, 1), ("02:00:00:00:09:09", 2)):
        reply = Ether(gateway.receive(bytes(arp(0, 1, HOST, mac)), 0, 0).frame)
        assert (reply.dst, reply[ARP].op, reply[ARP].hwsrc, reply[ARP].psrc) == (mac, 2, INTERIOR_MAC, "10.1.0.1")
        assert len(gateway.statelets) == statelets
    reply = Ether(gateway.receive(bytes(arp(1, 1, SERVERS[0], ECHO_MAC)), 1, 0).frame)
    assert (reply[ARP].hwsrc, reply[ARP].psrc) == (EXTERIOR_MAC, "198.18.0.1")


def test_handovers_are_counted_around_2_to_the_32(make_gateway: Callable[..., Any]) -> None:
    gateway = ready(make_gateway({}))
    send(gateway, 3, announce=True)
    words = gateway.tables
    at = next(i for i in range(words.size) if words[i] == 0xFFFF << 16 | 3)
    words[at + 1] = 2**32 - 1
    send(gateway, 4, announce=True)
    assert subscriber(gateway)[2] == 0
    send(gateway, 5, announce=True)
    assert subscriber(gateway)[1:3] == (4 << 16 | 5, 1)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"cell": 3}, "'cell'; known are"),
        ({"cells": 65536}, "cells"),
        ({"cells": True}, "cells"),
        ({"max_subscribers": 0}, "max_subscribers"),
        ({"bearer_bytes": 35}, "bearer_bytes"),
        ({"bearer_bytes": 116}, "bearer_bytes"),
        ({"exterior_address": "10.1.2.1/24"}, "overlap"),
        ({"exterior_gateway": "192.0.2.1"}, "exterior_gateway"),
        ({"interior_mac": "03:00:00:00:00:01"}, "interior_mac"),
    ],
)
def test_bad_parameter_is_named_in_one_line(
    make_gateway: Callable[..., Any], parameters: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message) as error:
        make_gateway(parameters)
    assert "\n" not in str(error.value)


def test_reasons_fit_the_engine() -> None:
    assert all(1 <= number <= 62 for number in program.REASONS)
    assert len(set(program.REASONS.values())) == len(program.REASONS)


def test_ticks_change_nothing(gateway: Any) -> None:
    send(gateway, 3, announce=True)
    assert gateway.tick(random.Random(1).randrange(2**32), 10**9) == 0
