"""The man in the middle of the two state streams: relays on the controller's management address.

The source is given the relays' address instead of the destination's, so that only runs with faults of streams have
anything in their way.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable

from harness.errors import HarnessError
from harness.faults.relay import ByteFault, Relay
from harness.faults.schedule import STREAMS, Fault

CONNECT_S = 5.0

OpenSocket = Callable[[], socket.socket]


class Relays:
    """The relays of a run, two for each attempt. A context manager; `close` ends every connection."""

    def __init__(self, address: str, open_socket: OpenSocket) -> None:
        """address: the controller's on the management network; open_socket: a TCP socket in its namespace."""
        self._address, self._open_socket = address, open_socket
        self._lock = threading.Lock()
        self._current: dict[str, Relay] = {}
        self._all: list[Relay] = []
        self._armed: dict[str, list[ByteFault]] = {stream: [] for stream in STREAMS}

    def between(self, address: str, statelet_port: int, snapshot_port: int) -> tuple[str, int, int]:
        """New relays to where the destination listens: the address and ports the source is to connect to instead.

        Faults that have not happened yet are theirs, counted from their first byte. HarnessError where they cannot
        listen.
        """
        with self._lock:
            for stream, port in zip(STREAMS, (statelet_port, snapshot_port), strict=True):
                waiting = [fault for fault in self._armed[stream] if not fault.done]
                for fault in waiting:
                    fault.at_bytes = fault.offset_bytes
                relay = Relay(self._listen(), lambda port=port: self._connect(address, port), waiting)  # type: ignore[misc]
                self._current[stream] = relay
                self._all.append(relay)
            ports = [self._current[stream].port for stream in STREAMS]
        return self._address, ports[0], ports[1]

    def arm(self, fault: Fault, begun: Callable[[str], None], over: Callable[[str], None]) -> None:
        """Have a fault happen to its stream; bytes count from now on."""
        byte_fault = ByteFault(fault.action, fault.offset_bytes, fault.bit, fault.for_ns, begun, over)
        with self._lock:
            self._armed[fault.target].append(byte_fault)
            relay = self._current.get(fault.target)
            if relay is not None:
                relay.arm(byte_fault)

    def close(self) -> None:
        """End every connection. Doing it twice is no error."""
        with self._lock:
            relays, self._all = self._all, []
            self._current = {}
        for relay in relays:
            relay.cut()
        for relay in relays:
            relay.close()

    def _listen(self) -> socket.socket:
        try:
            listener = self._open_socket()
            listener.bind((self._address, 0))
            listener.listen(1)
        except OSError as error:
            raise HarnessError(f"relay on {self._address}: cannot listen ({error.strerror})") from error
        return listener

    def _connect(self, address: str, port: int) -> socket.socket:
        sock = self._open_socket()
        try:
            sock.settimeout(CONNECT_S)
            sock.connect((address, port))
        except BaseException:
            sock.close()
            raise
        return sock
