"""Configuration of an instance's process: the first line on its standard input, a JSON object without unknown keys."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from harness.errors import UsageError
from harness.migration.tls import TlsParty

_Mac = Annotated[str, Field(pattern=r"^([0-9a-f]{2}:){5}[0-9a-f]{2}$")]
_Ipv4 = Annotated[str, Field(pattern=r"^(\d{1,3}\.){3}\d{1,3}$")]
_Count = Annotated[int, Field(ge=0, le=2**40)]
_Pem = Annotated[str, Field(min_length=1, max_length=1 << 14)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class PortConfig(_Section):
    """One dataplane port. `mac` null: every frame of the interface; `arp_address`: answers broadcast ARP for it;
    `netns`: the named namespace the interface is in, null: the process's own."""

    interface: Annotated[str, Field(min_length=1, max_length=15)]
    mac: _Mac | None = None
    arp_address: _Ipv4 | None = None
    vnet_header: bool = False
    netns: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_.-]{0,63}$")] | None = None


class TlsConfig(_Section):
    """This instance's key pair for one run and the certificates of those it speaks with, all PEM."""

    certificate: _Pem
    key: Annotated[str, Field(min_length=1, max_length=1 << 14, repr=False)]
    peers: dict[Annotated[str, Field(pattern=r"^[a-z]{1,32}$")], _Pem]

    def party(self) -> TlsParty:
        return TlsParty(self.certificate, self.key, self.peers)


class VeiConfig(_Section):
    """See harness.vei.main. Role "element": a stateless image (the delay element) without control connection."""

    image: Annotated[str, Field(min_length=1, max_length=64)]
    image_directory: Path
    parameters: dict[str, bool | int | float | str] = {}
    role: Literal["source", "destination", "element"]
    management_address: _Ipv4 | None = None
    control_port: Annotated[int, Field(ge=0, le=65535)] = 0
    secret: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$", repr=False)] = "0" * 64
    drain_token: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$", repr=False)] = "0" * 32
    tls: TlsConfig | None = Field(default=None, repr=False)
    # The same for all instances of a run: which entries a timer tick looks at depends on where they hash to.
    table_seed: Annotated[int, Field(ge=0, lt=2**64, repr=False)] = 0
    ports: Annotated[list[PortConfig], Field(min_length=1, max_length=8)]
    latency_ns: _Count = 0
    scheduler: Literal["auto", "fifo", "other"] = "auto"
    tick_ns: Annotated[int, Field(ge=1, le=10**9)] = 200_000
    burst_packets: Annotated[int, Field(ge=1, le=256)] = 64
    receive_buffer_bytes: _Count = 16 << 20
    slot_bytes: Annotated[int, Field(ge=128, le=1 << 17)] = 1_536
    pkt_q_packets: Annotated[int, Field(ge=2, le=1 << 20)] = 65_536
    delay_packets: Annotated[int, Field(ge=2, le=1 << 20)] = 16_384
    st_q_out_packets: Annotated[int, Field(ge=1, le=1 << 22)] = 65_536
    st_q_in_packets: Annotated[int, Field(ge=1, le=1 << 24)] = 524_288
    trace_path: Path | None = None
    status_path: Path | None = None

    @model_validator(mode="after")
    def _control(self) -> VeiConfig:
        if self.role != "element":
            missing = {"management_address", "secret", "drain_token"} - self.model_fields_set
            if missing or self.management_address is None:
                raise ValueError(f"role {self.role} needs {', '.join(sorted(missing)) or 'management_address'}")
        return self


def parse_config(line: bytes) -> VeiConfig:
    """Raises UsageError that names the first wrong key; it never repeats a value, which may be the secret."""
    try:
        return VeiConfig.model_validate_json(line)
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in fault["loc"]) or "the object"
        raise UsageError(f"configuration of the instance: {where}: {fault['msg']}") from None
