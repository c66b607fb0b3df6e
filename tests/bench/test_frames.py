"""The bench's frames as scapy reads them, and through the NAT."""

from __future__ import annotations

import pytest
from scapy.layers.inet import ICMP, IP, UDP
from scapy.layers.l2 import ARP, Ether

from harness.bench.compute import Loop
from harness.bench.frames import ECHO_ADDRESSES, echo_arp_requests, flow_frames
from harness.bench.image import load_nat
from harness.dataplane.table_check import dump


def with_right_checksums(frame: Ether) -> bytes:
    copy = Ether(bytes(frame))
    del copy[IP].chksum
    for layer in (UDP, ICMP):
        if layer in copy:
            del copy[layer].chksum
    return bytes(copy)


@pytest.mark.parametrize("size", [64, 512, 1400])
@pytest.mark.parametrize("protocol", ["udp", "icmp"])
def test_frames_are_sound_and_every_flow_is_another(protocol: str, size: int) -> None:
    frames = [Ether(row.tobytes()) for row in flow_frames(100, size, protocol=protocol)]
    for frame in frames:
        assert len(frame) == size
        assert (frame.src, frame.dst) == ("02:00:00:00:00:01", "02:00:00:00:01:00")
        assert bytes(frame) == with_right_checksums(frame)
        assert frame[IP].dst in ECHO_ADDRESSES
    flows = {(f[IP].src, f[UDP].sport if protocol == "udp" else f[ICMP].id) for f in frames}
    assert len(flows) == 100
    assert len({f[IP].src for f in frames}) == 16


def test_arp_requests_ask_for_the_nat_in_the_name_of_every_echo_address() -> None:
    requests = [Ether(row.tobytes()) for row in echo_arp_requests()]
    assert [r[ARP].psrc for r in requests] == list(ECHO_ADDRESSES)
    for request in requests:
        assert (request.dst, request[ARP].op, request[ARP].pdst) == ("ff:ff:ff:ff:ff:ff", 1, "198.18.0.1")
        assert request[ARP].hwsrc == request.src == "02:00:00:00:00:02"


def test_more_flows_than_ports_are_refused() -> None:
    with pytest.raises(ValueError, match="ports"):
        flow_frames(50_000, 64, hosts=1)
    with pytest.raises(ValueError, match="protocol"):
        flow_frames(1, 64, protocol="sctp")


def test_the_nat_forwards_every_frame_once_it_knows_the_echo_addresses() -> None:
    loop = Loop(load_nat())
    templates = flow_frames(64, 512)
    assert loop.run(templates, 64) == 0
    loop.learn_echo_addresses()
    assert loop.run(templates, 640, announcing=True) == 640
    assert len(dump(loop.image.tables)["mapping"]) == 64
