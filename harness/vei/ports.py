"""Opening the ports of a process as its configuration names them, in other namespaces, too."""

from __future__ import annotations

import os
import socket
from concurrent.futures import ThreadPoolExecutor

from harness.dataplane.packet_socket import PortOptions, mac_bytes, packet_socket
from harness.errors import UsageError
from harness.provision.kernel import NETNS_DIRECTORY, setns_network
from harness.vei.config import PortConfig


def open_port(port: PortConfig, receive_buffer_bytes: int) -> socket.socket:
    """The socket of a port. Raises UsageError for a namespace that is not there, MachineError as `packet_socket`."""
    options = PortOptions(
        interface=port.interface,
        mac=None if port.mac is None else mac_bytes(port.mac),
        arp_address=None if port.arp_address is None else socket.inet_aton(port.arp_address),
        receive_buffer_bytes=receive_buffer_bytes,
        vnet_header=port.vnet_header,
    )
    if port.netns is None:
        return packet_socket(options)
    netns = port.netns
    with ThreadPoolExecutor(1) as executor:  # a thread made for it enters the namespace, this one stays in its own
        return executor.submit(lambda: _enter_and_open(netns, options)).result()


def _enter_and_open(netns: str, options: PortOptions) -> socket.socket:
    try:
        descriptor = os.open(NETNS_DIRECTORY / netns, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise UsageError(f"port {options.interface}: namespace {netns}: {error.strerror}") from error
    try:
        setns_network(descriptor)
    finally:
        os.close(descriptor)
    return packet_socket(options)
