from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP, TCP, UDP, IPOption_Router_Alert
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import ARP, CookedLinux, CookedLinuxV2, Dot1Q
from scapy.packet import Packet as Scapy
from scapy.packet import Raw

from harness.errors import UsageError
from loadgen.capture_file import CapturedFrame
from loadgen.capture_flows import CapturedLoad, choose_packets
from loadgen.capture_packets import Packet, decode
from loadgen.capture_schedule import CaptureConfiguration, build_capture_schedule, figures
from tests.loadgen.frames import ether

PATH = Path("x.pcap")
CLIENT, SERVER = "192.0.2.7", "203.0.113.9"
Frame = tuple[float, Scapy]


def captured(packet: Scapy, time_s: float = 0, link_type: int = 1, stored: int | None = None) -> CapturedFrame:
    data = bytes(packet)
    return CapturedFrame(round(time_s * 1e9), link_type, len(data), data[:stored])


def outbound(layer: Scapy, size: int = 0) -> Scapy:
    return ether() / IP(src=CLIENT, dst=SERVER) / layer / Raw((bytes(range(256)) * 6)[:size])


def inbound(layer: Scapy, size: int = 0) -> Scapy:
    return ether() / IP(src=SERVER, dst=CLIENT) / layer / Raw(bytes(size))


def tcp(flags: str, port: int = 4000, **fields: Any) -> TCP:
    return TCP(sport=port, dport=443, flags=flags, **fields)


def chosen(*frames: Frame) -> CapturedLoad:
    return choose_packets([captured(packet, at) for at, packet in frames], PATH)


LINKS = {
    "Ethernet": (1, ether()),
    "VLAN": (1, ether() / Dot1Q(vlan=7)),
    "QinQ": (1, ether(type=0x88A8) / Dot1Q(vlan=7) / Dot1Q(vlan=8)),
    "SLL": (113, CookedLinux(proto=0x0800)),
    "SLL2": (276, CookedLinuxV2(proto=0x0800)),
    "raw": (101, None),
}


@pytest.mark.parametrize("link", LINKS)
@pytest.mark.parametrize("size", [0, 5, 31, 32, 700])
def test_a_packet_is_the_same_behind_every_link_header_and_option(link: str, size: int) -> None:
    link_type, header = LINKS[link]
    options = [] if size % 2 else [IPOption_Router_Alert()]
    content = bytes(range(200)) * 4
    ip = IP(src=CLIENT, dst=SERVER, tos=0x28, options=options) / UDP(sport=5000, dport=53) / Raw(content[:size])
    packet = decode(captured(ip if header is None else header / ip, 3, link_type), PATH)
    assert isinstance(packet, Packet)
    assert (packet.time_ns, packet.protocol, packet.service, packet.frame_bytes) == (3 * 10**9, 17, 0x28, 42 + size)
    assert (packet.source, packet.destination) == ((0xC0000207, 5000), (0xCB007109, 53))
    assert packet.has_number == (size >= 32)
    assert packet.payload == (content[:size] if size < 32 else b"")


def test_tcp_keeps_its_options_and_is_cut_at_the_longest_frame() -> None:
    layer = tcp("PA", seq=7, options=[("MSS", 1400), ("WScale", 5)])
    packet = decode(captured(ether() / IP(src=CLIENT, dst=SERVER) / layer / Raw(bytes(9000))), PATH)
    assert isinstance(packet, Packet)
    assert TCP(packet.header).options[:2] == [("MSS", 1400), ("WScale", 5)]
    assert packet.frame_bytes == 1514
    assert packet.is_cut


def test_a_superframe_without_a_length_has_that_of_the_capture() -> None:
    packet = decode(captured(ether() / IP(src=CLIENT, dst=SERVER, len=0) / tcp("A") / Raw(bytes(3000))), PATH)
    assert isinstance(packet, Packet)
    assert packet.frame_bytes == 1514


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (captured(ether() / ARP()), "other_protocol"),
        (captured(ether() / IPv6() / UDP()), "other_protocol"),
        (captured(ether() / IP() / ICMP()), "other_protocol"),
        (captured(outbound(UDP(), 100), stored=10), "other_protocol"),
        (captured(outbound(UDP(), 100), stored=30), "headers_not_captured"),
        (captured(outbound(UDP(), 100), stored=40), "headers_not_captured"),
        (captured(outbound(tcp("S", options=[("MSS", 1400)])), stored=54), "headers_not_captured"),
        (captured(ether() / IP(flags="MF") / UDP()), "fragment"),
        (captured(ether() / IP(frag=3) / UDP()), "fragment"),
        (captured(ether() / IP(len=2000) / UDP()), "damaged"),
        (captured(ether() / IP(ihl=4) / UDP()), "damaged"),
        (captured(ether() / IP(len=24) / UDP() / Raw(bytes(10))), "damaged"),
        (captured(outbound(tcp("S", dataofs=4))), "damaged"),
        (captured(outbound(tcp("S", dataofs=15), 20)), "damaged"),
        (captured(outbound(UDP(sport=0))), "damaged"),
    ],
)
def test_what_cannot_be_sent_is_counted_by_its_reason(frame: CapturedFrame, reason: str) -> None:
    assert decode(frame, PATH) == reason
    assert choose_packets([frame], PATH).skipped == {reason: 1}


def test_a_foreign_link_type_is_refused() -> None:
    with pytest.raises(UsageError, match=r"x\.pcap: frames of link type 105 are not understood; Ethernet, "):
        choose_packets([captured(ether(), link_type=105)], PATH)


@settings(max_examples=200)
@given(st.binary(max_size=120), st.sampled_from([1, 101, 113, 276]), st.integers(0, 3000))
def test_any_bytes_decode_to_a_packet_that_fits_or_a_reason(data: bytes, link_type: int, more: int) -> None:
    packet = decode(CapturedFrame(0, link_type, len(data) + more, data), PATH)
    assert isinstance(packet, str) or 42 <= packet.frame_bytes <= 1514


def test_the_initiator_is_sent_and_the_responder_counted() -> None:
    load = chosen(
        (0.0, outbound(tcp("S"))),
        (0.1, inbound(TCP(sport=443, dport=4000, flags="SA"))),
        (0.2, outbound(tcp("A"))),
        (0.3, outbound(tcp("PA"), 100)),
        (0.4, inbound(TCP(sport=443, dport=4000, flags="PA"), 900)),
        (0.5, outbound(UDP(sport=4000, dport=443), 40)),
    )
    assert [packet.protocol for packet in load.packets] == [6, 6, 6, 17]
    assert load.flow == [0, 0, 0, 1]
    assert (load.read, load.responses, load.opened, load.cut) == (6, 2, 0, 0)
    assert [(flow.protocol, flow.server_port) for flow in load.flows] == [(6, 443), (17, 443)]


@pytest.mark.parametrize(
    "frames",
    [
        [(0.0, inbound(TCP(sport=443, dport=4000, flags="A"), 9)), (0.1, outbound(tcp("S", seq=8)))],
        [(0.0, inbound(TCP(sport=443, dport=4000, flags="SA"))), (0.1, outbound(tcp("A", seq=9)))],
        [(0.0, outbound(tcp("A", seq=9))), (0.1, inbound(TCP(sport=443, dport=4000, flags="A")))],
        [(0.1, inbound(TCP(sport=443, dport=4000, flags="FA"))), (0.0, outbound(tcp("S", seq=8)))],
    ],
)
def test_the_side_of_the_syn_initiates_whoever_was_captured_first(frames: list[Frame]) -> None:
    load = chosen(*frames)
    assert {packet.source[1] for packet in load.packets} == {4000}
    assert load.responses == 1
    assert load.packets[0].opens
    assert TCP(load.packets[0].header).seq == 8


def test_a_connection_captured_from_its_middle_is_opened_by_a_syn_of_ours() -> None:
    load = chosen((1.0, outbound(tcp("PA", seq=0), 50)), (2.0, outbound(tcp("FA", seq=50))))
    assert [TCP(packet.header).flags for packet in load.packets] == ["S", "PA", "FA"]
    assert TCP(load.packets[0].header).seq == 2**32 - 1
    assert load.packets[0].time_ns == load.packets[1].time_ns
    assert load.packets[0].frame_bytes == 54
    assert load.opened == 1


def test_addresses_become_hosts_in_order_of_appearance() -> None:
    def packet(client: int, server: int) -> Scapy:
        return ether() / IP(src=f"192.0.2.{client}", dst=f"203.0.113.{server}") / UDP(sport=5000, dport=53)

    load = chosen(*((i / 10, packet(*ends)) for i, ends in enumerate([(9, 1), (4, 1), (9, 2), (7, 1), (9, 1)])))
    assert [(flow.host, flow.server) for flow in load.flows] == [(0, 0), (1, 0), (0, 1), (2, 0)]
    assert load.flow == [0, 1, 2, 3, 0]


def configured(**change: Any) -> CaptureConfiguration:
    given = {"path": PATH, "pace": "rate", "rate_bps": 10**6, "duration_ns": 10**9, "hosts": 4, "echo_addresses": 2}
    return CaptureConfiguration.model_validate({**given, **change})


def five_flows() -> CapturedLoad:
    """Ten packets in 0.9 s of five flows, 100 bytes each, from three hosts."""
    frames = []
    for i in range(10):
        ip = IP(src=f"192.0.2.{i % 5 % 3}", dst=SERVER)
        frames.append((i / 10, ether() / ip / UDP(sport=5000 + i % 5, dport=53) / Raw(bytes(58))))
    return chosen(*frames)


def test_the_times_of_the_capture_are_kept_at_its_speed() -> None:
    schedule = build_capture_schedule(five_flows(), configured(pace="capture", duration_ns=3 * 10**9))
    assert schedule.offset_ns.tolist() == pytest.approx([i * 10**8 for i in range(30)], abs=2)
    assert schedule.repetitions == 3
    double = build_capture_schedule(five_flows(), configured(pace="capture", speed=2.0, duration_ns=200_000_001))
    assert double.offset_ns.tolist() == pytest.approx([i * 5 * 10**7 for i in range(5)], abs=2)
    assert double.repetitions == 1


@pytest.mark.parametrize("duration_ns", [10**8, 10**9, 7 * 10**9])
def test_the_rate_is_that_of_requests_and_replies_together(duration_ns: int) -> None:
    load = five_flows()
    schedule = build_capture_schedule(load, configured(rate_bps=400_000, duration_ns=duration_ns))
    sent_bits = 2 * 8 * figures(load, schedule)["bytes"]
    assert sent_bits == pytest.approx(400_000 * duration_ns / 1e9, abs=2 * 8 * 100)
    gaps_ns = np.diff(schedule.offset_ns)
    assert gaps_ns.min() > 0
    assert gaps_ns.max() - gaps_ns.min() <= 2
    assert schedule.offset_ns[-1] < duration_ns


def test_every_repetition_opens_its_flows_at_ports_of_their_own() -> None:
    load = five_flows()
    schedule = build_capture_schedule(load, configured(pace="capture", duration_ns=25 * 10**8))
    assert schedule.repetitions == 3
    assert schedule.flow_host.size == 15
    assert len(set(zip(schedule.flow_host.tolist(), schedule.flow_port.tolist(), strict=True))) == 15
    assert schedule.flow[10:20].tolist() == (schedule.flow[:10] + 5).tolist()
    assert (schedule.flow_host[5:10] == schedule.flow_host[:5]).all()
    described = figures(load, schedule)
    assert (described["packets"], described["flows"], described["hosts"]) == (25, 15, 3)


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"rate_bps": 10**12, "duration_ns": 3 * 10**12}, "are too many"),
        ({"rate_bps": 10**9, "duration_ns": 10**10, "hosts": 1}, "ports on one of 1 hosts"),
    ],
)
def test_a_load_that_is_not_possible_is_one_line(change: dict[str, Any], part: str) -> None:
    with pytest.raises(UsageError, match=part):
        build_capture_schedule(five_flows(), configured(**change))


def test_packets_of_one_time_have_no_pace_but_can_be_given_a_rate() -> None:
    load = chosen((5.0, outbound(UDP(sport=1, dport=2))))
    with pytest.raises(UsageError, match="no pace of its own"):
        build_capture_schedule(load, configured(pace="capture"))
    schedule = build_capture_schedule(load, configured(rate_bps=42 * 16 * 4))
    assert schedule.offset_ns.tolist() == [0, 250_000_000, 500_000_000, 750_000_000]
