"""One TLS connection on a non-blocking socket, with the few calls harness.migration.transport makes.

A class around ssl.SSLSocket instead of the SSLSocket itself, because several threads use one connection here. OpenSSL
wants one call at a time per connection, and SSLSocket.shutdown forgets the encryption before it ends the connection:
another thread would then send its plaintext, or take ciphertext for the peer's words.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import socket
import ssl
import threading

FINGERPRINT_BYTES = 32


def fingerprint(certificate_der: bytes) -> bytes:
    """SHA-256 of a certificate as it goes over the wire."""
    return hashlib.sha256(certificate_der).digest()


class TlsStream:
    """`binding`: fingerprints of the client's and the server's certificate, 64 bytes; the proofs inside cover it.

    Calls never block: they raise ssl.SSLWantReadError or ssl.SSLWantWriteError where they must be repeated, and
    ssl.SSLEOFError where the peer ended the connection without saying so in TLS.
    """

    def __init__(self, sock: ssl.SSLSocket, binding: bytes) -> None:
        self.binding = binding
        self._sock = sock
        self._lock = threading.Lock()
        self._peer_ended = False

    def fileno(self) -> int:
        return self._sock.fileno()

    def getpeername(self) -> tuple[str, int]:
        host, port = self._sock.getpeername()[:2]
        return str(host), int(port)

    def setsockopt(self, level: int, option: int, value: bytes) -> None:
        """Of the TCP connection below."""
        self._sock.setsockopt(level, option, value)

    def getsockopt(self, level: int, option: int, size: int) -> bytes:
        """Of the TCP connection below."""
        return self._sock.getsockopt(level, option, size)

    def recv_into(self, view: memoryview) -> int:
        """Bytes read, at most one TLS record; 0 when the peer has ended the stream in TLS."""
        with self._lock:
            return 0 if self._peer_ended else self._sock.recv_into(view)

    def send(self, view: memoryview) -> int:
        """Bytes taken, at most one TLS record. After SSLWantWriteError the same bytes must be given again."""
        with self._lock:
            return self._sock.send(view)

    def end_sending(self) -> None:
        """Tell the peer, in TLS and then in TCP, that nothing follows. Raises SSLWantWriteError: repeat.

        A peer that took all it waited for may have closed already; whether it had everything is for its own words to
        say, not for the end of its direction.
        """
        with self._lock:
            try:
                self._sock.unwrap()
                self._peer_ended = True
            except ssl.SSLWantReadError:
                pass  # ours is sent, the peer has not ended its direction
            except (ssl.SSLEOFError, ssl.SSLZeroReturnError, ConnectionError):
                self._peer_ended = True
                return
            try:
                socket.socket.shutdown(self._sock, socket.SHUT_WR)
            except OSError as error:
                # A peer that closes before it has read our last words resets the connection.
                if error.errno != errno.ENOTCONN:
                    raise
                self._peer_ended = True

    def farewell(self) -> None:
        """As `end_sending`, in so far as it can be said at once; for a connection that is closed next."""
        with contextlib.suppress(OSError, ValueError):
            self.end_sending()

    def wake(self) -> None:
        """End both directions of the TCP connection, so that a waiting thread returns; what is encrypted stays so."""
        socket.socket.shutdown(self._sock, socket.SHUT_RDWR)

    def close(self) -> None:
        with self._lock:
            self._sock.close()
