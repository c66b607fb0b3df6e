"""SSH to one host by paramiko: host keys verified, never added; every wait has a deadline.

One transport per host carries all of its channels; through a jump host it runs inside one of that one's.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import stat
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import paramiko

from harness.errors import DeadlineExceeded
from harness.remote.errors import ConnectionLost, HostUnusable
from harness.remote.forward import Forwards
from harness.remote.hosts import Host

KEEPALIVE_S = 15
"""A silent connection is looked at this often; what a router has forgotten is noticed."""
OUTPUT_BYTES_MAX = 1 << 20
NOT_FOUND_STATUS, NOT_EXECUTABLE_STATUS = 127, 126
_CHUNK_BYTES = 1 << 15
_POLL_S = 0.01


@dataclass(frozen=True)
class Completed:
    """A command that has ended; output cut at OUTPUT_BYTES_MAX."""

    status: int
    output: bytes
    errors: bytes

    @property
    def last_line(self) -> str:
        """What the command said last, for a message."""
        text = (self.errors or self.output).decode(errors="replace").strip().splitlines()
        return "".join(c if c.isprintable() else "?" for c in text[-1])[:200] if text else "no output"


class SshConnection:
    """A transport to one host. `close` ends it and the transports to the jump hosts on the way."""

    def __init__(self, host: Host, clients: Sequence[paramiko.SSHClient]) -> None:
        self.host = host
        self._clients = tuple(clients)
        self._forwards: Forwards | None = None

    @classmethod
    def open(cls, way: Sequence[Host]) -> SshConnection:
        """Connect to the last host of `way` through the ones before it. HostUnusable with one line."""
        clients: list[paramiko.SSHClient] = []
        # What concerns the user is told by us, in one line.
        logging.getLogger("paramiko").setLevel(logging.CRITICAL + 1)
        try:
            for host in way:
                clients.append(_connect(host, clients[-1] if clients else None))
        except BaseException:
            for client in reversed(clients):
                client.close()
            raise
        return cls(way[-1], clients)

    def run(self, command: str, deadline_s: float, send: bytes = b"") -> Completed:
        """Run a command to its end with `send` as its input. DeadlineExceeded, ConnectionLost."""
        with self._channel(command) as channel:
            ends_s = time.monotonic() + deadline_s
            output, errors, left = bytearray(), bytearray(), memoryview(send)
            channel.setblocking(False)
            open_input = True
            while True:
                moved = False
                try:
                    if left and channel.send_ready():
                        sent = channel.send(bytes(left[:_CHUNK_BYTES]))
                        left, moved = left[sent:], True
                    elif open_input and not left:
                        channel.shutdown_write()
                        open_input = False
                except OSError:
                    left, open_input = left[:0], False  # it ended without reading; its exit status tells the rest
                while channel.recv_ready() and (data := channel.recv(_CHUNK_BYTES)):
                    output, moved = _kept(output, data), True
                while channel.recv_stderr_ready() and (data := channel.recv_stderr(_CHUNK_BYTES)):
                    errors, moved = _kept(errors, data), True
                if channel.exit_status_ready() and not channel.recv_ready() and not channel.recv_stderr_ready():
                    return Completed(channel.recv_exit_status(), bytes(output), bytes(errors))
                if channel.closed:
                    raise ConnectionLost(f"host {self.host.title}: the connection was lost during {command[:60]!r}")
                if time.monotonic() > ends_s:
                    raise DeadlineExceeded(f"host {self.host.title}: {command[:60]!r} not done in {deadline_s:g} s")
                if not moved:
                    time.sleep(_POLL_S)

    def start(self, command: str) -> paramiko.Channel:
        """A command that goes on; the caller closes its channel. ConnectionLost."""
        return self._channel(command)

    def put(self, content: IO[bytes], path: str, deadline_s: float) -> None:
        """Write a file of the host, readable by its owner only. HostUnusable: it does not take it (a full disk, say);
        DeadlineExceeded, ConnectionLost."""
        ends_s = time.monotonic() + deadline_s
        try:
            with contextlib.closing(self._transport().open_sftp_client()) as sftp:
                sftp.get_channel().settimeout(deadline_s)  # type: ignore[union-attr]
                with sftp.open(path, "wb") as file:
                    file.set_pipelined(True)
                    sftp.chmod(path, stat.S_IRUSR | stat.S_IWUSR)
                    while chunk := content.read(_CHUNK_BYTES):
                        file.write(chunk)
                        if time.monotonic() > ends_s:
                            raise DeadlineExceeded(f"host {self.host.title}: {path} not written in {deadline_s:g} s")
        except (paramiko.SSHException, EOFError, TimeoutError) as error:
            raise ConnectionLost(f"host {self.host.title}: {path}: {_said(error)}") from error
        except OSError as error:
            reason = error.strerror or str(error) or "refused"
            raise HostUnusable(
                f"host {self.host.title}: {path} cannot be written: {reason}; is its disk full?"
            ) from error

    @property
    def local_address(self) -> str:
        """This side's address of the connection. ConnectionLost."""
        try:
            return str(self._transport().sock.getsockname()[0])  # type: ignore[union-attr]
        except (OSError, AttributeError) as error:
            raise ConnectionLost(f"host {self.host.title}: no connection of this side's own") from error

    @property
    def forwards(self) -> Forwards:
        """TCP connections through it. ConnectionLost."""
        if self._forwards is None:
            self._forwards = Forwards(self._transport(), self.host.title, self.host.connect_s)
        return self._forwards

    def close(self) -> None:
        """End it. Doing it twice is no error."""
        if self._forwards is not None:
            self._forwards.close()
        for client in reversed(self._clients):
            client.close()

    def _transport(self) -> paramiko.Transport:
        transport = self._clients[-1].get_transport()
        if transport is None or not transport.is_active():
            raise ConnectionLost(f"host {self.host.title}: the connection is gone")
        return transport

    def _channel(self, command: str) -> paramiko.Channel:
        try:
            channel = self._transport().open_session(timeout=self.host.connect_s)
            channel.exec_command(command)
        except (paramiko.SSHException, EOFError, OSError) as error:
            raise ConnectionLost(
                f"host {self.host.title}: {command[:60]!r} cannot be started: {_said(error)}"
            ) from error
        return channel


def _kept(buffer: bytearray, data: bytes) -> bytearray:
    buffer += data[: OUTPUT_BYTES_MAX - len(buffer)]
    return buffer


def _connect(host: Host, through: paramiko.SSHClient | None) -> paramiko.SSHClient:
    client = paramiko.SSHClient()
    client.set_missing_host_key_policy(paramiko.RejectPolicy())
    known_hosts = Path(host.known_hosts).expanduser()
    try:
        client.load_host_keys(str(known_hosts))
    except OSError as error:
        reason = error.strerror or "cannot be read"
        raise HostUnusable(
            f"host {host.title}: known_hosts {known_hosts}: {reason}; no host key can be verified"
        ) from None
    key = Path(host.key).expanduser() if host.key else None
    if key is not None and not key.is_file():
        raise HostUnusable(f"host {host.title}: key {key}: no such file")
    try:
        client.connect(
            host.address,
            host.port,
            host.user,
            key_filename=str(key) if key else None,
            allow_agent=host.agent,
            look_for_keys=False,
            timeout=host.connect_s,
            banner_timeout=host.connect_s,
            auth_timeout=host.connect_s,
            channel_timeout=host.connect_s,
            sock=_tunnel(host, through) if through is not None else None,
        )
    except BaseException as error:
        client.close()
        if not isinstance(error, paramiko.SSHException | OSError | EOFError | ValueError):
            raise
        raise HostUnusable(f"host {host.title}: {_why(error, host, known_hosts)}") from error
    transport = client.get_transport()
    assert transport is not None
    transport.set_keepalive(KEEPALIVE_S)
    return client


def _tunnel(host: Host, through: paramiko.SSHClient) -> paramiko.Channel:
    transport = through.get_transport()
    if transport is None:
        raise paramiko.SSHException("the jump host's connection is gone")
    return transport.open_channel("direct-tcpip", (host.address, host.port), ("127.0.0.1", 0), timeout=host.connect_s)


def _why(error: BaseException, host: Host, known_hosts: Path) -> str:
    """The reason in the words of someone who has to mend it."""
    if isinstance(error, paramiko.BadHostKeyException):
        found = error.key.fingerprint if hasattr(error.key, "fingerprint") else error.key.get_name()
        return (
            f"its key {found} is not the one in {known_hosts}: another machine answers there, or it has a new key; "
            "compare it with the machine's own and correct the file"
        )
    if isinstance(error, paramiko.PasswordRequiredException):
        return f"key {host.key} needs a passphrase; load it into an SSH agent"
    if isinstance(error, paramiko.ChannelException):
        return (
            f"cannot be reached from {host.jump} ({error.text}); is it up, are address and port right, and does the "
            f"SSH server of {host.jump} forward connections?"
        )
    if isinstance(error, paramiko.AuthenticationException):
        return f"does not let user {host.user} in with {host.key or 'the keys of the agent'} ({_said(error)})"
    if isinstance(
        error, TimeoutError | socket.gaierror | ConnectionError | paramiko.ssh_exception.NoValidConnectionsError
    ):
        return f"cannot be reached ({_said(error)}); is it up, and are address and port right?"
    if isinstance(error, paramiko.SSHException) and "not found in known_hosts" in str(error):
        return f"its key is not in {known_hosts}: add it (ssh-keyscan -p {host.port} {host.address}) after comparing it"
    return f"cannot be used ({_said(error)})"


def _said(error: BaseException) -> str:
    text = (getattr(error, "strerror", None) or str(error) or type(error).__name__).strip().splitlines()[0]
    return "".join(c if c.isprintable() else "?" for c in text)[:200].rstrip(".")
