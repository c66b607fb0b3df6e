"""What the two processes are told on their first line of input; unknown keys are refused."""

from __future__ import annotations

from ipaddress import IPv4Address
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from harness.dataplane.packet_socket import mac_bytes
from harness.errors import UsageError
from loadgen.capture_schedule import CaptureConfiguration
from loadgen.payload import FRAME_BYTES_MIN
from loadgen.wire import FRAME_BYTES_MAX
from loadgen.workload import CELLS_MAX, Subscribers, Workload


def _valid_mac(text: str) -> str:
    mac_bytes(text)
    return text


Mac = Annotated[str, AfterValidator(_valid_mac)]
Port = Annotated[int, Field(ge=1, le=65535)]
_Ns = Annotated[int, Field(ge=0, le=3_600_000_000_000)]
_Frame = Annotated[int, Field(ge=FRAME_BYTES_MIN, le=FRAME_BYTES_MAX)]
_Share = Annotated[int, Field(ge=1, le=1_000)]
_STRICT = ConfigDict(extra="forbid", frozen=True)


class SubscribersConfiguration(BaseModel):
    """loadgen.workload.Subscribers"""

    model_config = _STRICT

    cells: int = Field(ge=2, le=CELLS_MAX)
    handover_mean_ns: int = Field(ge=1, le=3_600_000_000_000)
    handover_distribution: str = "uniform"
    repeat_until_confirmed: bool = False


class WorkloadConfiguration(BaseModel):
    """The workload; both processes are given the same (see loadgen.workload.Workload)."""

    model_config = _STRICT

    rate_pps: int = Field(ge=1, le=10_000_000)
    duration_ns: int = Field(ge=1_000_000, le=3_600_000_000_000)
    flows: int = Field(ge=1, le=1_000_000)
    frame_bytes: _Frame
    new_flows_per_s: int = Field(default=0, ge=0, le=100_000)
    new_flow_packets: int = Field(default=4, ge=1, le=100)
    server_packets_per_s: int = Field(default=0, ge=0, le=1_000_000)
    arrivals: str = "constant"
    seed: int = Field(default=0, ge=0, lt=1 << 31)
    on_ns: int = Field(default=100_000_000, ge=1, le=3_600_000_000_000)
    off_ns: int = Field(default=100_000_000, ge=1, le=3_600_000_000_000)
    frame_mix: tuple[tuple[_Frame, _Share], ...] = Field(default=(), max_length=64)
    subscribers: SubscribersConfiguration | None = None

    def workload(self) -> Workload:
        """The same as the schedule takes it. Raises UsageError for a combination that cannot be sent."""
        subscribers = None if self.subscribers is None else Subscribers(**self.subscribers.model_dump())
        return Workload(**{**self.model_dump(), "subscribers": subscribers})


class ProcessConfiguration(BaseModel):
    """What both processes have in common.

    run: number in every packet, so that a packet of another run is not taken for ours; run_directory: where the records
    are written; gateway: address of the VNF on this side, resolved by ARP; gateway_mac: its MAC, to leave the exchange
    out.
    """

    model_config = _STRICT

    run: int = Field(ge=0, le=65535)
    run_directory: Path
    status_path: Path
    interface: str = Field(min_length=1, max_length=15)
    mac: Mac
    gateway: IPv4Address
    gateway_mac: Mac | None = None
    workload: WorkloadConfiguration
    echo_addresses: tuple[IPv4Address, ...] = Field(min_length=1, max_length=256)
    echo_port: Port = 7
    tick_ns: int = Field(default=100_000, ge=1_000, le=10_000_000)
    scheduler: Literal["auto", "fifo", "other"] = "other"
    arp_deadline_ns: _Ns = 10_000_000_000
    receive_buffer_bytes: int = Field(default=16 << 20, ge=1 << 16, le=1 << 30)


class GeneratorConfiguration(ProcessConfiguration):
    """hosts: interior addresses; capture: what is sent, where it is not the workload; extra_latency_ns: added to every
    arrival (the last link's latency where no element of the testbed delays it); drain_ns: how long to receive after the
    last packet was due."""

    hosts: tuple[IPv4Address, ...] = Field(min_length=1, max_length=4096)
    capture: CaptureConfiguration | None = None
    extra_latency_ns: _Ns = 0
    drain_ns: _Ns = 2_000_000_000


class EchoserverConfiguration(ProcessConfiguration):
    """latency_ns: of the link that ends here, where no element of the testbed delays it (0: none); answered_addresses:
    further addresses whose ARP is answered; captured: the load is that of a capture, whose flows `workload` counts;
    pool_frames: how many frames the delay line holds, at least."""

    latency_ns: _Ns = 0
    answered_addresses: tuple[IPv4Address, ...] = Field(default=(), max_length=256)
    captured: bool = False
    pool_frames: int = Field(default=8192, ge=64, le=1 << 18)


ConfigurationT = TypeVar("ConfigurationT", bound=ProcessConfiguration)


def parse_configuration(model: type[ConfigurationT], line: bytes) -> ConfigurationT:
    """Parse the first line of input. Raises UsageError: one line with the key's path."""
    try:
        return model.model_validate_json(line)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "input"
        raise UsageError(f"configuration: {where}: {first['msg']}") from error
