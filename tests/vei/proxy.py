"""A TCP relay that does what a bad network or a bad peer does: cuts, alters, or withholds what the source sends."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
from collections.abc import Callable

Fault = Callable[[int, bytes], bytes | None]
"""(offset of the data in the stream, data) -> the data to pass on; None: cut the connection; STALLED: read no more."""

STALLED = b"<stalled>"


def clean(offset: int, data: bytes) -> bytes | None:
    return data


def cut_at(limit: int) -> Fault:
    def fault(offset: int, data: bytes) -> bytes | None:
        return None if offset + len(data) > limit else data

    return fault


def flip_at(position: int) -> Fault:
    def fault(offset: int, data: bytes) -> bytes | None:
        if offset <= position < offset + len(data):
            at = position - offset
            return data[:at] + bytes([data[at] ^ 0x40]) + data[at + 1 :]
        return data

    return fault


def stall_at(limit: int) -> Fault:
    def fault(offset: int, data: bytes) -> bytes | None:
        return STALLED if offset + len(data) > limit else data

    return fault


class Proxy:
    """Relays one connection to `port`; `cut` ends it from outside."""

    def __init__(self, address: str, port: int, fault: Fault = clean) -> None:
        self._target = (address, port)
        self._fault = fault
        self._cut = threading.Event()
        self._listener = socket.create_server((address, 0))
        self._listener.settimeout(0.01)
        self.port = int(self._listener.getsockname()[1])
        self._thread = threading.Thread(target=self._relay, daemon=True)
        self._thread.start()

    def cut(self) -> None:
        self._cut.set()

    def close(self) -> None:
        self.cut()
        self._thread.join(5.0)
        self._listener.close()

    def _relay(self) -> None:
        while not self._cut.is_set():
            try:
                client, _ = self._listener.accept()
            except TimeoutError:
                continue
            with contextlib.suppress(OSError), client, socket.create_connection(self._target) as server:
                self._shuttle(client, server)
            return

    def _shuttle(self, client: socket.socket, server: socket.socket) -> None:
        offset = 0
        open_ends = {client, server}
        while open_ends and not self._cut.is_set():
            for sock in select.select(list(open_ends), [], [], 0.005)[0]:
                data = sock.recv(4096)
                if not data:
                    open_ends.discard(sock)
                    (server if sock is client else client).shutdown(socket.SHUT_WR)
                elif sock is client:
                    passed = self._fault(offset, data)
                    offset += len(data)
                    if passed is None:
                        return
                    if passed is STALLED:
                        self._cut.wait(30.0)
                        return
                    server.sendall(passed)
                else:
                    client.sendall(data)
