"""Configuration and commands of the latency generator: JSON objects without unknown keys, one per line."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from harness.dataplane.element.element import DirectionConditions, ElementSettings
from harness.distributions import quantile_table
from harness.errors import UsageError
from harness.vei.config import PortConfig

UP, DOWN = 1, 0
"""Of a link: from its inner to its outer port (towards the fabric), and the other way; added to twice its number."""
_MAX_DELAY_NS = 60_000_000_000

_Node = Annotated[str, Field(min_length=1, max_length=32)]
_Mac = Annotated[str, Field(pattern=r"^([0-9a-f]{2}:){5}[0-9a-f]{2}$")]
_Delay = Annotated[int, Field(ge=0, le=_MAX_DELAY_NS)]
_Probability = Annotated[float, Field(ge=0.0, le=1.0, allow_inf_nan=False)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ConditionsConfig(_Section):
    """Of one direction, as tc-netem(8) means them: see `harness.testbed.conditions`."""

    latency_ns: _Delay = 0
    ipdv_ns: _Delay = 0
    ipdv_distribution: Literal["uniform", "normal", "pareto", "paretonormal"] = "uniform"
    loss: _Probability = 0.0
    duplication: _Probability = 0.0
    reordering: _Probability = 0.0

    def conditions(self) -> DirectionConditions:
        """As the element takes them."""
        table = None if self.ipdv_distribution == "uniform" else quantile_table(self.ipdv_distribution).tolist()
        return DirectionConditions(
            latency_ns=self.latency_ns,
            ipdv_ns=self.ipdv_ns,
            ipdv_table=table,
            loss=self.loss,
            duplication=self.duplication,
            reordering=self.reordering,
        )


class LinkConfig(_Section):
    """A node's link: the ports it is entered by, `outer` towards the fabric, and what it does to frames each way."""

    node: _Node
    outer: PortConfig
    inner: PortConfig
    counted_addresses: Annotated[list[_Mac], Field(max_length=2)] = []
    up: ConditionsConfig = ConditionsConfig()
    down: ConditionsConfig = ConditionsConfig()


class GeneratorConfig(_Section):
    """See harness.latency_generator.main."""

    links: Annotated[list[LinkConfig], Field(min_length=1, max_length=4)]
    seed: Annotated[int, Field(ge=0, lt=2**64)]
    scheduler: Literal["auto", "fifo", "other"] = "auto"
    tick_ns: Annotated[int, Field(ge=1, le=10**9)] = 200_000
    burst_packets: Annotated[int, Field(ge=1, le=256)] = 64
    receive_buffer_bytes: Annotated[int, Field(ge=0, le=2**40)] = 16 << 20
    slot_bytes: Annotated[int, Field(ge=128, le=1 << 17)] = 20_480
    queue_packets: Annotated[int, Field(ge=1, le=1 << 20)] = 16_384
    status_path: Path | None = None

    def settings(self) -> ElementSettings:
        """As the element takes them."""
        return ElementSettings(
            seed=self.seed,
            counted_addresses=[link.counted_addresses for link in self.links],
            tick_ns=self.tick_ns,
            burst_packets=self.burst_packets,
            queue_packets=self.queue_packets,
            slot_bytes=self.slot_bytes,
            vnet_header=True,
            scheduler=self.scheduler,
            status_path=self.status_path,
        )


class ConditionsCommand(_Section):
    """{"command": "conditions", ...}: from now on the frames of this direction meet these."""

    command: Literal["conditions"]
    number: int
    node: _Node
    direction: Literal["up", "down"]
    conditions: ConditionsConfig


def parse_config(line: bytes) -> GeneratorConfig:
    """Raises UsageError that names the first wrong key."""
    try:
        return GeneratorConfig.model_validate_json(line)
    except ValidationError as error:
        raise UsageError(f"configuration of the latency generator: {_first(error)}") from None


def parse_command(line: bytes) -> ConditionsCommand:
    """Raises UsageError that names the first wrong key."""
    try:
        return ConditionsCommand.model_validate_json(line)
    except ValidationError as error:
        raise UsageError(f"command to the latency generator: {_first(error)}") from None


def _first(error: ValidationError) -> str:
    fault = error.errors(include_url=False, include_input=False)[0]
    return f"{'.'.join(str(part) for part in fault['loc']) or 'the object'}: {fault['msg']}"
