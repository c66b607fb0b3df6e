"""The SliM model beside measured migrations: how long Eq. 3 says they take, how long they took, where the rest went.

Equation 3 (Nobach et al., Section V) knows the snapshot, the capacity the load leaves, and the statelets. It leaves out
latency, TCP, headers and control traffic. The difference is split into what those are worth on the testbed's links, and
into what the run's events measured; what is then left is unexplained. Everything is read from run directories, after
the runs. The command is `harness model overlay`; `overlay` alone takes a summary, for whatever else shows one.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import UsageError
from harness.models import slim
from harness.models.slim import SharedLink
from harness.models.statelet_factor import STATELET_HEADER_BYTES
from harness.record.events import Event, read_events
from harness.record.rundir import EFFECTIVE, EVENTS, SUMMARY
from harness.record.summary import RunSummary, is_run_summary, read_summary
from harness.units import UnitError, parse_rate, parse_time

SEGMENT_BYTES, SEGMENT_FRAME_BYTES = 1448, 1514
"""Stream bytes in a full TCP segment, and the bytes of its frame."""
INITIAL_WINDOW_SEGMENTS = 10
"""RFC 6928."""
LINK_CROSSINGS = 10
"""Uplink latencies one after the other between the snapshot connection and the last statelet, beside the transfer:
destination to controller (1), controller to source (1), first byte to the destination (2); after the installation
redirect request (1), commit and its answer (2), drain packet (1), end of the statelet stream (2)."""
FIRST_CROSSINGS = 4
"""Of these, before the snapshot's first byte."""


@dataclass(frozen=True)
class Links:
    """What the model needs to know of the links: one uplink per instance, its meter valid in each direction.

    snapshot_rate_bps: pacing of the snapshot stream, None without.
    """

    uplink_bps: float
    latency_s: float
    snapshot_rate_bps: float | None


@dataclass(frozen=True)
class Term:
    """A part of the difference in s, positive where the measured migration takes longer."""

    name: str
    seconds: float
    reason: str


@dataclass(frozen=True)
class Overlay:
    """One migration: measured_s = model_s + terms + unexplained_s.

    model_s: Eq. 3 with T_B = 0, None where Eq. 2 does not hold.
    """

    run: str
    mode: str
    offered_bps: float
    frame_bytes: int
    statelet_factor: float
    measured_s: float
    model_s: float | None
    terms: tuple[Term, ...]
    unexplained_s: float | None
    explanation: str


def overlay_results(path: Path) -> list[Overlay]:
    """The completed migrations of a run's or an experiment's directory. UsageError: no directory, or a damaged file."""
    found = []
    for folder in _run_folders(path):
        summary = read_summary(folder / SUMMARY, RunSummary)
        if summary.migration.outcome == "completed":
            events = read_events(folder / EVENTS) if (folder / EVENTS).is_file() else []
            found.append(overlay(summary, read_links(folder.parent), events))
    return found


def overlay(run: RunSummary, links: Links, events: Sequence[Event] = ()) -> Overlay:
    """The model beside one completed migration. UsageError when the run did not measure what the model needs."""
    migration, load = run.migration, run.load
    if migration.duration_ns is None or not migration.snapshot_bytes or not migration.duration_ns:
        raise UsageError(f"run {run.run_id}: no duration or snapshot size was measured")
    measured_s = migration.duration_ns / 1e9
    sigma = measured_statelet_factor(run)
    link = _link(links, load.offered_bps, migration.snapshot_bytes)
    common = (run.run_id, run.mode, float(load.offered_bps), load.frame_bytes, sigma, measured_s)
    if not float(slim.feasible(link, sigma)):
        return Overlay(*common, None, (), None, _endless(run, link, sigma, measured_s))
    model_s = float(slim.migration_time(link, sigma))
    terms = _terms(links, link, sigma, model_s, events)
    unexplained_s = measured_s - model_s - math.fsum(term.seconds for term in terms)
    return Overlay(*common, model_s, terms, unexplained_s, _explain(measured_s, model_s, terms, unexplained_s))


def measured_statelet_factor(run: RunSummary) -> float:
    """sigma of a run: bytes of the statelet stream over bytes of the load during the migration.

    Of duplication it is known: a whole packet and its header per packet. The measured stream is less than that where
    it does not fit the link.
    """
    load, migration = run.load, run.migration
    if run.mode == "duplication":
        return (load.frame_bytes + STATELET_HEADER_BYTES) / load.frame_bytes
    if not (load.offered_bps and migration.duration_ns):
        return 0.0
    return 8e9 * (migration.statelet_stream_bytes or 0) / (load.offered_bps * migration.duration_ns)


def read_links(experiment: Path) -> Links:
    """Links and pacing from the effective profile of an experiment's directory. UsageError when it does not tell."""
    path = experiment / EFFECTIVE
    try:
        data: Mapping[str, Any] = json.loads(path.read_bytes())
        uplink = data["profile"]["uplink"]
        pacing = data["plan"]["snapshot_rate_bps"]
        latency_s = 0.0 if uplink["latency_backend"] == "none" else parse_time(uplink["latency"]) / 1e9
        return Links(float(parse_rate(uplink["rate"])), latency_s, None if pacing is None else float(pacing))
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror}); the model needs the links' rate") from error
    except (ValueError, TypeError, KeyError, UnitError, RecursionError) as error:
        raise UsageError(f"{path}: not an effective profile ({error!r:.80})") from error


def _run_folders(path: Path) -> list[Path]:
    if not path.is_dir():
        raise UsageError(f"{path}: not a directory; give the directory of a run or of an experiment")
    if is_run_summary(path / SUMMARY):
        return [path.resolve()]
    return sorted(entry.parent for entry in path.glob(f"*/{SUMMARY}") if is_run_summary(entry))


def _link(links: Links, offered_bps: float, snapshot_bytes: float) -> SharedLink:
    """Both directions of the load cross the source's uplink in each direction, and so does the state: l binds."""
    rate = links.uplink_bps
    return SharedLink(rate, rate, rate, offered_bps / 2, offered_bps / 2, snapshot_bytes, 0.0)


def _terms(links: Links, link: SharedLink, sigma: float, model_s: float, events: Sequence[Event]) -> tuple[Term, ...]:
    payload_bits = 8 * float(link.snapshot_bytes)  # type: ignore[arg-type]
    overhead = SEGMENT_FRAME_BYTES / SEGMENT_BYTES
    offered = float(link.load_ab_bps) + float(link.load_ba_bps)  # type: ignore[arg-type]
    left = float(slim.remaining_capacity_bps(link)) - overhead * sigma * offered
    terms = []
    if left <= 0:
        return ()
    framed_s = payload_bits * overhead / left
    terms.append(Term("headers", framed_s - model_s, f"{SEGMENT_FRAME_BYTES} bytes of frame carry {SEGMENT_BYTES}"))
    rate = left / overhead
    if links.snapshot_rate_bps is not None and links.snapshot_rate_bps < rate:
        rate = links.snapshot_rate_bps
        reason = f"the snapshot is sent at {rate / 1e6:.4g} Mbit/s, to leave room for the load"
        terms.append(Term("pacing", payload_bits / rate - framed_s, reason))
    transfer_s, start_s = payload_bits / rate, 0.0
    rtt_s = 4 * links.latency_s
    if rtt_s:
        start_s = slow_start_delay_s(rate, rtt_s, payload_bits)
        reason = f"the window grows from {INITIAL_WINDOW_SEGMENTS} segments at an RTT of {rtt_s * 1e3:.3g} ms"
        terms.append(Term("TCP start", start_s, reason))
        crossings_s = LINK_CROSSINGS * links.latency_s
        terms.append(Term("round trips", crossings_s, f"{LINK_CROSSINGS} link latencies of signalling and stream ends"))
    received_s = _between(events, "destination.receive_snapshot", "destination.install")
    if received_s is not None:
        late_s = received_s - transfer_s - start_s - FIRST_CROSSINGS * links.latency_s
        reason = "measured: the snapshot was read later than links and TCP allow (CPU, competing streams, metered loss)"
        terms.append(Term("slower snapshot", late_s, reason))
    install_s = _between(events, "destination.install", "destination.buffering")
    if install_s is not None:
        reason = "measured: snapshot installed and queued statelets applied (the model's T_B, here at the destination)"
        terms.append(Term("install", install_s, reason))
    return tuple(terms)


def slow_start_delay_s(rate_bps: float, rtt_s: float, payload_bits: float) -> float:
    """Seconds by which a TCP stream in slow start ends later than one that is sent at `rate_bps` from the start.

    The window doubles every RTT (RFC 5681) from that of RFC 6928 on, without losses or delayed acknowledgements.
    """
    window = 8.0 * INITIAL_WINDOW_SEGMENTS * SEGMENT_BYTES
    left, delay = payload_bits, 0.0
    while window < rate_bps * rtt_s and left > window:
        delay += rtt_s - window / rate_bps
        left -= window
        window *= 2
    return delay


def _between(events: Sequence[Event], first: str, last: str) -> float | None:
    times = {event.phase: event.monotonic_ns for event in events}
    if first not in times or last not in times or times[last] < times[first]:
        return None
    return (times[last] - times[first]) / 1e9


def _explain(measured_s: float, model_s: float, terms: Sequence[Term], unexplained_s: float) -> str:
    parts = [f"{t.name} {t.seconds * 1e3:+.1f} ms" for t in sorted(terms, key=lambda t: -abs(t.seconds))]
    parts.append(f"not explained {unexplained_s * 1e3:+.1f} ms")
    difference = (measured_s - model_s) * 1e3
    return f"measured {measured_s * 1e3:.1f} ms, Eq. 3 {model_s * 1e3:.1f} ms, {difference:+.1f} ms: {', '.join(parts)}"


def _endless(run: RunSummary, link: SharedLink, sigma: float, measured_s: float) -> str:
    stream = sigma * run.load.offered_bps / 1e6
    left = float(slim.remaining_capacity_bps(link)) / 1e6
    text = (
        f"measured {measured_s * 1e3:.1f} ms; Eq. 2 does not hold: statelets of {stream:.4g} Mbit/s do not fit the "
        f"{left:.4g} Mbit/s that the load leaves, the model never ends. The migration ended because the load gave way"
    )
    waiting = run.migration.st_q_out_max_packets
    facts = [] if run.window is None else [f"{run.window.lost_packets:,} requests lost in the window"]
    facts += [] if waiting is None else [f"up to {waiting:,} statelets waiting at the source"]
    return f"{text}: {', '.join(facts)}" if facts else text
