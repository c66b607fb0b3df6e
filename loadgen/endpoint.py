"""What both ends of the load have in common as processes: socket, gateway, commands, and how their loop is started."""

from __future__ import annotations

import contextlib
import gc
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from ipaddress import IPv4Address
from typing import Any, NamedTuple

from harness.dataplane.packet_socket import PortOptions, mac_bytes, packet_socket, read_statistics
from harness.dataplane.scheduling import set_dataplane_scheduling
from loadgen import status
from loadgen.arp import resolve_gateway
from loadgen.configuration import ProcessConfiguration
from loadgen.control import START_NS, STOP
from loadgen.process import CommandThread, LineReader, emit

SILENCE_S = 0.1
UNREAD_FOR_S = 2.0
_LOOKED_AT_BYTES = 14
_IPV4 = b"\x08\x00"


class Endpoint(NamedTuple):
    """One end of the load on its link: the packet socket, its own MAC and that of the VNF behind the link."""

    sock: socket.socket
    mac: bytes
    gateway_mac: bytes


@contextmanager
def open_endpoint(
    configuration: ProcessConfiguration, asking: Sequence[IPv4Address], answered: Any
) -> Iterator[Endpoint]:
    """Open the socket and resolve the gateway from each of `asking`; ARP for `answered` (uint32[n]) is answered then.

    Raises MachineError without the interface or the privilege, DeadlineExceeded when the gateway does not answer.
    """
    mac = mac_bytes(configuration.mac)
    options = PortOptions(
        configuration.interface, mac, all_broadcast_arp=True, receive_buffer_bytes=configuration.receive_buffer_bytes
    )
    with packet_socket(options) as sock:
        if configuration.gateway_mac is not None:
            gateway_mac = mac_bytes(configuration.gateway_mac)
        else:
            deadline_ns = time.monotonic_ns() + configuration.arp_deadline_ns
            gateway_mac = resolve_gateway(sock, mac, asking, answered, configuration.gateway, deadline_ns)
        yield Endpoint(sock, mac, gateway_mac)


def unread_packets(sock: socket.socket, silence_s: float = SILENCE_S) -> int:
    """Read what waits in the socket, and what comes before it has been silent for so long; returns how many of it were
    IPv4. Nothing is known of them but that they came, and that nobody waited for them any more.
    """
    found, frame = 0, bytearray(_LOOKED_AT_BYTES)
    ends_s = time.monotonic() + UNREAD_FOR_S
    sock.settimeout(silence_s)
    with contextlib.suppress(TimeoutError):
        while time.monotonic() < ends_s:
            length = sock.recv_into(frame)
            found += length >= _LOOKED_AT_BYTES and frame[-2:] == _IPV4
    return found


def begin(
    reader: LineReader, endpoint: Endpoint, intended_ns: Any, control: Any, scheduler: str, **announced: Any
) -> str:
    """Take commands from now on, give this thread its scheduling and report ready; returns the scheduling it got.

    The command start turns `intended_ns` (int64[n], offsets) into times and sets control[START_NS]; stop sets
    control[STOP]. `announced` is added to the event. Raises MachineError for a scheduler that is not permitted.
    """

    def start(start_ns: int) -> None:
        intended_ns[:] += start_ns
        control[START_NS] = start_ns

    def stop() -> None:
        control[STOP] = 1

    read_statistics(endpoint.sock)
    CommandThread(reader, start, stop).start()
    # What lives now lives to the end, and nothing is made in the loop: no collection may interrupt it.
    gc.collect()
    gc.freeze()
    gc.disable()
    scheduling = set_dataplane_scheduling(scheduler)
    emit("ready", **announced, gateway_mac=endpoint.gateway_mac.hex(":"), scheduling=scheduling, status=status.NAMES)
    return scheduling
