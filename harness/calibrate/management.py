"""The path of the state streams: between the instances' management addresses, over TCP as the kernel does it here."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from harness.calibrate.asked import MANAGEMENT_ROUND_TRIP, asked_of
from harness.calibrate.figures import LatencyFigure, TransferFigure, spread_of
from harness.errors import HarnessError
from harness.testbed import topology as names
from harness.testbed.testbed import Testbed

ROUND_TRIPS = 30
ROUND_TRIPS_NS = 500_000_000
"""No further round trip begins after this, so that a long link does not take for ever."""
TRANSFER_NS = 800_000_000
PACED_SHARE = 0.95
"""Of the rate: unpaced TCP saws against a meter that drops instead of queueing (73 to 90 % of 1 Gbit/s within a
second), and would measure itself. Snapshots are paced, too."""
SLOW_START_NS = 300_000_000
"""Left out at the beginning of a transfer: TCP is still finding the rate."""
_SO_MAX_PACING_RATE = 47
_TIMEOUT_S = 2.0
_CHUNK_BYTES = 1 << 18
CROSSINGS = 4
PATH = f"management path to the {names.DESTINATION}, TCP"


@contextmanager
def _connection(testbed: Testbed) -> Iterator[tuple[socket.socket, socket.socket]]:
    """A TCP connection from the source to the destination: (client, server)."""
    source, destination = (testbed.topology.netns(node) for node in (names.SOURCE, names.DESTINATION))
    address = names.MANAGEMENT_ADDRESSES[names.DESTINATION]
    open_socket = testbed.connection.socket_in
    with (
        open_socket(destination, socket.AF_INET, socket.SOCK_STREAM) as listener,
        open_socket(source, socket.AF_INET, socket.SOCK_STREAM) as client,
    ):
        listener.settimeout(_TIMEOUT_S)
        client.settimeout(_TIMEOUT_S)
        try:
            listener.bind((address, 0))
            listener.listen(1)
            client.connect((address, listener.getsockname()[1]))
            server, _ = listener.accept()
        except OSError as error:
            raise HarnessError(f"calibration: {names.SOURCE}, {PATH}: no connection: {error}") from error
        with server:
            server.settimeout(_TIMEOUT_S)
            for end in (client, server):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            yield client, server


def measure_round_trips(testbed: Testbed) -> LatencyFigure:
    """RTT of single bytes that are sent back, one at a time. HarnessError when no connection comes about."""
    times_ns: list[int] = []
    begun = 0
    with _connection(testbed) as (client, server):
        end_ns = time.monotonic_ns() + ROUND_TRIPS_NS
        while begun < ROUND_TRIPS and (started_ns := time.monotonic_ns()) < end_ns:
            begun += 1
            try:
                client.sendall(b"x")
                server.sendall(server.recv(1))
                client.recv(1)
            except OSError:
                break
            times_ns.append(time.monotonic_ns() - started_ns)
    asked = asked_of(testbed.topology, testbed.backend, MANAGEMENT_ROUND_TRIP)
    return LatencyFigure(
        names.SOURCE,
        f"{PATH} round trip",
        CROSSINGS,
        asked.latency_ns,
        begun,
        spread_of(times_ns),
        impairment=asked.impairment,
    )


def measure_transfer(testbed: Testbed, rate_bps: int) -> TransferFigure:
    """A bulk transfer of TRANSFER_NS, paced a little below the meter's rate. HarnessError when no connection comes
    about."""
    paced_bps = int(PACED_SHARE * rate_bps)
    found = stream_state(testbed, time.monotonic_ns() + TRANSFER_NS, paced_bps)
    return TransferFigure(
        names.SOURCE, f"{PATH} goodput", rate_bps, paced_bps, found.payload_bytes, found.duration_ns, found.goodput_bps
    )


@dataclass(frozen=True)
class Stream:
    """A TCP transfer: counted from `counted_from_ns`, when the slow start was over, to `counted_to_ns` (CLOCK_MONOTONIC
    ns; both 0: nothing came in time)."""

    payload_bytes: int
    duration_ns: int
    goodput_bps: int | None
    counted_from_ns: int
    counted_to_ns: int


def stream_state(
    testbed: Testbed, until_ns: int, paced_bps: int | None, sample: Callable[[], None] = lambda: None
) -> Stream:
    """Send from the source to the destination as a migration's streams do, paced or as fast as TCP can.

    until_ns: CLOCK_MONOTONIC; `sample` is called when counting begins and when it ends. HarnessError without a
    connection.
    """
    payload_bytes, counted_bytes = 0, 0
    with _connection(testbed) as (client, server):
        if paced_bps is not None:
            client.setsockopt(socket.SOL_SOCKET, _SO_MAX_PACING_RATE, struct.pack("@Q", paced_bps // 8))
        sender = threading.Thread(target=_send_all, args=(client,), name="calibration transfer", daemon=True)
        started_ns = time.monotonic_ns()
        sender.start()
        buffer = bytearray(_CHUNK_BYTES)
        now_ns, from_ns, to_ns = started_ns, 0, 0
        while now_ns < until_ns:
            try:
                received = server.recv_into(buffer)
            except OSError:
                break
            now_ns = time.monotonic_ns()
            payload_bytes += received
            if not received:
                break
            if from_ns:
                counted_bytes += received
                to_ns = now_ns
            elif now_ns > started_ns + SLOW_START_NS:
                # What arrives while the sample is taken counts from here, too.
                from_ns = now_ns
                sample()
        if to_ns:
            sample()
        client.shutdown(socket.SHUT_RDWR)
        server.close()
        sender.join()
    goodput_bps = round(counted_bytes * 8e9 / (to_ns - from_ns)) if to_ns > from_ns else None
    return Stream(payload_bytes, now_ns - started_ns, goodput_bps, from_ns, to_ns)


def _send_all(client: socket.socket) -> None:
    """Until the connection is ended."""
    chunk = bytes(_CHUNK_BYTES)
    try:
        while True:
            client.sendall(chunk)
    except OSError:
        return
