"""A TCP relay that does what a bad network does to the bytes it passes on: turns bits, cuts off, holds up.

It works on the bytes of one connection and knows nothing of what they mean.
"""

from __future__ import annotations

import contextlib
import select
import socket
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

RECEIVE_BYTES = 1 << 16
_POLL_S = 0.005
_SEND_DEADLINE_S = 30.0


def _nothing(_detail: str) -> None:
    pass


@dataclass
class ByteFault:
    """What happens when byte `at_bytes` (counted from the connection's first) passes from the client to the server.

    action: "corrupt" (bit `bit` of that byte is turned over), "truncate" (the connection ends before that byte) or
    "stop" (that byte and all behind it wait `for_ns`). `begun` and `over` are told when.
    """

    action: str
    at_bytes: int
    bit: int = 0
    for_ns: int = 0
    begun: Callable[[str], None] = _nothing
    over: Callable[[str], None] = _nothing
    done: bool = field(default=False, init=False)
    offset_bytes: int = field(default=0, init=False)
    """As it was given; a relay that takes it while bytes pass adds those that have."""

    def __post_init__(self) -> None:
        self.offset_bytes = self.at_bytes


class Relay:
    """Passes one connection on; `port` is where it listens. Close it.

    listener: bound and listening; connect: makes the connection to the server, from the relay's thread.
    """

    def __init__(
        self, listener: socket.socket, connect: Callable[[], socket.socket], faults: Sequence[ByteFault] = ()
    ) -> None:
        self._listener, self._connect = listener, connect
        self._faults = list(faults)
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self.passed_bytes = 0
        listener.settimeout(_POLL_S)
        self.port = int(listener.getsockname()[1])
        self._thread = threading.Thread(target=self._run, name=f"relay {self.port}", daemon=True)
        self._thread.start()

    def arm(self, fault: ByteFault) -> None:
        """One more fault; its byte counts from the next one to pass."""
        with self._lock:
            fault.at_bytes = self.passed_bytes + fault.offset_bytes
            self._faults.append(fault)

    def cut(self) -> None:
        """End the connection now."""
        self._ended.set()

    def close(self) -> None:
        """End the connection and stop listening. Doing it twice is no error."""
        self.cut()
        self._thread.join(_SEND_DEADLINE_S)
        self._listener.close()

    def _run(self) -> None:
        while not self._ended.is_set():
            try:
                client, _ = self._listener.accept()
            except TimeoutError:
                continue
            except OSError:
                return
            # Whatever breaks here is a broken connection to both ends, and that is all a relay may do.
            with contextlib.suppress(OSError), client, self._connect() as server:
                for sock in (client, server):
                    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    sock.settimeout(_SEND_DEADLINE_S)
                self._shuttle(client, server)
            return

    def _shuttle(self, client: socket.socket, server: socket.socket) -> None:
        open_ends = {client, server}
        while open_ends and not self._ended.is_set():
            for sock in select.select(list(open_ends), [], [], _POLL_S)[0]:
                data = sock.recv(RECEIVE_BYTES)
                other = server if sock is client else client
                if not data:
                    open_ends.discard(sock)
                    other.shutdown(socket.SHUT_WR)
                elif sock is server:
                    other.sendall(data)
                elif not self._pass(data, server):
                    return

    def _pass(self, data: bytes, server: socket.socket) -> bool:
        """Whether the connection goes on."""
        while data:
            fault = self._due(len(data))
            if fault is None:
                self._send(data, server)
                return True
            before = fault.at_bytes - self.passed_bytes
            self._send(data[:before], server)
            data = data[before:]
            if fault.action == "truncate":
                fault.begun(f"after byte {self.passed_bytes}")
                return False
            if fault.action == "corrupt":
                data = bytes([data[0] ^ (1 << fault.bit)]) + data[1:]
                fault.begun(f"byte {self.passed_bytes}")
            else:
                fault.begun(f"at byte {self.passed_bytes}")
                self._ended.wait(fault.for_ns / 1e9)
                fault.over("")
        return not self._ended.is_set()

    def _due(self, nbytes: int) -> ByteFault | None:
        """The next fault within the coming bytes; it is given out once."""
        with self._lock:
            end = self.passed_bytes + nbytes
            due = [fault for fault in self._faults if not fault.done and self.passed_bytes <= fault.at_bytes < end]
            if not due:
                return None
            first = min(due, key=lambda fault: fault.at_bytes)
            first.done = True
            return first

    def _send(self, data: bytes, server: socket.socket) -> None:
        with self._lock:  # counted first: a fault that is armed from now on is for what comes behind
            self.passed_bytes += len(data)
        server.sendall(data)
