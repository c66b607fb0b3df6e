"""The flow table: which socket of which host talks to which echo address, and the headers of its frames."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address
from typing import Any, NamedTuple

import numpy as np

from harness.errors import UsageError
from loadgen.payload import KIND_REQUEST, SEQ, TEMPLATE_BYTES, header_sums, write_headers

FIRST_PORT = 10_000
_PORT_MAX = 65_535


class Flows(NamedTuple):
    """interior_ip, echo_ip: int64[F]; interior_port, echo_port: int64[F]; template: int64[F, TEMPLATE_BYTES / 8] (bytes
    in frame order); ip_sum, udp_sum: int64[F] (checksum sums of the template)."""

    interior_ip: Any
    interior_port: Any
    echo_ip: Any
    echo_port: Any
    template: Any
    ip_sum: Any
    udp_sum: Any


def build_flows(
    count: int,
    hosts: Sequence[IPv4Address],
    echo_addresses: Sequence[IPv4Address],
    echo_port: int,
    macs: tuple[bytes, bytes],
    run: int,
) -> Flows:
    """Flow i belongs to host i mod hosts with a port of its own; the echo addresses alternate for every host.

    macs: (source, destination). Raises UsageError when the ports do not suffice.
    """
    ports_used = -(-count // len(hosts))
    if FIRST_PORT + ports_used - 1 > _PORT_MAX:
        raise UsageError(
            f"workload: {count} flows need {ports_used} ports on each of {len(hosts)} hosts; give more hosts"
        )
    i = np.arange(count, dtype=np.int64)
    host, turn = i % len(hosts), i // len(hosts)
    flows = Flows(
        interior_ip=np.array([int(address) for address in hosts], np.int64)[host],
        interior_port=FIRST_PORT + turn,
        echo_ip=np.array([int(address) for address in echo_addresses], np.int64)[(host + turn) % len(echo_addresses)],
        echo_port=np.full(count, echo_port, np.int64),
        template=np.zeros((count, TEMPLATE_BYTES // 8), np.int64),
        ip_sum=np.zeros(count, np.int64),
        udp_sum=np.zeros(count, np.int64),
    )
    source_mac, destination_mac = (np.frombuffer(bytearray(mac), np.uint8) for mac in macs)
    headers = np.zeros(TEMPLATE_BYTES, np.uint8)
    rows = flows.template.view(np.uint8)
    for k in range(count):
        write_headers(
            headers,
            source_mac,
            destination_mac,
            (int(flows.interior_ip[k]), int(flows.echo_ip[k])),
            (int(flows.interior_port[k]), int(flows.echo_port[k])),
            (KIND_REQUEST, run, k),
        )
        flows.ip_sum[k], flows.udp_sum[k] = header_sums(headers)
        rows[k, :SEQ] = headers[:SEQ]
    return flows
