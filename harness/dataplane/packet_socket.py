"""AF_PACKET sockets as ports: filter, buffers, kernel timestamps and drop statistics.

A port sees only frames addressed to its MAC (and broadcast ARP for its address, where one is given): several ports and
the kernel's own address share one uplink, told apart by a classic BPF program in the kernel (packet(7)).
"""

from __future__ import annotations

import ctypes
import socket
import struct
from dataclasses import dataclass

from harness.errors import MachineError

ETH_P_ALL = 0x0003
SOL_PACKET = 263
PACKET_STATISTICS = 6
PACKET_VNET_HDR = 15
PACKET_IGNORE_OUTGOING = 23
SO_ATTACH_FILTER = 26
SO_RCVBUFFORCE = 33
SO_SNDBUFFORCE = 32
SO_TIMESTAMPNS = 35
VNET_HEADER_BYTES = 10


@dataclass(frozen=True)
class PortOptions:
    """How a port is opened.

    mac: frames for this MAC are received (6 bytes); arp_address: also broadcast ARP whose target is this IPv4 address
    (4 bytes), or any broadcast ARP where it is None and `all_broadcast_arp` is set; vnet_header: frames carry a
    virtio_net_hdr, so that segmentation offload passes through undivided.
    """

    interface: str
    mac: bytes | None
    arp_address: bytes | None = None
    all_broadcast_arp: bool = False
    receive_buffer_bytes: int = 16 << 20
    send_buffer_bytes: int = 16 << 20
    vnet_header: bool = False


@dataclass(frozen=True)
class PortStatistics:
    """Kernel counters of a port since the last reading: frames that passed its filter, of those dropped for space."""

    received_packets: int
    dropped_packets: int


_LOAD_WORD, _LOAD_HALF, _JUMP_EQUAL, _RETURN = 0x20, 0x28, 0x15, 0x06
_NEXT = ""


def filter_program(options: PortOptions) -> list[tuple[int, int, int, int]]:
    """Classic BPF program (code, jump if true, jump if false, k) for `options`; opcodes as in linux/filter.h."""
    if options.mac is None:
        return [(_RETURN, 0, 0, 0x40000)]
    high, low = struct.unpack("!IH", options.mac)
    wants_arp = options.arp_address is not None or options.all_broadcast_arp
    otherwise = "arp" if wants_arp else "refuse"
    lines: list[tuple[str, int, int, str, str]] = [  # label, code, k, if true, if false
        (_NEXT, _LOAD_WORD, 0, _NEXT, _NEXT),
        (_NEXT, _JUMP_EQUAL, high, _NEXT, otherwise),
        (_NEXT, _LOAD_HALF, 4, _NEXT, _NEXT),
        (_NEXT, _JUMP_EQUAL, low, "accept", otherwise),
    ]
    if wants_arp:
        lines += [
            ("arp", _LOAD_WORD, 0, _NEXT, _NEXT),
            (_NEXT, _JUMP_EQUAL, 0xFFFFFFFF, _NEXT, "refuse"),
            (_NEXT, _LOAD_HALF, 4, _NEXT, _NEXT),
            (_NEXT, _JUMP_EQUAL, 0xFFFF, _NEXT, "refuse"),
            (_NEXT, _LOAD_HALF, 12, _NEXT, _NEXT),
            (_NEXT, _JUMP_EQUAL, 0x0806, _NEXT, "refuse"),
        ]
    if options.arp_address is not None:
        (target,) = struct.unpack("!I", options.arp_address)
        lines += [(_NEXT, _LOAD_WORD, 38, _NEXT, _NEXT), (_NEXT, _JUMP_EQUAL, target, "accept", "refuse")]
    lines += [("accept", _RETURN, 0x40000, _NEXT, _NEXT), ("refuse", _RETURN, 0, _NEXT, _NEXT)]
    places = {label: place for place, (label, *_) in enumerate(lines) if label}
    return [
        (code, *(places[label] - place - 1 if label else 0 for label in (if_true, if_false)), k)  # type: ignore[misc]
        for place, (_, code, k, if_true, if_false) in enumerate(lines)
    ]


def open_port(sock: socket.socket, options: PortOptions) -> socket.socket:
    """Set up an AF_PACKET/SOCK_RAW socket (made with protocol 0, so that nothing arrives before the filter stands).

    Raises MachineError when the interface does not exist or the kernel refuses an option.
    """
    program = filter_program(options)
    instructions = b"".join(struct.pack("HBBI", *line) for line in program)
    buffer = ctypes.create_string_buffer(instructions)
    sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("HL", len(program), ctypes.addressof(buffer)))
    set_buffer(sock, SO_RCVBUFFORCE, socket.SO_RCVBUF, options.receive_buffer_bytes)
    set_buffer(sock, SO_SNDBUFFORCE, socket.SO_SNDBUF, options.send_buffer_bytes)
    sock.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
    sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    if options.vnet_header:
        sock.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
    try:
        sock.bind((options.interface, ETH_P_ALL))
    except OSError as error:
        raise MachineError(f"port {options.interface}: {error.strerror}; is the interface there and up?") from error
    sock.setblocking(False)
    read_statistics(sock)
    return sock


def set_buffer(sock: socket.socket, beyond_limit: int, option: int, size_bytes: int) -> None:
    """Ask for a buffer. Without CAP_NET_ADMIN on the machine itself, as in a user namespace, net.core.rmem_max and
    wmem_max hold, and the kernel silently gives what they allow; doctor reports it.
    """
    try:
        sock.setsockopt(socket.SOL_SOCKET, beyond_limit, size_bytes)
    except PermissionError:
        sock.setsockopt(socket.SOL_SOCKET, option, size_bytes)


def packet_socket(options: PortOptions) -> socket.socket:
    """Open a port in the namespace of the calling thread. Raises MachineError without CAP_NET_RAW."""
    try:
        sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    except PermissionError as error:
        raise MachineError(f"port {options.interface}: AF_PACKET needs CAP_NET_RAW; run as root") from error
    return open_port(sock, options)


def read_statistics(sock: socket.socket) -> PortStatistics:
    """Read and, as the kernel does it, reset the counters of a port (PACKET_STATISTICS)."""
    received, dropped = struct.unpack("II", sock.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8))
    return PortStatistics(received, dropped)


def mac_bytes(text: str) -> bytes:
    """'02:00:00:00:01:00' -> 6 bytes; ValueError if it is not a MAC address."""
    parts = text.split(":")
    if len(parts) != 6:
        raise ValueError(f"{text!r} is not a MAC address")
    return bytes(int(part, 16) for part in parts)
