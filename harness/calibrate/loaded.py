"""The links at half of their rate: latency of every crossing, and a stream of state that competes with the load.

One load through the VNF lasts for all of it. Its packets are the probes while it runs alone, through the source and
then through the destination; then it goes through the source again, beside TCP from the source to the destination as a
migration's streams are, under the meter that both share.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from harness.calibrate.asked import asked_of, meter_of, paths_of
from harness.calibrate.crossings import Stations, Times, crossings_of, first_of
from harness.calibrate.figures import CompetitionFigure, LatencyFigure, spread_of
from harness.calibrate.management import PACED_SHARE, Stream, stream_state
from harness.calibrate.overload import Meter, place_of
from harness.calibrate.probe_profile import Traffic, half_load, traffic_profile
from harness.calibrate.probes import Act, Processes, carry_load, latency_figures, read_packets, stations_of
from harness.measure.host import HostSample, load_between, read_host
from harness.measure.packets import PacketRecords
from harness.profile.model import Profile
from harness.testbed import topology as names
from harness.testbed.testbed import Launched, Testbed

MS = 1_000_000
LEAD_NS = 300 * MS
THROUGH_SOURCE_NS, THROUGH_DESTINATION_NS = 450 * MS, 850 * MS
"""Until when the load goes alone through either instance."""
STREAM_NS = 750 * MS
STREAMS_AT_NS = (950 * MS, 1_850 * MS)
LOAD_NS = 2_700 * MS
CHANGE_NS = 50 * MS
"""Beside a round trip, around a change of the steering: what was on its way is lost, as it must be."""


@dataclass(frozen=True)
class _Streamed:
    """A stream beside the load: the meter's counters (when, bytes) and the machine when counting began and ended."""

    paced_bps: int | None
    stream: Stream
    metered: list[tuple[int, int]]
    host: tuple[HostSample, HostSample]


@dataclass
class LoadedLinks:
    """A load at half of the slowest link's rate; `carry_out` runs it, `latencies` and `competitions` read it."""

    testbed: Testbed
    processes: Processes
    traffic: Traffic
    congestion_control: str
    _launched: list[Launched] = field(default_factory=list)
    _streams: list[_Streamed] = field(default_factory=list)
    _host: list[HostSample] = field(default_factory=list)
    _start_ns: int = 0
    _load_folder: Path = Path()

    def launch(self, profile: Profile) -> None:
        """Start the load's processes; the load before must have ended."""
        self._launched = self.processes.begin_load(traffic_profile(profile, self.traffic))
        self._load_folder = self.processes.load_folder

    def carry_out(self, tell: Callable[[str], None]) -> None:
        """The whole load, with both streams. HarnessError when a process fails."""
        self.processes.load_ready(self._launched)
        steer = self.testbed.fabric.steer
        rate_bps = meter_of(self.testbed.topology, names.SOURCE, "from").rate_bps or 0
        left_bps = int(PACED_SHARE * max(rate_bps - self.traffic.load_bps, 0))
        look: Callable[[int], object] = lambda _: self._host.append(read_host({}))  # noqa: E731
        acts: list[Act] = [
            (-LEAD_NS, lambda _: tell("latency at half load")),
            (0, look),
            (THROUGH_SOURCE_NS, lambda _: steer(names.DESTINATION)),
            (THROUGH_DESTINATION_NS, look),
            (THROUGH_DESTINATION_NS + 1, lambda _: steer(names.SOURCE)),
            (STREAMS_AT_NS[0] - 1, lambda _: tell("competition of TCP and UDP")),
        ]
        acts += [
            (at_ns, lambda at_ns, paced_bps=paced_bps: self._streams.append(self._stream(at_ns, paced_bps)))  # type: ignore[misc]
            for at_ns, paced_bps in zip(STREAMS_AT_NS, (left_bps, None), strict=True)
        ]
        self._start_ns = carry_load(self.processes, acts, LEAD_NS)

    def _stream(self, at_ns: int, paced_bps: int | None) -> _Streamed:
        meter = Meter(self.testbed, place_of(names.SOURCE, "from"))
        metered: list[tuple[int, int]] = []
        hosts: list[HostSample] = []

        def sample() -> None:
            at_ns, counters = meter.read()
            metered.append((at_ns, counters.sent_bytes))
            hosts.append(read_host({}))

        try:
            stream = stream_state(self.testbed, at_ns + STREAM_NS, paced_bps, sample)
        finally:
            meter.close()
        while len(hosts) < 2:
            hosts.append(read_host({}))
        return _Streamed(paced_bps, stream, metered, (hosts[0], hosts[1]))

    def latencies(self, traces: dict[str, tuple[Times, Times]]) -> list[LatencyFigure]:
        """Of the load alone. Without figures where a packet was lost that no change of the steering explains: the
        stations then cannot be told apart by order."""
        packets = read_packets(self._load_folder)
        stations = stations_of(packets, traces, (self._start_ns, 1 << 62))
        changes_ns = [self._start_ns + at_ns for at_ns in (THROUGH_SOURCE_NS, THROUGH_DESTINATION_NS)]
        round_trip = asked_of(self.testbed.topology, self.testbed.backend, paths_of(names.SOURCE).round_trip)
        margin_ns = round_trip.latency_ns + CHANGE_NS
        alone = int(np.count_nonzero(stations.sent_ns < changes_ns[-1] - margin_ns))
        cut = first_of(stations, alone)
        if lost_otherwise(cut, changes_ns, margin_ns):
            cut = Stations(cut.sent_ns, cut.received_ns, *({name: np.zeros(0, np.int64) for name in traces},) * 2)
        idle = load_between(self._host[0], self._host[1]).idle_fraction if len(self._host) > 1 else None
        return latency_figures(self.testbed, crossings_of(cut), self.traffic.load_bps, idle)

    def competitions(self) -> tuple[CompetitionFigure, ...]:
        """A figure per stream."""
        packets = read_packets(self._load_folder)
        rate_bps = meter_of(self.testbed.topology, names.SOURCE, "from").rate_bps or 0
        return tuple(
            competition(packets, streamed, self.traffic.frame_bytes, (rate_bps, self.congestion_control))
            for streamed in self._streams
        )


def lost_otherwise(stations: Stations, changes_ns: list[int], margin_ns: int) -> int:
    """Packets that did not come back and were sent further than `margin_ns` from any change of the steering: they were
    not on their way then."""
    lost_ns = stations.sent_ns[stations.received_ns == 0]
    explained = np.zeros(lost_ns.size, np.bool_)
    for change_ns in changes_ns:
        explained |= np.abs(lost_ns - change_ns) < margin_ns
    return int(np.count_nonzero(~explained))


def competition(
    packets: PacketRecords, streamed: _Streamed, frame_bytes: int, link: tuple[int, str]
) -> CompetitionFigure:
    """What the load and the stream got; link: (rate of the meter, congestion control)."""
    stream = streamed.stream
    from_ns, to_ns = stream.counted_from_ns, max(stream.counted_to_ns, stream.counted_from_ns + 1)
    inside = (packets.intended_ns >= from_ns) & (packets.intended_ns < to_ns)
    back = inside & (packets.received_ns > 0)
    rtt_ns = packets.received_ns[back] - packets.intended_ns[back]
    count, arrived = int(np.count_nonzero(inside)), int(np.count_nonzero(back))
    per_packet_bps = 2 * 8e9 * frame_bytes / (to_ns - from_ns)
    total_bps = None
    if len(streamed.metered) > 1 and streamed.metered[1][0] > streamed.metered[0][0]:
        (began_ns, began_bytes), (ended_ns, ended_bytes) = streamed.metered[:2]
        total_bps = round((ended_bytes - began_bytes) * 8e9 / (ended_ns - began_ns))
    return CompetitionFigure(
        instance=names.SOURCE,
        congestion_control=link[1],
        asked_bps=link[0],
        paced_bps=streamed.paced_bps,
        udp_offered_bps=round(count * per_packet_bps),
        udp_achieved_bps=round(arrived * per_packet_bps),
        udp_packets=count,
        udp_lost_packets=count - arrived,
        rtt=spread_of(rtt_ns.tolist()),
        tcp_goodput_bps=stream.goodput_bps,
        total_bps=total_bps,
        duration_ns=to_ns - from_ns,
        idle_fraction=load_between(*streamed.host).idle_fraction,
    )


def make_loaded_links(testbed: Testbed, processes: Processes, rate_bps: int) -> LoadedLinks:
    """Half load for links of `rate_bps`, the slowest there is."""
    return LoadedLinks(testbed, processes, half_load(rate_bps, LOAD_NS), testbed.congestion_control)
