"""[load] and its tables: what is sent, by whom and when."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from harness.profile.quantities import FrameSize, OfferedLoad, PositiveTime, Size, Time
from harness.profile.table import Table
from harness.units import parse_load, parse_time

IMIX: tuple[tuple[int, int], ...] = ((74, 7), (590, 4), (1514, 1))
"""Frame sizes in bytes and their shares: the customary "simple IMIX" of 7:4:1 (RFC 6985 names such mixes),
its smallest frame grown to what carries a payload of ours."""


class Subscribers(Table):
    """[load.subscribers], for the workload "subscribers"; load.flows is how many there are.

    A subscriber attaches to a cell with its first packet and changes it from time to time; the first packet of a new
    cell announces it (paper, section VI-C).
    """

    cells: int = Field(default=64, ge=2, le=65_535, description="Cells a subscriber may be in, numbered from 0.")
    handover_mean_ns: PositiveTime = Field(
        default=parse_time("2s"), alias="handover_mean", description="Mean time a subscriber stays in a cell."
    )
    handover_distribution: Literal["uniform", "exponential"] = Field(
        default="uniform",
        description="Law of that time: uniform between 0 and twice the mean, as published, or exponential.",
    )
    handover_grace_ns: Time = Field(
        default=parse_time("7.5ms"),
        alias="handover_grace",
        description="A packet towards the subscriber may carry the wrong cell for so long after its handover was "
        "announced; later it is lost. Published: 150 % of the round trip between load generator and VNF.",
    )
    repeat_until_confirmed: bool = Field(
        default=False,
        description="Announce in every packet until a reply carries the new cell, instead of once.",
    )


def _as_tuple(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


Words = Annotated[tuple[str, ...], BeforeValidator(_as_tuple)]
"""A program and its arguments."""


class Capture(Table):
    """[load.capture], for the workload "capture": packets of the initiators of a file's UDP and TCP flows over IPv4.

    The echoserver answers in the place of the responders. load.hosts and load.echo_addresses say over how many
    addresses those of the file are spread; load.seed changes nothing.
    """

    path: str = Field(
        default="", description="A pcap or pcapng file, absolute or relative to where the program is started."
    )
    pace: Literal["rate", "capture"] = Field(
        default="rate",
        description="'rate': the file's times are stretched alike until the load is load.rate. 'capture': its own "
        "times; load.rate is then what comes of them.",
    )
    speed: float = Field(
        default=1.0,
        gt=0,
        le=1_000_000,
        allow_inf_nan=False,
        description="How much faster than captured, with 'capture'.",
    )
    mean_frame_bytes: Size = Field(
        default=0, alias="mean_frame", description="Found in the file: mean size of the frames sent. Leave it out."
    )
    flows: int = Field(default=0, ge=0, description="Found in the file: flows of the whole load. Leave it out.")


class Command(Table):
    """[load.command], for the workload "command": a program behind the VNF, and one it talks to through the VNF.

    In every word {server} and {client} stand for their addresses. load.rate is what they are expected to need (of the
    uplink, where 'auto' paces the snapshot by it).
    """

    client: Words = Field(
        default=(), description="Started on the interior side; the run ends with it, and its exit status must be 0."
    )
    server: Words = Field(default=(), description="Started before it on the exterior side; none where it is empty.")
    ready_within_ns: PositiveTime = Field(
        default=parse_time("5s"),
        alias="ready_within",
        description="The server opens a TCP or UDP port within this time.",
    )
    deadline_ns: PositiveTime = Field(
        default=parse_time("60s"), alias="deadline", description="The client ends within this time."
    )


class Load(Table):
    """[load]"""

    workload: Literal["sockets", "subscribers", "capture", "command"] = Field(
        default="sockets",
        description="What sends: UDP sockets; subscribers of a mobile network that change their cell "
        "[load.subscribers]; the flows of a capture file [load.capture]; a program [load.command].",
    )
    rate_bps: OfferedLoad = Field(
        default=parse_load("200M"),
        alias="rate",
        description="Bit/s through the VNF, BOTH directions together: '600M' is 300 Mbit/s of requests and 300 Mbit/s "
        "of replies. Counts whole frames, those of new flows too.",
    )
    frame_sizes: Literal["fixed", "imix"] = Field(
        default="fixed",
        description="'fixed': all frames of load.frame. 'imix': 7 of 74, 4 of 590 and 1 of 1514 bytes in random order, "
        "load.frame is not used.",
    )
    frame_bytes: FrameSize = Field(
        default=512, alias="frame", description="Bytes of a frame, the 42 header bytes included."
    )
    flows: int = Field(
        default=128, ge=1, le=16_384, description="UDP sockets or subscribers there from the start of the load."
    )
    echo_addresses: int = Field(default=4, ge=1, le=4, description="Addresses of the echoserver.")
    hosts: int = Field(default=16, ge=1, le=250, description="Interior hosts the flows belong to.")
    arrivals: Literal["constant", "poisson", "on_off"] = Field(
        default="constant",
        description="Law of the intended send times, whose mean rate is load.rate in any: equal gaps, exponential "
        "gaps, or equal gaps during exponential on times with exponential off times between.",
    )
    on_ns: PositiveTime = Field(
        default=parse_time("100ms"), alias="on", description="Mean on time of the arrivals 'on_off'."
    )
    off_ns: PositiveTime = Field(
        default=parse_time("100ms"), alias="off", description="Mean off time of the arrivals 'on_off'."
    )
    new_flows_per_s: int = Field(
        default=20,
        ge=0,
        le=10_000,
        description="Flows opened all through the load; their requests are part of load.rate.",
    )
    new_flow_packets: int = Field(
        default=8, ge=1, le=100, description="Requests a new flow sends over its life, as far as the load lasts."
    )
    server_packets_per_s: int = Field(
        default=50, ge=0, le=100_000, description="Packets the echoserver originates, beside load.rate."
    )
    seed: int = Field(default=1, ge=0, lt=2**32, description="Seed of everything random in the load.")
    subscribers: Subscribers = Field(default_factory=Subscribers)
    capture: Capture = Field(default_factory=Capture)
    command: Command = Field(default_factory=Command)
