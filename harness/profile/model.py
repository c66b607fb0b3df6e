"""The profile: one experiment as data. Every key of a profile file is a field here, under the name of its alias.

Fields are integers of ns, bytes and bit/s whose names carry the unit; the file writes them as text with a unit. Unknown
keys are refused, nothing is coerced, and a profile does not change after it is made.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field

from harness.faults.schedule import Fault, generate
from harness.migration.modes import MODES as RESYNCHRONISATION_MODES
from harness.profile.faults import FaultTable
from harness.profile.links import Impairment, Links
from harness.profile.placement import PlacementTable
from harness.profile.quantities import PositiveTime, Rate, Size, SnapshotRate, Time
from harness.profile.table import Table
from harness.profile.tasks import TaskTable
from harness.profile.workloads import Load
from harness.sink.target import DEFAULT_BUCKET, checked_name, checked_url
from harness.units import parse_rate, parse_size, parse_time

CONTROL = "none"
"""The control: the same load without a migration."""
MODES = (CONTROL, *RESYNCHRONISATION_MODES)
"""What a profile can compare."""


def _as_tuple(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


def _scalar(value: object) -> object:
    if not isinstance(value, bool | int | float | str) or (isinstance(value, float) and not math.isfinite(value)):
        raise ValueError(f"must be text, a finite number or true or false, not {value!r:.60}")
    return value


def _file_name(value: str) -> str:
    if value and not _NAME.fullmatch(value):
        raise ValueError(
            f"{value!r:.80} must be 1 to 64 letters, digits, '_', '-' or '.', not starting with '.' or '-'"
        )
    return value


def _server(value: str) -> str:
    return checked_url(value) if value else value


FIRST_BYTES = 8_192
"""About what a snapshot stream carries beside its filler, for drawing the byte at which something happens to it."""
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}", re.ASCII)

ParameterValue = Annotated[Any, AfterValidator(_scalar)]
"""bool, int, finite float or str."""


class Identity(Table):
    """[profile]"""

    name: Annotated[str, AfterValidator(_file_name)] = Field(
        default="",
        description="Name in results: letters, digits, '_', '.', '-'; the file's name where it is left out.",
    )
    description: str = Field(default="", max_length=1000, description="What the profile is for.")


class Vnf(Table):
    """[vnf]"""

    image: str = Field(default="nat", description="A folder of vnf_images, or an installed image.")
    parameters: dict[str, ParameterValue] = Field(
        default_factory=dict, description="Parameters of the image, as its image.toml lists them."
    )


class Timing(Table):
    """[timing]; s is the start of the measured window."""

    warm_up_ns: PositiveTime = Field(
        default=parse_time("2s"), alias="warm_up", description="The load starts this long before s."
    )
    window_ns: PositiveTime = Field(
        default=parse_time("15s"), alias="window", description="Requests intended in [s, s + window) are measured."
    )
    migrate_at_ns: Time = Field(
        default=parse_time("5s"), alias="migrate_at", description="The migration is triggered at s + migrate_at."
    )
    load_until_ns: PositiveTime = Field(
        default=parse_time("13s"), alias="load_until", description="The load ends at s + load_until."
    )
    wait_for_replies_ns: PositiveTime = Field(
        default=parse_time("2s"),
        alias="wait_for_replies",
        description="So long after the last request replies are received; what comes later is lost.",
    )
    late_ns: PositiveTime = Field(
        default=parse_time("15ms"), alias="late", description="A request whose RTT is longer than this is late."
    )
    interval_ns: PositiveTime = Field(
        default=parse_time("100ms"), alias="interval", description="Length of an interval of the time series."
    )


class Uplink(Table):
    """[uplink]: the one link of each VNF instance; its meter holds for each direction, migration streams included."""

    rate_bps: Rate = Field(default=parse_rate("1Gbit"), alias="rate", description="Bit/s per direction.")
    burst_ns: PositiveTime = Field(
        default=parse_time("20ms"), alias="burst", description="Depth of the meter's bucket, as time at the rate."
    )
    queue_limit_bytes: Size = Field(
        default=parse_size("64KiB"),
        alias="queue_limit",
        description="Bytes that may wait for tokens. The published meter drops instead of queueing: keep it short.",
    )
    latency_ns: Time = Field(default=parse_time("2.5ms"), alias="latency", description="One-way delay per direction.")
    latency_backend: Literal["auto", "netem", "latency_generator", "delay_line", "none"] = Field(
        default="auto",
        description="What delays and impairs: netem, the latency generator in user space, the delay line of the "
        "receiving port (the same constant latency for all instance links, and nothing else), or nothing; 'auto' takes "
        "the first of netem, delay line and latency generator that this machine has and that does what is asked.",
    )


class Deadlines(Table):
    """[migration.deadlines]: longest wait of each phase. Up to the switchover the migration then aborts."""

    connect_ns: PositiveTime = Field(
        default=parse_time("5s"), alias="connect", description="Destination ready and both streams established."
    )
    snapshot_ns: PositiveTime = Field(
        default=parse_time("30s"), alias="snapshot", description="Snapshot sent, read and installed."
    )
    resynchronise_ns: PositiveTime = Field(
        default=parse_time("30s"), alias="resynchronise", description="Until the destination asks for the redirect."
    )
    switchover_ns: PositiveTime = Field(
        default=parse_time("2s"), alias="switchover", description="Source committed and both dataplanes steered."
    )
    drain_ns: PositiveTime = Field(
        default=parse_time("10s"), alias="drain", description="Both drain packets taken by the source, stream closed."
    )
    finish_ns: PositiveTime = Field(
        default=parse_time("30s"), alias="finish", description="Last statelet installed and pkt_q worked off: live."
    )


class Migration(Table):
    """[migration]"""

    modes: Annotated[tuple[str, ...], BeforeValidator(_as_tuple)] = Field(
        default=MODES, min_length=1, description=f"Modes compared by this profile, of: {', '.join(MODES)}."
    )
    filler_bytes: Size = Field(
        default=parse_size("20MiB"),
        alias="filler",
        description="Incompressible bytes behind the snapshot's tables, for the size of a larger state.",
    )
    snapshot_rate_bps: SnapshotRate = Field(
        default="auto",
        alias="snapshot_rate",
        description="Pacing of the snapshot stream only. 'auto' is 0.9 x (uplink rate - offered load while it is on). "
        "The resynchronisation stream is never paced: best effort.",
    )
    pkt_q_packets: int = Field(
        default=65_536, ge=64, le=2**20, description="Packets the destination holds until its state is complete."
    )
    st_q_out_packets: int = Field(default=65_536, ge=64, le=2**22, description="Statelets that may wait at the source.")
    st_q_in_packets: int = Field(
        default=524_288, ge=64, le=2**22, description="Statelets that may wait at the destination."
    )
    encryption: Literal["auto", "tls", "none"] = Field(
        default="auto",
        description="TLS 1.3 under the control connections and state streams. 'auto': where they leave the host.",
    )
    repetitions: int = Field(default=1, ge=1, le=1000, description="Runs per mode.")
    seed: int = Field(default=1, ge=0, lt=2**32, description="Seed of the order of runs and of the filler.")
    attempts: int = Field(
        default=0,
        ge=0,
        le=10,
        description="How often a run tries to migrate while the source still serves. 0: once, and once more for every "
        "[[fault]].",
    )
    deadlines: Deadlines = Field(default_factory=Deadlines)


class Dataplane(Table):
    """[dataplane]"""

    scheduler: Literal["auto", "fifo", "other"] = Field(
        default="auto", description="Policy of dataplane threads: SCHED_FIFO, SCHED_OTHER, or FIFO where permitted."
    )
    tick_ns: PositiveTime = Field(
        default=parse_time("200us"),
        alias="tick",
        description="Delay lines hand dense frames on together, at most half of it before or after their time.",
    )
    burst_packets: int = Field(default=64, ge=1, le=256, description="Packets moved by one system call.")
    receive_buffer_bytes: Size = Field(
        default=parse_size("16MiB"), alias="receive_buffer", description="Socket buffer of a port."
    )
    verify: bool = Field(
        default=True, description="Trace the packets and check the final state against a reference network function."
    )


class InfluxDb(Table):
    """[record.influxdb]: where points are sent while runs go on. The token comes from the environment only."""

    url: Annotated[str, AfterValidator(_server)] = Field(
        default="", description="Address of the server, http://host:port; empty: points stay in their files."
    )
    org: Annotated[str, AfterValidator(checked_name)] = Field(default="", description="Organisation of InfluxDB 2.")
    bucket: Annotated[str, AfterValidator(checked_name)] = Field(
        default=DEFAULT_BUCKET, description="Bucket, or database of InfluxDB 1 and 3."
    )


class Record(Table):
    """[record]"""

    results: str = Field(default="results", min_length=1, description="Folder of the run directories.")
    influxdb: InfluxDb = Field(default_factory=InfluxDb)


class Profile(Table):
    """One experiment, complete and consistent when it comes from `load_profile` or `parse_profile`."""

    profile: Identity = Field(default_factory=Identity)
    vnf: Vnf = Field(default_factory=Vnf)
    load: Load = Field(default_factory=Load)
    timing: Timing = Field(default_factory=Timing)
    uplink: Uplink = Field(default_factory=Uplink)
    links: Links = Field(default_factory=Links)
    impairment: Annotated[tuple[Impairment, ...], BeforeValidator(_as_tuple)] = Field(
        default=(), max_length=100, description="What changes while a run goes on; each is one [[impairment]]."
    )
    migration: Migration = Field(default_factory=Migration)
    dataplane: Dataplane = Field(default_factory=Dataplane)
    record: Record = Field(default_factory=Record)
    placement: PlacementTable = Field(default_factory=PlacementTable)
    fault: Annotated[tuple[FaultTable, ...], BeforeValidator(_as_tuple)] = Field(
        default=(), max_length=16, description="What goes wrong on purpose, in every run."
    )
    task: Annotated[tuple[TaskTable, ...], BeforeValidator(_as_tuple)] = Field(
        default=(), max_length=100, description="What is done on hosts and nodes before and after all runs."
    )

    @property
    def name(self) -> str:
        """Name in results."""
        return self.profile.name

    @property
    def faults(self) -> tuple[Fault, ...]:
        """The schedule of faults of every run."""
        return tuple(table.fault() for table in self.fault)

    @property
    def attempts(self) -> int:
        """How often a run tries to migrate while the source still serves."""
        return self.migration.attempts or 1 + len(self.fault)

    def with_faults(self, faults: Sequence[Fault]) -> Self:
        """The same with another schedule of faults."""
        return self.model_copy(update={"fault": tuple(FaultTable.of(fault) for fault in faults)})

    def with_drawn_faults(self, seed: int) -> Self:
        """The same with the faults of a seed beside its own."""
        drawn = generate(seed, self.migration.filler_bytes + FIRST_BYTES, self.timing.migrate_at_ns)
        return self.with_faults([*self.faults, *drawn])

    def document(self) -> dict[str, Any]:
        """The effective profile as TOML data, every default filled in; parses back to an equal profile.

        Links and tasks of which nothing is said stay unsaid, and so does a placement on one host.
        """
        document = self.model_dump(mode="json", by_alias=True, exclude_none=True)
        if not self.placement.hosts:
            del document["placement"]
        for name in ("links", "impairment", "task"):
            if (said := _without_nothing(document.pop(name))) is not None:
                document[name] = said
        return document


def _without_nothing(value: Any) -> Any:
    """The value without what is None or an empty table or list; None if nothing is left."""
    if isinstance(value, dict):
        said = {key: kept for key, item in value.items() if (kept := _without_nothing(item)) is not None}
        return said or None
    if isinstance(value, list):
        return [kept for item in value if (kept := _without_nothing(item)) is not None] or None
    return value
