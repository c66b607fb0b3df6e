"""summary.json of a run and of an experiment: the one place that names their keys. Units are in the names.

null is "not measured", never 0. Unknown keys and numbers that are not finite are refused. The parts that
measurement makes may be given as they are: `LedgerSummary.model_validate(ledger)` reads the attributes.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from harness.errors import UsageError

MAX_SUMMARY_BYTES = 64 << 20

Count = Annotated[int, Field(ge=0)]
Verdict = Literal["VALID", "INVALID", "FAILED"]
Outcome = Literal["completed", "aborted", "failed", "none"]
Encryption = Literal["tls", "none"]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, frozen=True, from_attributes=True)


class ValiditySummary(_Part):
    """Verdict and every reason against VALID, each with its figure and limit."""

    verdict: Verdict
    reasons: tuple[str, ...] = ()


class LoadSummary(_Part):
    """The load as planned: `offered_bps` counts both directions through the VNF, `frame_bytes` the 42 header bytes."""

    offered_bps: Count
    frame_bytes: Count
    one_way_pps: float | None = None
    flows: Count | None = None


class TrafficSummary(_Part):
    """Fields of harness.measure.metrics.TrafficMetrics, which defines them."""

    window_ns: Count
    intended_packets: Count
    delivered_packets: Count
    lost_packets: Count
    late_packets: Count
    wrong_cell_packets: Count | None = None
    offered_pps: float | None
    received_pps: float | None
    offered_bps: float | None
    received_bps: float | None
    loss_s: float | None
    longest_gap_ns: int | None
    longest_gap_start_ns: int | None
    lossy_intervals: Count
    lossy_intervals_s: float
    rtt_late_s: float | None
    largest_bin_mean_rtt_ns: float | None
    rtt_mean_ns: float | None
    rtt_p50_ns: int | None
    rtt_p90_ns: int | None
    rtt_p99_ns: int | None
    rtt_p999_ns: int | None
    rtt_max_ns: int | None
    duplicate_packets: Count
    reordered_packets: Count
    reordered_flows: Count
    server_intended_packets: Count
    server_delivered_packets: Count
    server_lost_packets: Count
    server_duplicate_packets: Count
    server_delay_p50_ns: int | None
    server_delay_p99_ns: int | None
    server_delay_max_ns: int | None


class LedgerRowSummary(_Part):
    """One row; only `unexplained` may be negative, and is then an error of the accounting."""

    name: str
    echo_packets: int
    server_packets: int
    reasons: tuple[LedgerRowSummary, ...] = ()


class HopSummary(_Part):
    """Balance of one hop: entered + duplicated = left + drops + residual."""

    name: str
    entered_packets: Count
    left_packets: Count
    drops: dict[str, Count]
    residual_packets: int
    duplicated_packets: Count = 0


class LedgerSummary(_Part):
    """Every intended packet of the whole run in one row."""

    echo_intended_packets: Count
    server_intended_packets: Count
    rows: tuple[LedgerRowSummary, ...]
    hops: tuple[HopSummary, ...] = ()
    duplicate_packets: Count = 0
    overexplained: bool = False


class InvariantSummary(_Part):
    """One promise and the evidence."""

    name: str
    verdict: Literal["holds", "broken", "unknown"]
    detail: str = ""


class PortDepths(_Part):
    """Largest depth of the destination's pkt_q of either port."""

    interior: Count | None = None
    exterior: Count | None = None


class AttemptSummary(_Part):
    """One attempt to migrate. moved: whether the traffic was given to the destination. Times are CLOCK_MONOTONIC."""

    epoch: Count
    outcome: Outcome
    moved: bool = False
    reason: str = ""
    started_ns: int
    ended_ns: int


class FaultSummary(_Part):
    """A fault of the schedule and what came of it: "not reached", "begun", "over" or "failed". attempt: during which
    migration (0: before the first), phase: of the controller then. Times are CLOCK_MONOTONIC."""

    fault: str
    target: str
    action: str
    when: str
    state: str
    attempt: Count = 0
    phase: str = ""
    begun_ns: int | None = None
    over_ns: int | None = None
    detail: str = ""


class MigrationSummary(_Part):
    """The migration of one run; `phases` in ns by name. All times that are not durations are CLOCK_MONOTONIC.

    encryption: of control connections and state streams; wire_bytes: those TCP received on both streams,
    authentication and TLS included; refused_connections: strangers at the control and stream ports.
    attempts: all of them, the last of which the rest is about; none where the run was not to migrate.
    """

    attempts: tuple[AttemptSummary, ...] = ()

    outcome: Outcome
    reason: str = ""
    duration_ns: Count | None = None
    trigger_ns: int | None = None
    phases: dict[str, int] = Field(default_factory=dict)
    snapshot_bytes: Count | None = None
    filler_bytes: Count | None = None
    statelet_stream_bytes: Count | None = None
    statelets: Count | None = None
    encryption: Encryption | None = None
    wire_bytes: Count | None = None
    refused_connections: Count | None = None
    pkt_q_max_packets: PortDepths = PortDepths()
    st_q_out_max_packets: Count | None = None
    st_q_in_max_packets: Count | None = None
    st_q_in_max_bytes: Count | None = None
    switchover_duration_ns: Count | None = None
    downtime_ns: Count | None = None


class CaptureSummary(_Part):
    """What was sent of a capture file, and what was not. Every packet sent is in the records; those without room for a
    number of ours (`unnumbered`: below 32 bytes of payload) are told apart by their IPv4 identification.

    read_frames: of the file; response_packets: responder -> initiator, which the echoserver answers in their place;
    skipped_frames: by reason; cut_packets: sent, but longer in the file than a frame may be; opened_flows: TCP
    connections captured from their middle, given a SYN; repetitions: how often the load began the file.
    """

    path: str
    packets: Count
    bytes: Count
    flows: Count
    hosts: Count
    repetitions: Count
    read_frames: Count
    response_packets: Count
    skipped_frames: dict[str, Count] = Field(default_factory=dict)
    cut_packets: Count
    opened_flows: Count
    unnumbered_packets: Count
    unnumbered_sent_packets: Count
    unnumbered_returned_packets: Count


class CommandSummary(_Part):
    """The programs of the workload "command". exit_status: negative for a signal, null where it was ended at its
    deadline; output_bytes: all it wrote, of which the log may keep less; started_ns: CLOCK_MONOTONIC. server: what is
    known of the server, which is ended after the client; null without one.
    """

    argv: tuple[str, ...]
    exit_status: int | None
    started_ns: int | None = None
    duration_ns: Count | None = None
    timed_out: bool = False
    output_bytes: Count | None = None
    log: str
    server: CommandSummary | None = None


class ProcessSummary(_Part):
    """A process over the run, as fractions of wall time."""

    cpu_fraction: float
    run_delay_fraction: float | None
    resident_bytes: Count


class HostSummary(_Part):
    """The machine over the run."""

    wall_ns: Count
    steal_fraction: float
    idle_fraction: float
    processes: dict[str, ProcessSummary] = Field(default_factory=dict)


class OtherHostSummary(_Part):
    """A host that carried nodes beside the harness's own: CLOCK_MONOTONIC there less the one here, and how far what
    processes there tell may be off the clock here, on which they were put."""

    nodes: tuple[str, ...]
    clock_offset_ns: int
    clock_error_bound_ns: Count


class GeneratorSummary(_Part):
    """The load generator's own error, to be read beside every result."""

    unsent_packets: Count | None = None
    send_lateness_p50_ns: int | None = None
    send_lateness_p99_ns: int | None = None
    send_lateness_max_ns: int | None = None
    loadgen_kernel_dropped_packets: Count | None = None
    echoserver_kernel_dropped_packets: Count | None = None


class CalibrationSummary(_Part):
    """Base RTT before the load, measured and expected; null when the testbed adds no latency.

    links: what the experiment's calibration.json says of the links, measured links_age_s before it took it.
    """

    base_rtt_median_ns: int | None = None
    base_rtt_expected_ns: int | None = None
    latency_backend: str | None = None
    links: Literal["held", "doubts", "breached", "not calibrated"] | None = None
    links_age_s: float | None = None


class ImpairmentSummary(_Part):
    """One change of the links or the machine on purpose. `at_ns` is planned, from s; `late_ns` how much later it began;
    `error`: why it did not come about.
    """

    at_ns: int
    text: str
    late_ns: int
    duration_ns: Count
    error: str | None = None


class RunSummary(_Part):
    """summary.json of one run. links: conditions of links that differ from [uplink], by "<node> <direction>"."""

    schema_version: Literal[1] = 1
    run_id: str
    profile: str
    mode: str
    repetition: Annotated[int, Field(ge=1)] = 1
    started_utc: str
    validity: ValiditySummary
    load: LoadSummary
    window: TrafficSummary | None = None
    total: TrafficSummary | None = None
    ledger: LedgerSummary | None = None
    invariants: tuple[InvariantSummary, ...] = ()
    migration: MigrationSummary
    generator: GeneratorSummary = GeneratorSummary()
    calibration: CalibrationSummary = CalibrationSummary()
    host: HostSummary | None = None
    links: dict[str, str] = Field(default_factory=dict)
    impairments: tuple[ImpairmentSummary, ...] = ()
    capture: CaptureSummary | None = None
    command: CommandSummary | None = None
    faults: tuple[FaultSummary, ...] = ()
    other_hosts: dict[str, OtherHostSummary] = Field(default_factory=dict)


class ExperimentRun(_Part):
    """One run of an experiment by its folder."""

    folder: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]
    mode: str
    repetition: Annotated[int, Field(ge=1)] = 1
    verdict: Verdict


class ExperimentSummary(_Part):
    """summary.json of an experiment; the figures are in its runs' folders."""

    schema_version: Literal[1] = 1
    experiment_id: str
    profile: str
    started_utc: str
    ended_utc: str
    completed: bool
    reason: str = ""
    runs: tuple[ExperimentRun, ...] = ()


Summary = TypeVar("Summary", RunSummary, ExperimentSummary)


def read_summary(path: Path, kind: type[Summary]) -> Summary:
    """Read and check a summary.json; UsageError with the path and the first wrong key."""
    try:
        if path.stat().st_size > MAX_SUMMARY_BYTES:
            raise UsageError(f"{path}: larger than any summary; not one of this program's files")
        return kind.model_validate_json(path.read_bytes())
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror})") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise UsageError(f"{path}: {where}: {first['msg']}") from error


def is_run_summary(path: Path) -> bool:
    """Whether a summary.json is that of a run (it has a run_id); False when it cannot be read."""
    try:
        data = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(data, dict) and "run_id" in data
