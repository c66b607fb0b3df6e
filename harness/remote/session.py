"""The controller's end of an agent: a connection, the environment on the host, and calls with deadlines."""

from __future__ import annotations

import contextlib
import itertools
import shlex
import threading
import time
from types import TracebackType
from typing import Any, Self

import paramiko

from harness import __version__
from harness.errors import DeadlineExceeded, HarnessError, ProtocolError
from harness.remote.environment import Environment, ensure_environment
from harness.remote.frames import FrameReader, pack
from harness.remote.hosts import Host, Hosts
from harness.remote.programs import PATIENCE_S
from harness.remote.ssh import ConnectionLost, HostUnusable, SshConnection
from harness.remote.wheel import make_wheel

START_S = 30.0
CALL_S = 30.0
_READ_BYTES = 1 << 16


class RemoteCallFailed(HarnessError):
    """A call failed on the host; the exit code is the one it would have there."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class RemoteHost:
    """A host with an agent of ours on it. Calls from several threads wait for each other."""

    def __init__(self, host: Host, connection: SshConnection, environment: Environment) -> None:
        self.host, self.environment = host, environment
        self._connection = connection
        self._reader = FrameReader()
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._channel: paramiko.Channel = connection.start(
            f"{shlex.quote(environment.python)} -I -m harness.remote.agent"
        )
        try:
            self._check(self._receive(time.monotonic() + START_S, "its agent"))
        except BaseException:
            self._channel.close()
            raise

    @classmethod
    def open(cls, hosts: Hosts, host: Host) -> RemoteHost:
        """Connect, have our code there, start the agent. HostUnusable with one line; ConnectionLost,
        DeadlineExceeded."""
        connection = SshConnection.open(hosts.way_to(host))
        try:
            return cls(host, connection, ensure_environment(connection))
        except BaseException:
            connection.close()
            raise

    def call(self, name: str, deadline_s: float = CALL_S, **arguments: Any) -> dict[str, Any]:
        """One call; RemoteCallFailed, ConnectionLost, DeadlineExceeded (the connection is then of no use any more)."""
        with self._lock:
            number = next(self._numbers)
            ends_s = time.monotonic() + deadline_s
            try:
                self._channel.settimeout(deadline_s)
                self._channel.sendall(pack({"id": number, "call": name, "arguments": arguments}))
            except TimeoutError:
                raise self._late(name, deadline_s) from None
            except (OSError, EOFError) as error:
                raise ConnectionLost(f"host {self.host.title}: the connection was lost before {name}") from error
            answer = self._receive(ends_s, name)
        if answer.get("id") != number:
            raise ProtocolError(f"host {self.host.title}: {name}: an answer to another request")
        if "error" in answer:
            code = answer.get("exit_code")
            raise RemoteCallFailed(
                f"host {self.host.title}: {_printable(answer['error'])}", code if isinstance(code, int) else 1
            )
        result = answer.get("result")
        if not isinstance(result, dict):
            raise ProtocolError(f"host {self.host.title}: {name}: an answer without a result")
        return result

    @property
    def local_address(self) -> str:
        """This side's address of the connection. ConnectionLost."""
        return self._connection.local_address

    def close(self) -> None:
        """End the agent, which removes what it owns, and the connection. Doing it twice is no error."""
        with contextlib.suppress(OSError, EOFError, paramiko.SSHException):
            self._channel.shutdown_write()
            self._channel.status_event.wait(PATIENCE_S + CALL_S)
        self._channel.close()
        self._connection.close()

    def _receive(self, ends_s: float, awaited: str) -> dict[str, Any]:
        started_s = time.monotonic()
        while (message := self._reader.next_message()) is None:
            self._channel.settimeout(max(ends_s - time.monotonic(), 0.001))
            try:
                data = self._channel.recv(_READ_BYTES)
            except TimeoutError:
                raise self._late(awaited, ends_s - started_s) from None
            if not data:
                raise ConnectionLost(f"host {self.host.title}: lost during {awaited}{self._said()}")
            self._reader.feed(data)
        return message

    def _late(self, awaited: str, deadline_s: float) -> DeadlineExceeded:
        return DeadlineExceeded(f"host {self.host.title}: {awaited}: no answer within {deadline_s:g} s")

    def _said(self) -> str:
        lines = b""
        while self._channel.recv_stderr_ready() and (data := self._channel.recv_stderr(_READ_BYTES)):
            lines = (lines + data)[-_READ_BYTES:]
        text = lines.decode(errors="replace").strip().splitlines()
        return f" ({_printable(text[-1])})" if text else ""

    def _check(self, hello: dict[str, Any]) -> None:
        """The same code on both sides, or nothing."""
        theirs, ours = (hello.get("hello"), hello.get("digest")), (__version__, make_wheel().digest)
        if theirs != ours:
            raise HostUnusable(
                f"host {self.host.title}: runs version {_printable(theirs[0])} ({_printable(theirs[1])}), this side "
                f"{ours[0]} ({ours[1]}): remove {self.environment.directory} there"
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _printable(value: object) -> str:
    return "".join(c if c.isprintable() else "?" for c in str(value))[:400]
