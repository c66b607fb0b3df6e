"""Offers one direction of an uplink more than its meter lets through, on the wire itself, and samples the meter."""

from __future__ import annotations

import socket
import struct
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from harness.calibrate.asked import meter_of
from harness.calibrate.figures import Direction, RateFigure
from harness.calibrate.metering import MeterSample, metered_rate, pauses
from harness.dataplane.packet_socket import SO_SNDBUFFORCE, mac_bytes, set_buffer
from harness.dataplane.port import make_vectors, send_burst
from harness.dataplane.scheduling import set_dataplane_scheduling
from harness.errors import HarnessError
from harness.measure.host import load_between, read_host
from harness.provision import messages
from harness.provision.netlink import RouteSocket
from harness.provision.tasks.lookup import link_names
from harness.testbed import topology as names
from harness.testbed.counters import QdiscCounters, decode_qdiscs
from harness.testbed.testbed import Testbed

NOBODYS_MAC = "02:00:00:00:77:77"
"""No table has an entry for it: the frame ends at the far end of the link, and nobody spends time on it."""
ETHERTYPE = 0x88B6  # IEEE 802 local experimental ethertype 2
OFFER = 1.3
"""Offered, as a share of the meter's rate, once frames wait for tokens; the meter may slow the sender to its rate."""
MEASURE_NS = 240_000_000
SHORT_NS = 160_000_000
FILL_DEADLINE_NS = 300_000_000
"""For using up the bucket at the sender's full speed: far more than a bucket of 20 ms takes."""
SAMPLE_NS = 20_000_000
FRAME_BYTES_MAX, FRAME_BYTES_MIN = 1400, 64
FRAMES_WANTED = 375
"""Frames within MEASURE_NS on a slow link: they are made smaller, so that one frame is a small part of the figure."""
_PAUSE_S = 50e-6
_BURST_FRAMES = 64
_SEND_BUFFER_BYTES = 16 << 20
"""More than the meter's queue holds; an ordinary user gets what net.core.wmem_max allows."""
_READING_NS, _READINGS_MAX = 300_000, 4
"""A reading that took longer was interrupted, and its moment is uncertain by as much: it is made again."""
_SETTLE_DEADLINE_NS = 500_000_000


def frame_bytes_for(rate_bps: int) -> int:
    """Size of the frames offered to a meter of that rate."""
    wanted = rate_bps * MEASURE_NS // (8 * 1_000_000_000 * FRAMES_WANTED)
    return min(FRAME_BYTES_MAX, max(FRAME_BYTES_MIN, wanted))


@dataclass(frozen=True)
class Place:
    """Where a direction's meter sits (the sending end), and the other end of the link."""

    node: str
    link: str
    far_node: str
    far_link: str


def place_of(instance: str, direction: Direction) -> Place:
    """The meter of one direction of an instance's uplink, and the far end."""
    if direction == "towards":
        return Place(names.FABRIC, instance, instance, names.UPLINK)
    return Place(instance, names.UPLINK, names.FABRIC, instance)


class Meter:
    """Reads one meter's counters without the rest of the testbed, so that a reading is one instant."""

    def __init__(self, testbed: Testbed, place: Place) -> None:
        netns = testbed.topology.netns(place.node)
        self._place = place
        self._route = RouteSocket(testbed.connection.socket_in(netns, socket.AF_NETLINK, socket.SOCK_RAW))
        self._names = link_names(self._route)

    def read(self) -> tuple[int, QdiscCounters]:
        """When (CLOCK_MONOTONIC ns), and what it had counted. HarnessError where the link has no meter."""
        at_ns, took_ns, answer = 0, 1 << 62, list[bytes]()
        for _ in range(_READINGS_MAX):
            before_ns = time.monotonic_ns()
            read = self._route.dump_raw(messages.qdiscs_dump())
            after_ns = time.monotonic_ns()
            if after_ns - before_ns < took_ns:
                at_ns, took_ns, answer = (before_ns + after_ns) // 2, after_ns - before_ns, read
            if took_ns < _READING_NS:
                break
        for counters in decode_qdiscs(self._place.node, answer, self._names):
            if counters.link == self._place.link and counters.kind == "tbf":
                return at_ns, counters
        raise HarnessError(f"calibration: {self._place.node}/{self._place.link} has no meter")

    def close(self) -> None:
        self._route.close()


class _Offer:
    """A sender on the wire: every frame is offered once; what the meter refuses is gone."""

    def __init__(self, sock: socket.socket | None, frame: bytes) -> None:
        self._fd = -1 if sock is None else sock.fileno()
        self._frames = np.frombuffer(bytearray(frame), np.uint8).reshape(1, -1)
        self._vectors = make_vectors(_BURST_FRAMES)
        self._vectors.lengths[:] = len(frame)
        self._last_ns = 0
        self._longest_pause_ns = 0
        self.frame_bytes = len(frame)
        self.frames = 0

    def burst(self, frames: int) -> None:
        """Offer up to `frames` frames; what does not fit the socket's own buffer is not offered."""
        self._note_pause()
        send_burst(self._fd, min(frames, _BURST_FRAMES), self._frames, self._vectors)
        sent, refused = (int(count) for count in self._vectors.result[:2])
        self.frames += sent + refused

    def _note_pause(self) -> None:
        now_ns = time.monotonic_ns()
        if self._last_ns:
            self._longest_pause_ns = max(self._longest_pause_ns, now_ns - self._last_ns)
        self._last_ns = now_ns

    def take_pause_ns(self) -> int:
        """Longest time between the beginnings of two bursts, or until now, since the last call."""
        self._note_pause()
        pause_ns, self._longest_pause_ns = self._longest_pause_ns, 0
        return pause_ns


def prepare() -> None:
    """Have the compiled sender loaded (or compiled, once for these sources), so that no measurement waits for it."""
    _Offer(None, bytes(FRAME_BYTES_MIN)).burst(0)


def measure_rate(
    testbed: Testbed, scheduler: str, instance: str, direction: Direction, measure_ns: int = MEASURE_NS
) -> RateFigure:
    """Overload one direction of an instance's uplink for about `measure_ns` and see what its meter lets through.

    The frames start at the meter's own link, so that neither the bridge nor another link can be what limits them.
    Nothing else may use the uplink meanwhile. scheduler: of the sending thread (dataplane.scheduler). HarnessError when
    the link or its meter is not there.
    """
    place = place_of(instance, direction)
    asked = meter_of(testbed.topology, instance, direction)
    if asked.rate_bps is None:
        raise HarnessError(f"calibration: {place.node}/{place.link} has no meter")
    rate_bps, frame_bytes = asked.rate_bps, frame_bytes_for(asked.rate_bps)
    netns = testbed.topology.netns(place.node)
    header = mac_bytes(NOBODYS_MAC) + mac_bytes(names.CONTROLLER_MAC) + struct.pack("!H", ETHERTYPE)
    arrived_before = testbed.counters().link(place.far_node, place.far_link).rx_packets
    meter = Meter(testbed, place)
    try:
        with testbed.connection.socket_in(netns, socket.AF_PACKET, socket.SOCK_RAW) as sock:
            set_buffer(sock, SO_SNDBUFFORCE, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
            sock.bind((place.link, 0))  # protocol 0: it receives nothing
            host = read_host({})
            offer = _Offer(sock, header.ljust(frame_bytes, b"\0"))
            _, before = meter.read()
            with ThreadPoolExecutor(1, thread_name_prefix="overload") as executor:
                # In a thread of its own, which gets the scheduling of a dataplane's thread.
                work = executor.submit(_overload, meter, offer, rate_bps, (scheduler, measure_ns))
                samples, offered_bps = work.result()
            time.sleep(asked.latency_ns / 1e9)  # with netem the last frames reach the meter only then
            after = _settled(meter)
    finally:
        meter.close()
    arrived = testbed.counters().link(place.far_node, place.far_link).rx_packets - arrived_before
    found = metered_rate(samples, asked.burst_ns)
    return RateFigure(
        instance=instance,
        direction=direction,
        asked_bps=rate_bps,
        offered_bps=offered_bps,
        frame_bytes=frame_bytes,
        intervals=0 if found is None else found.intervals,
        measured_bps=None if found is None else found.rate_bps,
        minimum_bps=None if found is None else found.minimum_bps,
        maximum_bps=None if found is None else found.maximum_bps,
        stalled=any(pauses(sample, asked.burst_ns) for sample in samples),
        resolution_bps=0 if found is None else round(2 * frame_bytes * 8e9 / found.duration_ns),
        metered_packets=after.sent_packets - before.sent_packets,
        arrived_packets=arrived,
        idle_fraction=load_between(host, read_host({})).idle_fraction,
    )


def _use_up_burst(meter: Meter, offer: _Offer) -> None:
    """Send at full speed until frames wait for tokens; on a machine slower than the meter that never happens."""
    waits = meter.read()[1].overlimits
    end_ns = time.monotonic_ns() + FILL_DEADLINE_NS
    look_ns = 0
    while (now_ns := time.monotonic_ns()) < end_ns:
        offer.burst(_BURST_FRAMES)
        if now_ns >= look_ns:
            look_ns = now_ns + SAMPLE_NS // 4
            if meter.read()[1].overlimits > waits:
                return


def _overload(meter: Meter, offer: _Offer, rate_bps: int, how: tuple[str, int]) -> tuple[list[MeterSample], int]:
    """Samples, once the burst is used up, and the rate that was offered meanwhile; how: (scheduler, duration in ns)."""
    scheduler, measure_ns = how
    set_dataplane_scheduling(scheduler)
    _use_up_burst(meter, offer)
    frame_ns = offer.frame_bytes * 8e9 / (OFFER * rate_bps)
    offer.frames, samples = 0, list[MeterSample]()
    start_ns = sample_ns = time.monotonic_ns()
    while (now_ns := time.monotonic_ns()) < start_ns + measure_ns:
        if now_ns >= sample_ns:
            pause_ns = offer.take_pause_ns()
            at_ns, counters = meter.read()
            samples.append(MeterSample(at_ns, counters.sent_bytes, counters.overlimits, pause_ns))
            sample_ns = now_ns + SAMPLE_NS
        due = int((now_ns - start_ns) / frame_ns) + 1 - offer.frames
        if due > 0:
            offer.burst(due)
        else:
            time.sleep(_PAUSE_S)
    took_ns = time.monotonic_ns() - start_ns
    return samples, round(offer.frames * offer.frame_bytes * 8e9 / took_ns)


def _settled(meter: Meter) -> QdiscCounters:
    """The counters once nothing waits in the meter any more."""
    end_ns = time.monotonic_ns() + _SETTLE_DEADLINE_NS
    while True:
        at_ns, counters = meter.read()
        if counters.backlog_packets == 0 or at_ns > end_ns:
            return counters
        time.sleep(0.001)
