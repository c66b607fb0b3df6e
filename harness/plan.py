"""Profile -> Plan: everything a run will do, in figures, before anything is created. Pure.

Estimates (memory, disk, time, duplication traffic) are for the user's decision only; no run depends on them.
"""

from __future__ import annotations

import hashlib
import json
import random
import shlex
import textwrap
from dataclasses import asdict, dataclass
from typing import Any

from harness.profile.derived import (
    NS_PER_S,
    load_duration_ns,
    mean_frame_bytes,
    new_flows,
    offered_bps,
    peak_rate_bps,
    requests,
    requests_per_s,
    snapshot_rate_bps,
)
from harness.profile.link_conditions import describe_conditions, given, planned_steps
from harness.profile.model import Profile
from harness.testbed.conditions import DIRECTIONS
from harness.testbed.topology import LINKED_NODES
from harness.units import format_rate, format_size, format_time

# A full TCP segment: 1448 bytes of stream (timestamps on) in a frame of 1514.
_SEGMENT_BYTES, _SEGMENT_FRAME_BYTES = 1448, 1514
_STATELET_HEADER_BYTES = 4
# Estimates, from the sizes of what is kept: one trace record per packet through the VNF, nine columns per request.
_TRACE_RECORD_BYTES = 64
_REQUEST_RECORD_BYTES = 42
_PROCESS_BYTES = 150 << 20
_PROCESSES = 5
_POOL_SLOT_BYTES = 1536
_RUN_OVERHEAD_NS = 6 * NS_PER_S


@dataclass(frozen=True)
class PlannedRun:
    """One run: `number` counts from 0 in the order they are made, `repetition` from 0 within a mode."""

    number: int
    repetition: int
    mode: str
    load_seed: int


@dataclass(frozen=True)
class PlannedImpairment:
    """One change at s + `at_ns`, in words."""

    at_ns: int
    text: str


@dataclass(frozen=True)
class Plan:
    """What an experiment amounts to. Packet rates are those of the whole load; frames include the 42 header bytes."""

    profile: str
    profile_digest: str
    """SHA-256 (first 16 hex digits) of the effective profile; equal digests are comparable experiments."""
    runs: tuple[PlannedRun, ...]
    requests_per_s: int
    """Round trips per second: requests of established and new flows together, and as many replies."""
    new_flow_requests_per_s: int
    """Of these, what new flows send at most."""
    server_packets_per_s: int
    load_duration_ns: int
    requests: int
    """Intended in one run."""
    new_flows: int
    server_packets: int
    frame_bytes: int
    """Mean size of the load's frames."""
    offered_bps: int
    """Through the VNF, both directions together: what its uplink carries in each direction."""
    snapshot_rate_bps: int | None
    """Pacing of the snapshot stream; None: unpaced."""
    duplication_bps: int
    """Expected resynchronisation traffic of the mode "duplication"."""
    duplication_uplink_fraction: float
    """(offered load + duplication) / uplink rate on the source's uplink; above 1 the meter drops."""
    duration_ns: int
    memory_bytes: int
    disk_bytes: int
    impairments: tuple[PlannedImpairment, ...] = ()
    """Every change of the links and the machine during a run, in order."""

    def document(self) -> dict[str, Any]:
        """The plan as JSON data."""
        return asdict(self)


def profile_digest(profile: Profile) -> str:
    """Digest of what is measured: the effective profile without its name, description and results folder."""
    document = profile.document()
    del document["profile"], document["record"]
    canonical = json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def make_plan(profile: Profile) -> Plan:
    """The plan of a consistent profile."""
    load = profile.load
    duration_ns = load_duration_ns(profile)
    offered = offered_bps(profile)
    frame_bytes = mean_frame_bytes(profile)
    duplication = offered * (frame_bytes + _STATELET_HEADER_BYTES) * _SEGMENT_FRAME_BYTES
    duplication //= frame_bytes * _SEGMENT_BYTES
    count = requests(profile)
    server_packets = load.server_packets_per_s * duration_ns // NS_PER_S
    runs = _order_of_runs(profile)
    return Plan(
        profile=profile.name,
        profile_digest=profile_digest(profile),
        runs=runs,
        requests_per_s=requests_per_s(profile),
        new_flow_requests_per_s=load.new_flows_per_s * load.new_flow_packets,
        server_packets_per_s=load.server_packets_per_s,
        load_duration_ns=duration_ns,
        requests=count,
        new_flows=new_flows(profile),
        server_packets=server_packets,
        frame_bytes=frame_bytes,
        offered_bps=offered,
        snapshot_rate_bps=snapshot_rate_bps(profile),
        duplication_bps=duplication,
        duplication_uplink_fraction=(offered + duplication) / profile.uplink.rate_bps,
        duration_ns=len(runs) * (profile.timing.warm_up_ns + profile.timing.window_ns + _RUN_OVERHEAD_NS),
        memory_bytes=_memory_bytes(profile, count),
        disk_bytes=len(runs) * _run_bytes(profile, count, server_packets),
        impairments=tuple(PlannedImpairment(step.at_ns, step.text) for step in planned_steps(profile)),
    )


def _order_of_runs(profile: Profile) -> tuple[PlannedRun, ...]:
    """Every repetition has each mode once, in a seeded random order: drift of the machine hits all modes alike.

    The modes of one repetition get the same load; repetitions differ.
    """
    order = random.Random(profile.migration.seed)
    runs: list[PlannedRun] = []
    for repetition in range(profile.migration.repetitions):
        modes = list(profile.migration.modes)
        order.shuffle(modes)
        load_seed = (profile.load.seed + repetition) % 2**32
        runs += [PlannedRun(len(runs) + i, repetition, mode, load_seed) for i, mode in enumerate(modes)]
    return tuple(runs)


def _memory_bytes(profile: Profile, count: int) -> int:
    """With pkt_q of one instance full on both ports and the snapshot held at both ends."""
    pkt_q = 2 * profile.migration.pkt_q_packets * _POOL_SLOT_BYTES
    return _PROCESSES * _PROCESS_BYTES + pkt_q + 2 * profile.migration.filler_bytes + count * _REQUEST_RECORD_BYTES


def _run_bytes(profile: Profile, count: int, server_packets: int) -> int:
    trace = (2 * count + server_packets) * _TRACE_RECORD_BYTES if profile.dataplane.verify else 0
    return trace + count * _REQUEST_RECORD_BYTES


def _frames(profile: Profile) -> str:
    if profile.load.workload == "capture":
        return f"frames of {mean_frame_bytes(profile)} bytes on average"
    if profile.load.frame_sizes == "imix":
        return f"IMIX frames of {mean_frame_bytes(profile)} bytes on average"
    return f"frames of {profile.load.frame_bytes} bytes"


def _workload(profile: Profile) -> str:
    load = profile.load
    text: str = load.workload
    if load.workload == "capture":
        pace = "at load.rate" if load.capture.pace == "rate" else f"at {load.capture.speed:g} times its own pace"
        return f"{load.capture.flows:,} flows of {load.capture.path}, {pace}"
    if load.workload == "command":
        words = textwrap.shorten(shlex.join(load.command.client), 80)
        return f"{words} (nothing is sent beside it; load.rate is what it is expected to need)"
    if load.workload == "subscribers":
        mean = format_time(load.subscribers.handover_mean_ns)
        text += f" in {load.subscribers.cells} cells, a handover of each every {mean} on average"
    if load.arrivals == "on_off":
        peak = format_rate(peak_rate_bps(profile), 4)
        return (
            f"{text}; {peak}/s for {format_time(load.on_ns)}, then nothing for {format_time(load.off_ns)}, on average"
        )
    return f"{text}; {load.arrivals} arrivals"


def _links(profile: Profile) -> list[tuple[str, str, str]]:
    """(node, direction, conditions) of the links of which the profile says anything."""
    ways = [(node, way, profile.links.of(node, way)) for node in LINKED_NODES for way in DIRECTIONS]
    return [(node, way, describe_conditions(table)) for node, way, table in ways if given(table)]


def _faults(profile: Profile) -> list[tuple[str, str]]:
    if not profile.fault:
        return []
    listed = "; ".join(fault.describe() for fault in profile.faults)
    return [("faults", f"{listed}; up to {profile.attempts} attempts")]


def _tasks(profile: Profile) -> list[tuple[str, str]]:
    return [("task", f"{task.when} all runs, on {', '.join(task.hosts)}: {task.title}") for task in profile.task]


def describe(plan: Plan, profile: Profile) -> list[tuple[str, str]]:
    """The plan as (label, text) for people."""
    pacing = "not paced" if plan.snapshot_rate_bps is None else f"paced at {format_rate(plan.snapshot_rate_bps, 4)}/s"
    fits = "exceeds the uplink: loss is expected" if plan.duplication_uplink_fraction > 1 else "fits the uplink"
    uplink, timing = profile.uplink, profile.timing
    shown = [
        ("profile", f"{plan.profile} (digest {plan.profile_digest})"),
        ("image", profile.vnf.image),
        ("runs", ", ".join(run.mode for run in plan.runs)),
        ("workload", _workload(profile)),
        (
            "offered load",
            f"{format_rate(plan.offered_bps, 4)}/s both directions together, {_frames(profile)} with their 42 header "
            "bytes",
        ),
        (
            "round trips",
            f"{plan.requests_per_s:,}/s, of them up to {plan.new_flow_requests_per_s:,}/s of new flows; "
            f"server-originated {plan.server_packets_per_s:,}/s",
        ),
        (
            "packets per run",
            f"{plan.requests:,} requests of {profile.load.flows:,} flows and up to {plan.new_flows:,} new ones, "
            f"about {plan.server_packets:,} server-originated",
        ),
        (
            "timing",
            f"load from s-{format_time(timing.warm_up_ns)} to s+{format_time(timing.load_until_ns)}, window "
            f"{format_time(timing.window_ns)}, migration at s+{format_time(timing.migrate_at_ns)}",
        ),
        (
            "uplink",
            f"{format_rate(uplink.rate_bps)}/s, burst {format_time(uplink.burst_ns)}, "
            f"{format_time(uplink.latency_ns)} per direction ({uplink.latency_backend})",
        ),
        *(("link", f"{node} {way}: {text}") for node, way, text in _links(profile)),
        *(("impairment", f"s+{format_time(step.at_ns)} {step.text}") for step in plan.impairments),
        *_faults(profile),
        *_tasks(profile),
        (
            "snapshot",
            f"filler {format_size(profile.migration.filler_bytes)}, {pacing}; encryption "
            f"{profile.migration.encryption}",
        ),
        (
            "duplication",
            f"about {format_rate(plan.duplication_bps, 3)}/s beside the load, together "
            f"{plan.duplication_uplink_fraction:.0%} of the uplink: {fits}",
        ),
        (
            "estimated",
            f"{format_time(plan.duration_ns, 3)}, memory up to {format_size(plan.memory_bytes, 3)}, "
            f"disk {format_size(plan.disk_bytes, 3)}",
        ),
    ]
    of_packets = ("round trips", "packets per run") if profile.load.workload == "command" else ()
    return [(label, text) for label, text in shown if label not in of_packets]
