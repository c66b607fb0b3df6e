"""[links] and [[impairment]]: what single links do to frames, and what changes while a run goes on."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from harness.profile.quantities import PositiveTime, Probability, Rate, Size, Time
from harness.profile.table import Table
from harness.testbed.conditions import Direction, Distribution

LinkName = Literal["loadgen", "echoserver", "source", "destination"]


class Conditions(Table):
    """What one direction of a link does to frames. A key that is left out is as in [uplink] for source and destination;
    the links of load generator and echoserver are then neither metered nor delayed."""

    rate_bps: Rate | None = Field(default=None, alias="rate", description="Bit/s of the meter.")
    burst_ns: PositiveTime | None = Field(
        default=None, alias="burst", description="Depth of the meter's bucket, as time at the rate."
    )
    queue_limit_bytes: Size | None = Field(
        default=None, alias="queue_limit", description="Bytes that may wait for tokens."
    )
    latency_ns: Time | None = Field(default=None, alias="latency", description="One-way delay.")
    ipdv_ns: Time | None = Field(
        default=None,
        alias="ipdv",
        description="Variation of the delay: half-width if it is uniform, else standard deviation (tc-netem(8)). "
        "Frames may overtake each other by it.",
    )
    ipdv_distribution: Distribution | None = Field(
        default=None, description="Of the variation: uniform, normal, pareto or paretonormal."
    )
    loss: Probability | None = Field(default=None, description='Probability that a frame is lost: 0.001 or "0.1%".')
    duplication: Probability | None = Field(default=None, description="Probability that a frame is sent twice.")
    reordering: Probability | None = Field(
        default=None, description="Probability that a frame skips the delay, and so overtakes others."
    )
    corruption: Probability | None = Field(
        default=None, description="Probability that one bit of a frame is flipped; needs netem."
    )


class LinkConditionsTable(Table):
    """[links.<node>]: both directions of the link between a node and the fabric."""

    up: Conditions = Field(default_factory=Conditions, description="From the node towards the fabric.")
    down: Conditions = Field(default_factory=Conditions, description="From the fabric towards the node.")


class Links(Table):
    """[links]: conditions of single links, by node."""

    loadgen: LinkConditionsTable = Field(default_factory=LinkConditionsTable)
    echoserver: LinkConditionsTable = Field(default_factory=LinkConditionsTable)
    source: LinkConditionsTable = Field(default_factory=LinkConditionsTable)
    destination: LinkConditionsTable = Field(default_factory=LinkConditionsTable)

    def of(self, node: str, way: Direction) -> Conditions:
        """What is given for one direction of one link."""
        table: Conditions = getattr(getattr(self, node), way)
        return table


Action = Literal["set", "down", "up", "partition", "cpu"]


class Impairment(Conditions):
    """[[impairment]]: something that changes during a run, and back again where `for` says how long it lasts."""

    at_ns: Time = Field(alias="at", description="It begins at s + at.")
    for_ns: PositiveTime | None = Field(
        default=None, alias="for", description="How long it lasts; to the end of the load where it is left out."
    )
    action: Action = Field(
        default="set",
        description="'set': the keys of [links] given here hold; 'down', 'up': the link as a whole; 'partition': "
        "source and destination cannot reach each other, packets pass; 'cpu': other processes compete for the CPUs.",
    )
    link: LinkName | None = Field(default=None, description="Whose link, for 'set', 'down' and 'up'.")
    direction: Literal["up", "down", "both"] = Field(default="both", description="Of the link, for 'set'.")
    processes: int | None = Field(default=None, ge=1, le=64, description="For 'cpu': how many, 1 if it is left out.")
    share: Probability | None = Field(
        default=None, description="For 'cpu': of the time that each of them computes, all of it if it is left out."
    )
    nice: int | None = Field(default=None, ge=-20, le=19, description="For 'cpu': their nice value.")
    scheduler: Literal["fifo", "other"] | None = Field(
        default=None, description="For 'cpu': SCHED_FIFO of the lowest priority, or SCHED_OTHER."
    )
