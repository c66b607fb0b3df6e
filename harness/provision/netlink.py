"""A route netlink socket that sends many requests in one system call (RFC 3549, netlink(7)).

pyroute2's message classes encode and decode; the socket is our own because a switchover has to be ONE sendmsg whose
acknowledgements are checked one by one, and because it can then live in any namespace and be used from any thread.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import struct
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from pyroute2.netlink.rtnl.marshal import MarshalRtnl

from harness.errors import HarnessError

NETLINK_ROUTE = 0
_SOL_NETLINK = 270
_NETLINK_EXT_ACK = 11
_NETLINK_GET_STRICT_CHK = 12
_NLMSG_ERROR = 2
_NLMSG_DONE = 3
_NLM_F_ACK_TLVS = 0x200
_NLM_F_CAPPED = 0x100
_NLMSGERR_ATTR_MSG = 1
_HEADER = struct.Struct("=IHHII")
_RECEIVE_BYTES = 1 << 18
_TIMEOUT_S = 5.0


class NetlinkError(HarnessError):
    """The kernel refused a request; the message names the request, the errno and the kernel's own words."""

    def __init__(self, what: str, number: int, detail: str = "") -> None:
        self.what = what
        self.number = number
        words = f" ({detail})" if detail else ""
        super().__init__(f"{what}: {os.strerror(number)}{words}")


class Request(NamedTuple):
    """One encoded netlink message (sequence number not yet set) and the words for it in an error."""

    what: str
    data: bytes


class Acknowledged(NamedTuple):
    """When a batch was handed to the kernel and when its last acknowledgement had been read (CLOCK_MONOTONIC ns)."""

    started_ns: int
    ended_ns: int
    requests: int


def split_messages(data: bytes) -> Iterator[tuple[int, int, int, bytes]]:
    """Messages in a receive buffer as (type, flags, sequence, whole message); a short or overlong length ends it."""
    offset = 0
    while offset + _HEADER.size <= len(data):
        length, kind, flags, sequence, _port = _HEADER.unpack_from(data, offset)
        if length < _HEADER.size or offset + length > len(data):
            return
        yield kind, flags, sequence, data[offset : offset + length]
        offset += (length + 3) & ~3


def attributes(data: bytes, offset: int) -> Iterator[tuple[int, bytes]]:
    """(type, value) of the netlink attributes from `offset`; nested and byte-order flags are masked off."""
    while offset + 4 <= len(data):
        length, kind = struct.unpack_from("=HH", data, offset)
        if length < 4 or offset + length > len(data):
            return
        yield kind & 0x3FFF, data[offset + 4 : offset + length]
        offset += (length + 3) & ~3


def _error_of(what: str, flags: int, message: bytes) -> NetlinkError | None:
    (code,) = struct.unpack_from("=i", message, _HEADER.size)
    if code == 0:
        return None
    detail = ""
    if flags & _NLM_F_ACK_TLVS:
        (echoed,) = struct.unpack_from("=I", message, _HEADER.size + 4)
        start = _HEADER.size + 4 + (_HEADER.size if flags & _NLM_F_CAPPED else (echoed + 3) & ~3)
        for kind, value in attributes(message, start):
            if kind == _NLMSGERR_ATTR_MSG:
                detail = value.rstrip(b"\0").decode(errors="replace")
    return NetlinkError(what, -code, detail)


class RouteSocket:
    """Sends requests over an AF_NETLINK socket made in the wanted namespace. Thread-safe; close it before the
    namespace goes.
    """

    def __init__(self, netlink_socket: socket.socket) -> None:
        self._socket = netlink_socket
        self._socket.setsockopt(_SOL_NETLINK, _NETLINK_EXT_ACK, 1)
        with contextlib.suppress(OSError):  # Linux before 4.20: it then dumps more, and callers filter anyway
            self._socket.setsockopt(_SOL_NETLINK, _NETLINK_GET_STRICT_CHK, 1)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self._socket.settimeout(_TIMEOUT_S)
        self._socket.bind((0, 0))
        self._lock = threading.Lock()
        self._sequence = 0
        self._marshal = MarshalRtnl()

    def close(self) -> None:
        """Close the socket; a socket keeps its namespace alive."""
        self._socket.close()

    def _send(self, requests: Sequence[Request]) -> dict[int, Request]:
        pending: dict[int, Request] = {}
        buffer = bytearray()
        for request in requests:
            self._sequence = self._sequence % 0xFFFFFFFF + 1
            pending[self._sequence] = request
            start = len(buffer)
            buffer += request.data
            struct.pack_into("=II", buffer, start + 8, self._sequence, 0)
            buffer += bytes(-len(buffer) % 4)
        self._socket.send(buffer)
        return pending

    def transact(self, requests: Sequence[Request], ignore: frozenset[int] = frozenset()) -> Acknowledged:
        """Send all `requests` in one sendmsg and wait for every acknowledgement.

        The kernel carries all of them out, also after one was refused. Raises NetlinkError for the first refusal whose
        errno is not in `ignore`; HarnessError when the kernel does not answer in time.
        """
        if not requests:
            now = time.monotonic_ns()
            return Acknowledged(now, now, 0)
        with self._lock:
            started_ns = time.monotonic_ns()
            pending = self._send(requests)
            failure: NetlinkError | None = None
            while pending:
                for kind, flags, sequence, message in split_messages(self._receive(requests[0].what)):
                    if kind != _NLMSG_ERROR or sequence not in pending:
                        continue
                    error = _error_of(pending.pop(sequence).what, flags, message)
                    if error is not None and failure is None and error.number not in ignore:
                        failure = error
            ended_ns = time.monotonic_ns()
        if failure is not None:
            raise failure
        return Acknowledged(started_ns, ended_ns, len(requests))

    def dump_raw(self, request: Request) -> list[bytes]:
        """The answer to a dump or get request as undecoded messages; NetlinkError when the kernel refuses it."""
        with self._lock:
            (sequence,) = self._send([request])
            answer: list[bytes] = []
            while True:
                for kind, flags, number, message in split_messages(self._receive(request.what)):
                    if number != sequence:
                        continue
                    if kind == _NLMSG_ERROR:
                        error = _error_of(request.what, flags, message)
                        if error is not None:
                            raise error
                        return answer
                    if kind == _NLMSG_DONE:
                        return answer
                    answer.append(message)

    def dump(self, request: Request) -> list[Any]:
        """The answer to a dump or get request as pyroute2 messages."""
        return [decoded for raw in self.dump_raw(request) for decoded in self._marshal.parse(raw)]

    def _receive(self, what: str) -> bytes:
        try:
            return self._socket.recv(_RECEIVE_BYTES)
        except TimeoutError as error:
            raise HarnessError(f"{what}: the kernel did not answer within {_TIMEOUT_S:.0f} s") from error
        except OSError as error:
            raise NetlinkError(what, error.errno or errno.EIO) from error
