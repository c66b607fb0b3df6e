"""Single rules of the NAT, each against the RFC that asks for it; frames are built and dissected with scapy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.l2 import ARP, Ether
from traffic import (
    ECHO_MAC,
    EXTERIOR_MAC,
    HOSTS,
    INTERIOR_MAC,
    LOADGEN_MAC,
    SERVERS,
    arp_reply,
    arp_request,
    inbound,
    outbound,
)

from harness.dataplane.table_check import dump
from harness.errors import UsageError
from vnf_images.nat import program

HOST, SERVER, OTHER = HOSTS[0], SERVERS[0], SERVERS[1]


@pytest.fixture
def nat(make_nat_instance: Callable[..., Any]) -> Any:
    return ready(make_nat_instance({}))


def ready(nat: Any) -> Any:
    """The NAT with every neighbour known."""
    for host in HOSTS:
        assert nat.receive(bytes(arp_request(0, host, LOADGEN_MAC)), 0, 0).port == 0
    for server in SERVERS:
        assert nat.receive(bytes(arp_reply(1, server, ECHO_MAC)), 1, 0).refusal == "arp_consumed"
    nat.statelets.clear()
    return nat


def send(nat: Any, transport: Any, now: int = 0, host: str = HOST, server: str = SERVER) -> Any:
    """Send from inside; the frame that came out, or the refusal."""
    outcome = nat.receive(bytes(outbound(host, server, transport)), 0, now)
    return outcome.refusal or Ether(outcome.frame)


def answer(nat: Any, transport: Any, now: int = 0, server: str = SERVER) -> Any:
    outcome = nat.receive(bytes(inbound(server, transport)), 1, now)
    return outcome.refusal or Ether(outcome.frame)


def udp_port(nat: Any, now: int = 0, sport: int = 5000, server: str = SERVER) -> int:
    return int(send(nat, UDP(sport=sport, dport=7), now, server=server)[UDP].sport)


def tcp(nat: Any, flags: str, now: int = 0, sport: int = 5000, server: str = SERVER, data: bytes = b"") -> Any:
    segment = TCP(sport=sport, dport=80, flags=flags)
    return send(nat, segment / data if data else segment, now, server=server)


def test_one_external_port_for_every_remote_endpoint(nat: Any) -> None:
    """RFC 4787 REQ-1."""
    assert udp_port(nat, server=SERVER) == udp_port(nat, server=OTHER)
    assert udp_port(nat, sport=5001) != udp_port(nat, sport=5000)


def test_any_remote_endpoint_may_send_to_an_open_udp_port(nat: Any) -> None:
    """RFC 4787 REQ-8, endpoint-independent filtering."""
    port = udp_port(nat)
    received = answer(nat, UDP(sport=9, dport=port), server=OTHER)
    assert (received[IP].dst, received[UDP].dport) == (HOST, 5000)


def test_tcp_answers_only_within_a_session_opened_from_inside(nat: Any) -> None:
    port = tcp(nat, "S")[TCP].sport
    assert answer(nat, TCP(sport=80, dport=port, flags="SA"))[IP].dst == HOST
    assert answer(nat, TCP(sport=81, dport=port, flags="SA")) == "tcp_no_session"
    assert answer(nat, TCP(sport=80, dport=port, flags="S"), server=OTHER) == "tcp_no_session"
    assert tcp(nat, "S", server=OTHER)[TCP].sport == port


def test_udp_mapping_lives_for_its_timeout_after_the_last_outbound_packet(nat: Any) -> None:
    port = udp_port(nat, now=0)
    assert udp_port(nat, now=2000) == port
    assert answer(nat, UDP(dport=port), now=4999)[IP].dst == HOST
    assert answer(nat, UDP(dport=port), now=5000) == "mapping_expired"
    assert udp_port(nat, now=5001) == port
    assert answer(nat, UDP(dport=port), now=5002)[IP].dst == HOST
    assert nat.tick_all(8000) == 0
    assert nat.tick_all(8001) == 1
    assert answer(nat, UDP(dport=port), now=8001) == "unsolicited"
    assert dump(nat.tables)["pool"] == [(17, port + 1, 0)]


@pytest.mark.parametrize(("refresh", "outcome"), [(True, None), (False, "mapping_expired")])
def test_inbound_packets_refresh_when_configured(
    make_nat_instance: Callable[..., Any], refresh: bool, outcome: str | None
) -> None:
    nat = ready(make_nat_instance({"inbound_refresh": refresh}))
    port = udp_port(nat)
    assert answer(nat, UDP(dport=port), now=2999)[IP].dst == HOST
    result = answer(nat, UDP(dport=port), now=3000)
    assert result == outcome if outcome else result[IP].dst == HOST


@pytest.mark.parametrize(
    ("segments", "timeout"),
    [
        ([("out", "S")], 2400),
        ([("out", "S"), ("in", "SA")], 74400),
        ([("out", "S"), ("in", "SA"), ("out", "FA")], 74400),
        ([("out", "S"), ("in", "SA"), ("out", "FA"), ("in", "FA")], 2400),
        ([("out", "S"), ("in", "SA"), ("out", "FA"), ("in", "FA"), ("out", "A")], 2400),
        ([("out", "S"), ("in", "RA")], 2400),
        ([("out", "S"), ("in", "SA"), ("in", "R")], 2400),
        ([("out", "S"), ("in", "SA"), ("in", "R"), ("out", "A")], 2400),
        ([("out", "S"), ("in", "SA"), ("in", "R"), ("out", "data")], 74400),
        ([("out", "S"), ("in", "SA"), ("out", "FA"), ("in", "FA"), ("out", "S")], 2400),
        ([("out", "S"), ("in", "SA"), ("out", "FA"), ("in", "FA"), ("out", "S"), ("in", "SA")], 74400),
    ],
)
def test_tcp_session_times_out_by_its_state(nat: Any, segments: list[tuple[str, str]], timeout: int) -> None:
    """RFC 5382 REQ-5, RFC 7857 section 2; the mapping goes with its last session."""
    port = 0
    for direction, flags in segments:
        segment_flags, data = ("PA", b"data") if flags == "data" else (flags, b"")
        if direction == "out":
            port = tcp(nat, segment_flags, data=data)[TCP].sport
        else:
            assert answer(nat, TCP(sport=80, dport=port, flags=segment_flags))[IP].dst == HOST
    assert nat.tick_all(timeout - 1) == 0
    assert answer(nat, TCP(sport=80, dport=port, flags="A"), now=timeout) == "session_expired"
    assert nat.tick_all(timeout) == 1
    assert dump(nat.tables)["mapping"] == dump(nat.tables)["external"] == dump(nat.tables)["session"] == []


def test_segments_after_the_close_do_not_keep_a_session_alive(nat: Any) -> None:
    port = tcp(nat, "S")[TCP].sport
    for flags in ("SA", "FA"):
        answer(nat, TCP(sport=80, dport=port, flags=flags))
    tcp(nat, "FA")
    assert answer(nat, TCP(sport=80, dport=port, flags="A"), now=2000)[IP].dst == HOST
    assert answer(nat, TCP(sport=80, dport=port, flags="A"), now=2400) == "session_expired"
    assert tcp(nat, "A", now=2400) == "session_expired"
    assert tcp(nat, "S", now=2400)[TCP].sport == port


def test_tcp_mapping_outlives_one_of_its_two_sessions(nat: Any) -> None:
    tcp(nat, "S", now=0)
    port = tcp(nat, "S", now=1000, server=OTHER)[TCP].sport
    assert nat.tick_all(2400) == 1
    assert answer(nat, TCP(sport=80, dport=port, flags="SA"), now=2401, server=OTHER)[IP].dst == HOST
    assert nat.tick_all(2401 + 74400) == 1
    assert dump(nat.tables)["mapping"] == []


def test_next_port_goes_round_and_skips_ports_in_use(make_nat_instance: Callable[..., Any]) -> None:
    nat = ready(make_nat_instance({"port_first": 2000, "port_last": 2003}))
    assert [udp_port(nat, sport=sport) for sport in range(3)] == [2000, 2001, 2002]
    udp_port(nat, sport=1, now=2000)
    assert nat.tick_all(3000) == 2
    assert [udp_port(nat, sport=sport, now=3000) for sport in (10, 11, 12)] == [2003, 2000, 2002]
    assert send(nat, UDP(sport=13), now=3000) == "pool_exhausted"
    assert isinstance(send(nat, ICMP(id=13), now=3000), Ether)


def test_udp_checksum_is_right_afterwards_and_none_stays_none(nat: Any) -> None:
    sent = send(nat, UDP(sport=5000, dport=7) / b"payload")
    expected = sent.copy()
    del expected[UDP].chksum
    assert Ether(bytes(expected))[UDP].chksum == sent[UDP].chksum != 0
    assert send(nat, UDP(sport=5000, dport=7, chksum=0) / b"payload")[UDP].chksum == 0


def test_udp_checksum_that_comes_out_as_zero_is_sent_as_ffff(nat: Any) -> None:
    """RFC 768."""
    port = udp_port(nat)
    translated = Ether() / IP(src="198.18.0.1", dst=SERVER) / UDP(sport=port, dport=7) / b"\0\0"
    checksum = Ether(bytes(translated))[UDP].chksum  # as the payload, it makes the sum come out as zero
    frame = send(nat, UDP(sport=5000, dport=7) / checksum.to_bytes(2, "big"))
    assert frame[UDP].chksum == 0xFFFF


def test_ttl_is_decremented_and_a_packet_at_its_end_is_refused(nat: Any) -> None:
    assert send(nat, UDP(sport=5000))[IP].ttl == 63
    assert nat.receive(bytes(outbound(HOST, SERVER, UDP(sport=5000), ttl=1)), 0, 0).refusal == "ttl_expired"
    assert dump(nat.tables)["host"][0][1] == 1


def test_counters_count_forwarded_packets_and_ip_bytes_in_both_directions(nat: Any) -> None:
    port = udp_port(nat)
    send(nat, UDP(sport=5000) / (b"x" * 100))
    answer(nat, UDP(dport=port) / b"yyy")
    answer(nat, UDP(dport=port + 1) / b"refused")
    key = int.from_bytes(bytes([10, 1, 1, 1]), "big")
    assert dump(nat.tables)["host"] == [(key, 2, 28 + 128, 1, 31)]


def test_unknown_neighbour_is_asked_for_and_the_packet_changes_no_state(make_nat_instance: Callable[..., Any]) -> None:
    nat = make_nat_instance({})
    outcome = nat.receive(bytes(outbound(HOST, SERVER, UDP(sport=5000))), 0, 0)
    request = Ether(outcome.frame)
    assert (outcome.refusal, outcome.port) == ("arp_unresolved", 1)
    assert (request.src, request.dst, request[ARP].op) == (EXTERIOR_MAC, "ff:ff:ff:ff:ff:ff", 1)
    assert (request[ARP].psrc, request[ARP].pdst) == ("198.18.0.1", SERVER)
    assert not any(dump(nat.tables).values())


def test_arp_request_is_answered_and_a_changed_neighbour_announced_once(make_nat_instance: Callable[..., Any]) -> None:
    nat = make_nat_instance({})
    for mac, statelets in ((LOADGEN_MAC, 1), (LOADGEN_MAC, 1), ("02:00:00:00:09:09", 2)):
        reply = Ether(nat.receive(bytes(arp_request(0, HOST, mac)), 0, 0).frame)
        assert (reply.dst, reply[ARP].op, reply[ARP].hwsrc, reply[ARP].psrc) == (mac, 2, INTERIOR_MAC, "10.1.0.1")
        assert len(nat.statelets) == statelets
    probe = nat.receive(bytes(arp_request(1, "0.0.0.0", ECHO_MAC)), 1, 0)
    assert Ether(probe.frame)[ARP].op == 2
    assert len(nat.statelets) == 2


def test_gateway_carries_what_lies_beyond_the_exterior_prefix(make_nat_instance: Callable[..., Any]) -> None:
    nat = ready(make_nat_instance({"exterior_gateway": SERVERS[2]}))
    sent = send(nat, UDP(sport=5000), server="8.8.8.8")
    assert (sent[Ether].dst, sent[IP].dst) == (ECHO_MAC, "8.8.8.8")
    assert send(nat, UDP(sport=5000), server="224.0.0.9") == "no_route"
    assert send(nat, UDP(sport=5000), server="10.1.1.2") == "no_route"


def test_statelet_sizes_are_those_of_the_description(nat: Any) -> None:
    """Paper, table of the NAT's statelets: ARP entry 10 bytes, counters 12 bytes."""
    port = udp_port(nat)
    udp_port(nat)
    answer(nat, UDP(dport=port))
    assert [len(statelet) - 4 for statelet in nat.statelets] == [16, 12, 12]


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"interior_adress": "10.1.0.1/16"}, "interior_adress"),
        ({"interior_address": "10.1.0.0/16"}, "interior_address"),
        ({"interior_address": "10.1.0.300/16"}, "interior_address"),
        ({"exterior_address": "10.1.2.1/24"}, "overlap"),
        ({"exterior_mac": "03:00:00:00:00:01"}, "exterior_mac"),
        ({"exterior_mac": "2:0:0:0:0:1"}, "exterior_mac"),
        ({"port_first": 2000, "port_last": 1000}, "port_first"),
        ({"udp_timeout_s": 0}, "udp_timeout_s"),
        ({"udp_timeout_s": "300"}, "udp_timeout_s"),
        ({"exterior_gateway": "192.0.2.1"}, "exterior_gateway"),
    ],
)
def test_bad_parameter_is_named_in_one_line(
    make_nat_instance: Callable[..., Any], parameters: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message) as error:
        make_nat_instance(parameters)
    assert "\n" not in str(error.value)


def test_reasons_fit_the_engine() -> None:
    assert all(1 <= number <= 63 for number in program.REASONS)
    assert len(set(program.REASONS.values())) == len(program.REASONS)
