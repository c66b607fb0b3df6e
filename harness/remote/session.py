"""The controller's end of an agent: a connection, the environment on the host, and calls with deadlines."""

from __future__ import annotations

import contextlib
import itertools
import queue
import shlex
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import paramiko

from harness import __version__
from harness.errors import DeadlineExceeded, HarnessError, ProtocolError
from harness.remote.environment import Environment, ensure_environment
from harness.remote.errors import ConnectionLost, HostUnusable
from harness.remote.forward import Forwards
from harness.remote.frames import FrameReader, pack
from harness.remote.hosts import Host, Hosts
from harness.remote.programs import PATIENCE_S
from harness.remote.ssh import SshConnection
from harness.remote.wheel import code_digest

START_S = 30.0
CALL_S = 30.0
ALIVE_EVERY_S = 3.0
SILENT_S = 9.0
"""A connection may end without either side hearing of it."""
_READ_BYTES = 1 << 16


class RemoteCallFailed(HarnessError):
    """A call failed on the host; the exit code is the one it would have there."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class RemoteHost:
    """A host with an agent of ours on it; calls may come from several threads. A thread of its own takes what the agent
    says, another asks now and then whether it is there.
    """

    def __init__(self, host: Host, connection: SshConnection, environment: Environment) -> None:
        self.host, self.environment = host, environment
        self._connection = connection
        self._reader = FrameReader()
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._sending = threading.Lock()
        self._waiting: dict[int, queue.SimpleQueue[dict[str, Any] | None]] = {}
        self._heard: Callable[[dict[str, Any]], None] = _ignore
        self._lost = ""
        self._closing = threading.Event()
        self._last_heard_s = time.monotonic()
        self._channel: paramiko.Channel = connection.start(
            f"{shlex.quote(environment.python)} -I -m harness.remote.agent"
        )
        try:
            self._check(self._receive_hello())
        except BaseException:
            self._channel.close()
            raise
        self._channel.settimeout(None)
        title = f"agent-{host.name}"
        self._threads = [threading.Thread(target=work, name=title, daemon=True) for work in (self._listen, self._watch)]
        for thread in self._threads:
            thread.start()

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

    @property
    def lost(self) -> str:
        """Why nobody is there any more; empty while somebody is."""
        return self._lost

    def hear(self, heard: Callable[[dict[str, Any]], None]) -> None:
        """From now on `heard` gets what the agent tells unasked, on a thread of this host; it must not wait. An empty
        message says that the agent is gone."""
        self._heard = heard

    def call(self, name: str, deadline_s: float = CALL_S, **arguments: Any) -> dict[str, Any]:
        """One call; RemoteCallFailed, ConnectionLost, DeadlineExceeded (the answer is then dropped when it comes)."""
        answered: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        with self._lock:
            if self._lost:
                raise self._gone(f"before {name}")
            number = next(self._numbers)
            self._waiting[number] = answered
        try:
            frame = pack({"id": number, "call": name, "arguments": arguments})
            try:
                with self._sending:
                    self._channel.sendall(frame)
            except (OSError, EOFError):
                raise self._gone(f"before {name}") from None
            answer = answered.get(timeout=deadline_s)
        except queue.Empty:
            raise self._late(name, deadline_s) from None
        finally:
            with self._lock:
                self._waiting.pop(number, None)
        if answer is None:
            raise self._gone(f"during {name}")
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

    @property
    def forwards(self) -> Forwards:
        """TCP connections through this one. ConnectionLost."""
        return self._connection.forwards

    def close(self) -> None:
        """End the agent, which removes what it owns, and the connection. Doing it twice is no error."""
        if not self._lost:
            with contextlib.suppress(OSError, EOFError, paramiko.SSHException):
                self._channel.shutdown_write()
                self._channel.status_event.wait(PATIENCE_S + CALL_S)
        self._closing.set()
        self._channel.close()
        self._connection.close()
        for thread in self._threads:
            thread.join(START_S)

    def _listen(self) -> None:
        """Take what the agent says until there is no more."""
        reason = ""
        try:
            self._take_waiting()
            while data := self._channel.recv(_READ_BYTES):
                self._last_heard_s = time.monotonic()
                self._reader.feed(data)
                self._take_waiting()
        except ProtocolError as error:
            reason = str(error)
        except (OSError, EOFError) as error:
            reason = str(error)
        with self._lock:
            self._lost = self._lost or reason or self._said() or "its connection was closed"
            waiting = list(self._waiting.values())
        for answered in waiting:
            answered.put(None)
        self._heard({})

    def _take_waiting(self) -> None:
        while (message := self._reader.next_message()) is not None:
            if "id" not in message:
                self._heard(message)
                continue
            with self._lock:
                answered = self._waiting.get(message["id"]) if isinstance(message["id"], int) else None
            if answered is not None:
                answered.put(message)

    def _watch(self) -> None:
        """Show the agent that somebody is here, and give up one that has fallen silent."""
        while not self._closing.wait(ALIVE_EVERY_S):
            if self._lost:
                return
            with contextlib.suppress(HarnessError):
                self.call("alive", ALIVE_EVERY_S)
            silent_s = time.monotonic() - self._last_heard_s
            if silent_s > SILENT_S:
                self._lost = self._lost or f"nothing was heard of it for {silent_s:.0f} s"
                self._channel.close()
                return

    def _receive_hello(self) -> dict[str, Any]:
        ends_s = time.monotonic() + START_S
        while (message := self._reader.next_message()) is None:
            self._channel.settimeout(max(ends_s - time.monotonic(), 0.001))
            try:
                data = self._channel.recv(_READ_BYTES)
            except TimeoutError:
                raise self._late("its agent", START_S) from None
            if not data:
                said = self._said()
                raise ConnectionLost(
                    f"host {self.host.title}: lost while its agent started{f' ({said})' if said else ''}"
                )
            self._reader.feed(data)
        return message

    def _gone(self, when: str) -> ConnectionLost:
        return ConnectionLost(f"host {self.host.title}: the connection was lost {when} ({_printable(self._lost)})")

    def _late(self, awaited: str, deadline_s: float) -> DeadlineExceeded:
        return DeadlineExceeded(f"host {self.host.title}: {awaited}: no answer within {deadline_s:g} s")

    def _said(self) -> str:
        lines = b""
        while self._channel.recv_stderr_ready() and (data := self._channel.recv_stderr(_READ_BYTES)):
            lines = (lines + data)[-_READ_BYTES:]
        text = lines.decode(errors="replace").strip().splitlines()
        return _printable(text[-1]) if text else ""

    def _check(self, hello: dict[str, Any]) -> None:
        """The same code on both sides, or nothing."""
        theirs, ours = (hello.get("hello"), hello.get("digest")), (__version__, code_digest())
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


def _ignore(_message: dict[str, Any]) -> None:
    pass


def _printable(value: object) -> str:
    return "".join(c if c.isprintable() else "?" for c in str(value))[:400]
