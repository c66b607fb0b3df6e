from __future__ import annotations

from ipaddress import IPv4Address

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether

from harness.errors import UsageError
from loadgen.flows import build_flows
from loadgen.payload import complete, make_filler_sums, make_frames
from tests.loadgen.frames import checksums_hold, payload

HOSTS = [IPv4Address("10.1.1.1") + i for i in range(8)]
ECHO = [IPv4Address("198.18.1.1") + i for i in range(4)]
MACS = (bytes.fromhex("020000000001"), bytes.fromhex("020000000100"))


def test_every_flow_has_a_socket_of_its_own_and_every_host_talks_to_every_echo_address() -> None:
    flows = build_flows(128, HOSTS, ECHO, 7, MACS, 1)
    sockets = set(zip(flows.interior_ip.tolist(), flows.interior_port.tolist(), strict=True))
    assert len(sockets) == 128
    pairs = np.unique(np.stack([flows.interior_ip, flows.echo_ip]), axis=1, return_counts=True)
    assert pairs[0].shape[1] == len(HOSTS) * len(ECHO)
    assert set(pairs[1].tolist()) == {4}


def test_more_hosts_than_flows_still_use_every_echo_address() -> None:
    flows = build_flows(8, HOSTS, ECHO, 7, MACS, 1)
    assert np.unique(flows.echo_ip).size == 4


@settings(max_examples=100)
@given(st.integers(0, 299), st.integers(0, 2**40), st.integers(0, 2**62), st.integers(74, 1514))
def test_frame_of_a_flow_carries_the_addresses_of_the_table(flow: int, seq: int, intended_ns: int, size: int) -> None:
    flows = FLOWS
    frames = make_frames(1)
    frames.view(np.int64)[0, :8] = flows.template[flow]
    sums = (int(flows.ip_sum[flow]), int(flows.udp_sum[flow]))
    complete(frames[0], size, (0, seq, intended_ns), sums, make_filler_sums())
    data = frames[0, :size].tobytes()
    assert checksums_hold(data)
    frame = Ether(data)
    assert (frame.src, frame.dst) == ("02:00:00:00:00:01", "02:00:00:00:01:00")
    assert int(IPv4Address(frame[IP].src)) == flows.interior_ip[flow]
    assert int(IPv4Address(frame[IP].dst)) == flows.echo_ip[flow]
    assert (frame[UDP].sport, frame[UDP].dport) == (flows.interior_port[flow], 7)
    assert bytes(frame[UDP].payload)[:32] == payload(0, flow, seq, intended_ns, 32, run=9)


FLOWS = build_flows(300, HOSTS, ECHO, 7, MACS, 9)


def test_more_flows_than_ports_are_refused() -> None:
    build_flows(65_535 - 10_000 + 1, HOSTS[:1], ECHO, 7, MACS, 1)
    with pytest.raises(UsageError, match="give more hosts"):
        build_flows(65_535 - 10_000 + 2, HOSTS[:1], ECHO, 7, MACS, 1)
