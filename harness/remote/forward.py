"""TCP connections through the SSH connection to a host, in both directions; every port is on a loopback address.

For a host that is reached through others, so that neither side can connect to the other itself. What passes is not
looked at: whoever speaks has to encrypt, and to know whom it speaks with.
"""

from __future__ import annotations

import contextlib
import queue
import socket
import threading
from collections.abc import Callable

import paramiko

from harness.remote.errors import ConnectionLost, HostUnusable

LOOPBACK = "127.0.0.1"
STALLED_S = 60.0
"""A side that takes nothing for so long ends its connection."""
_WAITING_MAX = 64
_CHUNK_BYTES = 1 << 16
_Address = tuple[str, int]


class Forwards:
    """Those of one transport. They end with it, and `close` ends their ports here."""

    def __init__(self, transport: paramiko.Transport, title: str, open_s: float) -> None:
        """title: of the host, for messages; open_s: longest time the host takes for an answer."""
        self._transport, self._title, self._open_s = transport, title, open_s
        self._entrances: list[Entrance] = []

    def to_here(self, address: _Address) -> int:
        """A port of the host's loopback address; who connects to it there is connected to `address` of this side. Once.

        HostUnusable where the host's SSH server does not do that, ConnectionLost.
        """
        answers: queue.SimpleQueue[int | Exception] = queue.SimpleQueue()

        def came(channel: paramiko.Channel, _origin: _Address, _server: _Address) -> None:
            threading.Thread(target=self._take_here, args=(channel, address), daemon=True, name="forward").start()

        def ask() -> None:  # the library waits for the answer as long as there is a connection
            try:
                answers.put(self._transport.request_port_forward(LOOPBACK, 0, came))
            except (paramiko.SSHException, EOFError, OSError) as error:
                answers.put(error)

        threading.Thread(target=ask, daemon=True, name="forward").start()
        try:
            answer = answers.get(timeout=self._open_s)
        except queue.Empty:
            raise ConnectionLost(f"host {self._title}: no answer to a forwarding within {self._open_s:g} s") from None
        if isinstance(answer, int):
            return answer
        if self._transport.is_active():
            raise self._refused()
        raise ConnectionLost(f"host {self._title}: the connection is gone")

    def to_there(self) -> Entrance:
        """A port of this side's loopback address that leads to one of the host's, which is told later."""
        entrance = Entrance(self._reach)
        self._entrances.append(entrance)
        return entrance

    def close(self) -> None:
        """Take no more connections. Doing it twice is no error."""
        for entrance in self._entrances:
            entrance.close()

    def _reach(self, port: int) -> paramiko.Channel:
        """A connection to a port of the host's loopback address. HostUnusable, ConnectionLost."""
        try:
            return self._transport.open_channel("direct-tcpip", (LOOPBACK, port), (LOOPBACK, 0), timeout=self._open_s)
        except paramiko.ChannelException as error:
            if error.code == 1:  # RFC 4254, 5.1: administratively prohibited
                raise self._refused() from None
            raise ConnectionLost(f"host {self._title}: nothing answers on its port {port}") from None
        except (paramiko.SSHException, EOFError, OSError):
            raise ConnectionLost(f"host {self._title}: the connection is gone") from None

    def _take_here(self, channel: paramiko.Channel, address: _Address) -> None:
        with contextlib.closing(channel):
            try:
                local = socket.create_connection(address, self._open_s)
            except OSError:
                return  # closing the channel says so
            _pass_on(local, channel)

    def _refused(self) -> HostUnusable:
        return HostUnusable(
            f"host {self._title}: its SSH server forwards no connections; allow it there (AllowTcpForwarding yes)"
        )


class Entrance:
    """A port here; connections to it wait until `lead_to` has said where they go."""

    def __init__(self, reach: Callable[[int], paramiko.Channel]) -> None:
        self._reach = reach
        self._target = 0
        self._listener = socket.create_server((LOOPBACK, 0), backlog=_WAITING_MAX)
        self.port: int = self._listener.getsockname()[1]

    def lead_to(self, port: int) -> None:
        """Where connections go from now on, once. HostUnusable, ConnectionLost: nobody can be reached there."""
        self._reach(port).close()
        self._target = port
        threading.Thread(target=self._accept, daemon=True, name="forward").start()

    def close(self) -> None:
        """Take no more connections. Doing it twice is no error."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # ends the wait for the next one
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                local, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._take_there, args=(local,), daemon=True, name="forward").start()

    def _take_there(self, local: socket.socket) -> None:
        try:
            channel = self._reach(self._target)
        except (HostUnusable, ConnectionLost):
            local.close()  # says so
            return
        with contextlib.closing(channel):
            _pass_on(local, channel)


def _pass_on(local: socket.socket, channel: paramiko.Channel) -> None:
    """Both directions until both have ended, or one side is gone."""
    with local:
        local.settimeout(STALLED_S)
        channel.settimeout(STALLED_S)
        local.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        outward = threading.Thread(target=_pump, args=(local, channel), daemon=True, name="forward")
        outward.start()
        _pump(channel, local)
        outward.join()


def _pump(source: socket.socket | paramiko.Channel, sink: socket.socket | paramiko.Channel) -> None:
    """One direction; its end is passed on, and what cannot be passed on ends both."""
    try:
        while data := _read(source):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except (OSError, EOFError, paramiko.SSHException):
        for each in (source, sink):
            with contextlib.suppress(OSError, EOFError, paramiko.SSHException):
                each.shutdown(socket.SHUT_RDWR)


def _read(source: socket.socket | paramiko.Channel) -> bytes:
    """What has come; nothing at the end. A silent connection is none that has ended."""
    while True:
        with contextlib.suppress(TimeoutError):
            return source.recv(_CHUNK_BYTES)
