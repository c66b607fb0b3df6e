"""Mutual authentication of a fresh TCP connection with the secret of the run, before anything else is said on it.

    client -> server   magic "SLIM", version u8, kind u8, epoch u32, client nonce (16 bytes)
    server -> client   magic "SLIM", version u8, server nonce (16 bytes), server proof (32 bytes)
    client -> server   client proof (32 bytes)
    server -> client   acceptance (32 bytes)

A proof is HMAC-SHA256 over label, hello and server nonce, keyed with the secret. Both nonces are in every proof, so a
recorded connection cannot be replayed; the labels differ, so a proof cannot be reflected. Kind and epoch are covered:
a connection meant for another purpose or an earlier attempt is refused. Inside TLS both certificates are covered, too
(`binding`): a proof made for one pair of ends is none between others, nor without TLS.
"""

from __future__ import annotations

import hmac
import secrets
import struct
from dataclasses import dataclass
from enum import IntEnum

from harness.errors import ProtocolError
from harness.migration.tls_stream import TlsStream
from harness.migration.transport import Deadline, Stream, Tick, receive_exactly, send_all

MAGIC = b"SLIM"
VERSION = 1
NONCE_BYTES = 16
PROOF_BYTES = 32
SECRET_BYTES = 32

_HELLO = struct.Struct(">4sBBI16s")
_CHALLENGE = struct.Struct(">4sB16s32s")
HELLO_BYTES = _HELLO.size
CHALLENGE_BYTES = _CHALLENGE.size


class Kind(IntEnum):
    """What a connection is for."""

    CONTROL = 1
    STATELET = 2
    SNAPSHOT = 3


@dataclass(frozen=True, slots=True)
class Hello:
    kind: Kind
    epoch: int
    nonce: bytes

    def pack(self) -> bytes:
        return _HELLO.pack(MAGIC, VERSION, self.kind, self.epoch, self.nonce)


@dataclass(frozen=True, slots=True)
class SessionKeys:
    """Keys of one authenticated connection, one per direction."""

    to_server: bytes
    to_client: bytes


def parse_hello(data: bytes) -> Hello:
    """Raises ProtocolError on anything but a hello of this version."""
    if len(data) != HELLO_BYTES:
        raise ProtocolError(f"hello of {len(data)} bytes, expected {HELLO_BYTES}")
    magic, version, kind, epoch, nonce = _HELLO.unpack(data)
    _check_version(magic, version)
    try:
        return Hello(Kind(kind), epoch, nonce)
    except ValueError:
        raise ProtocolError(f"hello for the unknown kind of connection {kind}") from None


def parse_challenge(data: bytes) -> tuple[bytes, bytes]:
    """Server nonce and server proof. Raises ProtocolError."""
    if len(data) != CHALLENGE_BYTES:
        raise ProtocolError(f"challenge of {len(data)} bytes, expected {CHALLENGE_BYTES}")
    magic, version, nonce, proof = _CHALLENGE.unpack(data)
    _check_version(magic, version)
    return nonce, proof


def proof(secret: bytes, label: bytes, hello: Hello, server_nonce: bytes, binding: bytes = b"") -> bytes:
    """32 bytes that only a holder of the secret can make, for this connection and this label.

    binding: of the TLS below, empty without; all that stands before it has a fixed length.
    """
    return hmac.digest(secret, b"slim " + label + b"\0" + hello.pack() + server_nonce + binding, "sha256")


def session_keys(secret: bytes, hello: Hello, server_nonce: bytes, binding: bytes = b"") -> SessionKeys:
    return SessionKeys(
        to_server=proof(secret, b"key to server", hello, server_nonce, binding),
        to_client=proof(secret, b"key to client", hello, server_nonce, binding),
    )


def authenticate_client(
    sock: Stream, secret: bytes, kind: Kind, epoch: int, deadline: Deadline, tick: Tick | None = None
) -> SessionKeys:
    """The connecting side. Raises ProtocolError (refused, not the holder of the secret) and DeadlineExceeded."""
    _check_secret(secret)
    binding = _binding(sock)
    awaited = f"authentication of the {kind.name.lower()} connection"
    hello = Hello(kind, epoch, secrets.token_bytes(NONCE_BYTES))
    send_all(sock, hello.pack(), deadline, awaited, tick)
    server_nonce, server_proof = parse_challenge(_receive(sock, CHALLENGE_BYTES, deadline, awaited, tick))
    if not hmac.compare_digest(server_proof, proof(secret, b"server", hello, server_nonce, binding)):
        raise ProtocolError(f"{awaited}: the listening side does not hold the secret of this run")
    send_all(sock, proof(secret, b"client", hello, server_nonce, binding), deadline, awaited, tick)
    acceptance = _receive(sock, PROOF_BYTES, deadline, awaited, tick)
    if not hmac.compare_digest(acceptance, proof(secret, b"accepted", hello, server_nonce, binding)):
        raise ProtocolError(f"{awaited}: acceptance is not authentic")
    return session_keys(secret, hello, server_nonce, binding)


def authenticate_server(
    sock: Stream, secret: bytes, kind: Kind, epoch: int, deadline: Deadline, tick: Tick | None = None
) -> SessionKeys:
    """The listening side. Raises ProtocolError (wrong secret, kind, epoch or version) and DeadlineExceeded."""
    _check_secret(secret)
    binding = _binding(sock)
    awaited = f"authentication of a {kind.name.lower()} connection"
    hello = parse_hello(_receive(sock, HELLO_BYTES, deadline, awaited, tick))
    server_nonce = secrets.token_bytes(NONCE_BYTES)
    own_proof = proof(secret, b"server", hello, server_nonce, binding)
    challenge = _CHALLENGE.pack(MAGIC, VERSION, server_nonce, own_proof)
    send_all(sock, challenge, deadline, awaited, tick)
    client_proof = _receive(sock, PROOF_BYTES, deadline, awaited, tick)
    if not hmac.compare_digest(client_proof, proof(secret, b"client", hello, server_nonce, binding)):
        raise ProtocolError(f"{awaited}: the connecting side does not hold the secret of this run")
    if hello.kind is not kind:
        raise ProtocolError(f"{awaited}: the connection is meant as {hello.kind.name.lower()}")
    if hello.epoch != epoch:
        raise ProtocolError(f"{awaited}: epoch {hello.epoch}, expected {epoch}")
    send_all(sock, proof(secret, b"accepted", hello, server_nonce, binding), deadline, awaited, tick)
    return session_keys(secret, hello, server_nonce, binding)


def _receive(sock: Stream, size: int, deadline: Deadline, awaited: str, tick: Tick | None) -> bytes:
    data = bytearray(size)
    receive_exactly(sock, memoryview(data), deadline, awaited, tick)
    return bytes(data)


def _binding(sock: Stream) -> bytes:
    return sock.binding if isinstance(sock, TlsStream) else b""


def _check_version(magic: bytes, version: int) -> None:
    if magic != MAGIC:
        raise ProtocolError("the peer does not speak this protocol")
    if version != VERSION:
        raise ProtocolError(f"the peer speaks protocol version {version}, this side {VERSION}")


def _check_secret(secret: bytes) -> None:
    if len(secret) != SECRET_BYTES:
        raise ProtocolError(f"secret of {len(secret)} bytes, {SECRET_BYTES} are required")
