"""How fast a state stream can be sent and received, as it is and in TLS: the transport of a migration over loopback.

Both ends are threads of one process, as if source and destination had to share it; what is sent is the filler of a
snapshot, chunk by chunk with the checks of both sides.
"""

from __future__ import annotations

import time
import zlib
from concurrent.futures import ThreadPoolExecutor

from harness.bench.scope import Scope
from harness.errors import HarnessError
from harness.migration.certificates import make_parties
from harness.migration.handshake import Kind
from harness.migration.snapshot import (
    BODY_BYTES_MAX,
    CHUNK_HEADER_BYTES,
    ChunkKind,
    filler_parts,
    pack_chunk_header,
    parse_chunk_header,
)
from harness.migration.stream import StreamListener, open_stream
from harness.migration.tls import DESTINATION, SOURCE, Tls
from harness.migration.transport import Deadline, Stream, receive_exactly, send_all

_ADDRESS = "127.0.0.1"
_EPOCH = 1
_PART_BYTES = 8 << 20
_DEADLINE_NS = 120_000_000_000


def stream_rates(scope: Scope) -> tuple[list[float], list[float]]:
    """Bytes of state per second, plain and in TLS, `scope.stream_pairs` each, measured in turn. HarnessError where a
    stream breaks."""
    secret = bytes(32)
    chunks = [(pack_chunk_header(ChunkKind.FILLER, part), part) for part in filler_parts(_PART_BYTES, 1)]
    parties = make_parties((SOURCE, DESTINATION), 600.0)
    rates: dict[bool, list[float]] = {False: [], True: []}
    for pair in range(scope.stream_pairs):
        for encrypted in (False, True) if pair % 2 == 0 else (True, False):
            tls = {name: Tls(party) for name, party in parties.items()} if encrypted else {}
            rates[encrypted].append(_rate(chunks * scope.stream_repeats, secret, tls))
    return rates[False], rates[True]


def _rate(chunks: list[tuple[bytes, bytes]], secret: bytes, tls: dict[str, Tls]) -> float:
    deadline = Deadline.after(_DEADLINE_NS)
    listener = StreamListener(_ADDRESS, Kind.SNAPSHOT, _EPOCH, secret, tls.get(DESTINATION))
    try:
        with ThreadPoolExecutor(1) as executor:
            accepting = executor.submit(listener.accept, deadline)
            sender = open_stream(_ADDRESS, listener.port, Kind.SNAPSHOT, _EPOCH, secret, deadline, tls=tls.get(SOURCE))
            receiver = accepting.result()
            try:
                began_ns = time.monotonic_ns()
                received = executor.submit(_receive, receiver, len(chunks), deadline)
                for chunk in chunks:
                    for part in chunk:
                        send_all(sender, part, deadline, "state stream of the bench")
                received_bytes = received.result()
                return received_bytes * 1e9 / (time.monotonic_ns() - began_ns)
            finally:
                sender.close()
                receiver.close()
    finally:
        listener.close()


def _receive(stream: Stream, chunks: int, deadline: Deadline) -> int:
    prefix, body = memoryview(bytearray(CHUNK_HEADER_BYTES)), memoryview(bytearray(BODY_BYTES_MAX))
    received_bytes = 0
    for _ in range(chunks):
        receive_exactly(stream, prefix, deadline, "state stream of the bench")
        header = parse_chunk_header(prefix)
        content = body[: header.body_bytes]
        receive_exactly(stream, content, deadline, "state stream of the bench")
        if zlib.crc32(content, zlib.crc32(header.covered)) != header.crc:
            raise HarnessError("state stream of the bench: a chunk is damaged")
        received_bytes += CHUNK_HEADER_BYTES + header.body_bytes
    return received_bytes
