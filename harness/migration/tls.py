"""TLS 1.3 under the authentication of a connection: both sides show a certificate, and each knows the other's before.

Every node of a run has a self-signed certificate of its own (harness.migration.certificates) and is told those of the
nodes it speaks with, so a node cannot pass for another one although all three hold the secret of the run. There are
no tickets, no resumption and hence no early data. The handshake of harness.migration.handshake runs inside, and its
proofs cover the fingerprints of both certificates: what was said on a connection between other ends proves nothing
here. (The fingerprints stand for a channel binding of RFC 9266, which Python's ssl cannot give. They bind to the two
ends and not to the connection; the nonces of the handshake do that.)
"""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field

from harness.errors import ProtocolError, UsageError
from harness.migration.tls_stream import TlsStream, fingerprint
from harness.migration.transport import NOT_YET, Deadline, Tick, broken, wait_ready, wanted_events

CONTROLLER = "controller"
"""Names of the three ends of a run's connections."""
SOURCE = "source"
DESTINATION = "destination"


@dataclass(frozen=True, slots=True)
class TlsParty:
    """What one node is told for one run: its own certificate and key, and its peers' certificates by name, all PEM."""

    certificate: str
    key: str = field(repr=False)
    peers: Mapping[str, str]


class Tls:
    """Encrypts the connections of one node. Raises UsageError, without a word of it, where a key does not load."""

    def __init__(self, party: TlsParty) -> None:
        try:
            self._own = fingerprint(ssl.PEM_cert_to_DER_cert(party.certificate))
            self._peers = {name: ssl.PEM_cert_to_DER_cert(pem) for name, pem in party.peers.items()}
            self._servers = {name: _context(party, pem, True) for name, pem in party.peers.items()}
            self._clients = {name: _context(party, pem, False) for name, pem in party.peers.items()}
        except (OSError, ValueError):
            raise UsageError("TLS: key or certificates of this run do not load") from None

    def accept(self, sock: socket.socket, peer: str, deadline: Deadline, tick: Tick | None = None) -> TlsStream:
        """The listening side; `sock` is closed where it fails. Raises ProtocolError (not `peer`), DeadlineExceeded."""
        return self._secure(sock, peer, True, deadline, tick)

    def connect(self, sock: socket.socket, peer: str, deadline: Deadline, tick: Tick | None = None) -> TlsStream:
        """The connecting side; as `accept`."""
        return self._secure(sock, peer, False, deadline, tick)

    def _secure(
        self, sock: socket.socket, peer: str, is_server: bool, deadline: Deadline, tick: Tick | None
    ) -> TlsStream:
        awaited = f"TLS with the {peer}"
        context = (self._servers if is_server else self._clients)[peer]
        try:
            secured = context.wrap_socket(
                sock, server_side=is_server, do_handshake_on_connect=False, suppress_ragged_eofs=False
            )
        except (OSError, ValueError) as error:
            sock.close()
            raise ProtocolError(f"{awaited}: the connection has ended") from error
        try:
            while True:
                try:
                    secured.do_handshake()
                    break
                except NOT_YET as error:
                    wait_ready(secured, wanted_events(error), deadline, awaited, tick)
                except (OSError, ValueError) as error:
                    raise broken(awaited, error) from error
            # The one trusted certificate is the peer's own; nothing that it may have signed counts.
            shown = secured.getpeercert(binary_form=True)
            if shown != self._peers[peer]:
                raise ProtocolError(f"{awaited}: the certificate is another one")
            ends = (fingerprint(shown), self._own) if is_server else (self._own, fingerprint(shown))
            return TlsStream(secured, b"".join(ends))
        except BaseException:
            secured.close()
            raise


def _context(party: TlsParty, peer_pem: str, is_server: bool) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if is_server else ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False  # one certificate is known and no other is good
    context.verify_mode = ssl.CERT_REQUIRED
    context.options |= ssl.OP_NO_TICKET
    if is_server:
        context.num_tickets = 0
    context.load_verify_locations(cadata=peer_pem)
    _load_key(context, party)
    return context


def _load_key(context: ssl.SSLContext, party: TlsParty) -> None:
    """ssl takes keys from files only: this one is in memory, has no name, and is gone when it is loaded."""
    descriptor = os.memfd_create("key", os.MFD_CLOEXEC)
    try:
        with open(descriptor, "wb", closefd=False) as file:
            file.write(party.key.encode() + party.certificate.encode())
        context.load_cert_chain(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)
