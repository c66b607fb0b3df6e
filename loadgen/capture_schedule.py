"""When which packet of a capture is sent: its own times, stretched to a pace and repeated to the end of the load."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from harness.errors import UsageError
from loadgen.capture_flows import CapturedLoad

NS_PER_S = 1_000_000_000
PACKETS_MAX = 1 << 26
FLOWS_MAX = 1_000_000
FIRST_PORT, LAST_PORT = 10_000, 65_535
_BITS_BOTH_WAYS = 16
"""Of a byte that is sent: the request's and the reply's."""


class CaptureConfiguration(BaseModel):
    """What to make of a capture file.

    pace: "rate": times stretched alike until requests and replies together are `rate_bps`; "capture": the capture's own
    times, `speed` times as fast. hosts and echo_addresses: how many there are to spread its addresses over.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: Path
    pace: Literal["rate", "capture"]
    speed: float = Field(default=1.0, gt=0, le=1_000_000, allow_inf_nan=False)
    rate_bps: int = Field(ge=1, le=10**12)
    duration_ns: int = Field(ge=1_000_000, le=3_600 * NS_PER_S)
    hosts: int = Field(ge=1, le=4096)
    echo_addresses: int = Field(ge=1, le=256)


@dataclass(frozen=True)
class CaptureSchedule:
    """Of each packet sent: due time after the start of the load int64[N] (ascending), flow uint32[N], and which packet
    of the capture it is, uint32[N]. Of each flow int64[F]: host and echo address by number, interior and echo port,
    protocol. Every repetition opens the flows of the capture anew, as flows of its own.
    """

    offset_ns: npt.NDArray[np.int64]
    flow: npt.NDArray[np.uint32]
    template: npt.NDArray[np.uint32]
    flow_host: npt.NDArray[np.int64]
    flow_port: npt.NDArray[np.int64]
    flow_echo: npt.NDArray[np.int64]
    flow_echo_port: npt.NDArray[np.int64]
    flow_protocol: npt.NDArray[np.int64]
    repetitions: int


def build_capture_schedule(load: CapturedLoad, configuration: CaptureConfiguration) -> CaptureSchedule:
    """The whole schedule. Raises UsageError for a pace, a number of packets or of flows that is not possible."""
    path, duration_ns = configuration.path, configuration.duration_ns
    sizes = np.array([packet.frame_bytes for packet in load.packets], np.int64)
    flow = np.array(load.flow, np.int64)
    times_ns = np.array([packet.time_ns for packet in load.packets], np.int64)
    times_ns -= times_ns[0]
    if configuration.pace == "rate":
        # What the load needs of a longer capture, no more: its beginning.
        needed_bytes = configuration.rate_bps * duration_ns / (_BITS_BOTH_WAYS * NS_PER_S)
        count = min(int(np.searchsorted(np.cumsum(sizes), needed_bytes)) + 1, sizes.size)
        period_ns = float(sizes[:count].sum()) * _BITS_BOTH_WAYS * NS_PER_S / configuration.rate_bps
        scale = period_ns / (_with_last_gap(times_ns[:count]) or 1)
    else:
        count = int(np.searchsorted(times_ns, duration_ns * configuration.speed))
        period_ns = _with_last_gap(times_ns) / configuration.speed
        scale = 1 / configuration.speed
        if period_ns == 0:
            raise UsageError(
                f'{path}: all its packets have the same time, so it has no pace of its own; use pace "rate"'
            )
    offset_ns, flow = times_ns[:count] * scale, flow[:count]
    repetitions = max(1, int(np.ceil(duration_ns / period_ns)))
    if repetitions * count > PACKETS_MAX:
        raise UsageError(f"{path}: {repetitions} times {count} packets are too many (at most {PACKETS_MAX})")
    flows = int(flow.max()) + 1
    starts_ns = np.arange(repetitions) * period_ns
    offsets_ns = (starts_ns[:, None] + offset_ns[None, :]).ravel().astype(np.int64)
    all_flows = (np.arange(repetitions)[:, None] * flows + flow[None, :]).ravel()
    sent = offsets_ns < duration_ns
    columns = _flow_columns(load, flows, repetitions, configuration)
    return CaptureSchedule(
        offset_ns=offsets_ns[sent],
        flow=all_flows[sent].astype(np.uint32),
        template=np.tile(np.arange(count, dtype=np.uint32), repetitions)[sent],
        repetitions=repetitions,
        **columns,
    )


def _with_last_gap(times_ns: npt.NDArray[np.int64]) -> float:
    """From the first to behind the last packet, which is given the mean gap; 0 where there is but one time."""
    span_ns = float(times_ns[-1])
    return span_ns * times_ns.size / (times_ns.size - 1) if times_ns.size > 1 else 0.0


def _flow_columns(
    load: CapturedLoad, flows: int, repetitions: int, configuration: CaptureConfiguration
) -> dict[str, npt.NDArray[np.int64]]:
    """Arrays int64[F] by name; every flow has a port of its own on its host."""
    used = load.flows[:flows]
    host = np.array([flow.host % configuration.hosts for flow in used], np.int64)
    per_host = np.bincount(host, minlength=configuration.hosts)
    ports = int(per_host.max()) * repetitions
    if ports > LAST_PORT - FIRST_PORT + 1 or flows * repetitions > FLOWS_MAX:
        raise UsageError(
            f"{configuration.path}: {repetitions} times {flows} flows need {ports} ports on one of "
            f"{configuration.hosts} hosts; give more hosts (load.hosts), a longer capture or a shorter load"
        )
    place = np.zeros(flows, np.int64)
    for number in range(configuration.hosts):
        of_host = host == number
        place[of_host] = np.arange(np.count_nonzero(of_host))
    first = FIRST_PORT + np.arange(repetitions)[:, None] * per_host[host][None, :]

    def repeated(values: list[int]) -> Any:
        return np.tile(np.array(values, np.int64), repetitions)

    return {
        "flow_host": np.tile(host, repetitions),
        "flow_port": (first + place[None, :]).ravel(),
        "flow_echo": repeated([flow.server % configuration.echo_addresses for flow in used]),
        "flow_echo_port": repeated([flow.server_port for flow in used]),
        "flow_protocol": repeated([flow.protocol for flow in used]),
    }


def figures(load: CapturedLoad, schedule: CaptureSchedule) -> dict[str, Any]:
    """What is sent of the capture and what is not, for the profile and the results. Packets without a number of ours
    are told apart by their IPv4 identification."""
    sizes = np.array([packet.frame_bytes for packet in load.packets], np.int64)[schedule.template]
    numbered = np.array([packet.has_number for packet in load.packets], np.bool_)[schedule.template]
    return {
        "packets": int(schedule.offset_ns.size),
        "bytes": int(sizes.sum()),
        "flows": int(schedule.flow_host.size),
        "hosts": int(np.unique(schedule.flow_host).size),
        "repetitions": schedule.repetitions,
        "unnumbered_packets": int(np.count_nonzero(~numbered)),
        "read_frames": load.read,
        "response_packets": load.responses,
        "opened_flows": load.opened,
        "cut_packets": load.cut,
        "skipped_frames": dict(sorted(load.skipped.items())),
    }
