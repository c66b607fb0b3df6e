"""Sweep directories as the sweep engine leaves them, made from figures given by the test."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from harness.record.rundir import Folder, write_json
from harness.record.summary import (
    LoadSummary,
    MigrationSummary,
    PortDepths,
    RunSummary,
    TrafficSummary,
    ValiditySummary,
)
from harness.record.sweep import SweepCell, SweepEntry, SweepManifest, append_entry, run_key
from tests.report.conftest import TRAFFIC

STARTED = "2026-01-01T00:00:00+00:00"
SECOND_NS = 1_000_000_000
TRIGGER_NS = 12 * SECOND_NS


def cell(image: str = "nat", frame: int = 1400, load_m: int = 300, scale: float = 1.0, **settings: Any) -> SweepCell:
    name = f"{image} {frame} {load_m} {settings}"
    return SweepCell(
        digest=hashlib.sha256(name.encode()).hexdigest()[:16],
        profile=f"{image}_{frame}B",
        image=image,
        frame_bytes=frame,
        load_bps=round(load_m * 1e6 * scale),
        uplink_bps=round(1e9 * scale),
        nominal_load_bps=load_m * 1_000_000,
        nominal_uplink_bps=1_000_000_000,
        settings=settings,
    )


def summary(
    cell: SweepCell, mode: str, repetition: int, verdict: str = "VALID", outcome: str | None = None, **figures: Any
) -> RunSummary:
    """A run; `figures` are fields of the window's traffic or of the migration."""
    outcome = outcome or ("none" if mode == "none" else "completed")
    traffic = TRAFFIC | {"loss_s": 0.0, "rtt_late_s": 0.01, "largest_bin_mean_rtt_ns": 10.6e6, "rtt_p99_ns": 11_000_000}
    migration: dict[str, Any] = {}
    if outcome == "completed":
        migration = {
            "duration_ns": 400_000_000,
            "trigger_ns": TRIGGER_NS,
            "snapshot_bytes": 20_980_000,
            "filler_bytes": 20_971_520,
            "statelet_stream_bytes": 300_000,
            "statelets": 20_000,
            "pkt_q_max_packets": PortDepths(interior=40, exterior=30),
        }
    traffic |= {key: value for key, value in figures.items() if key in TRAFFIC}
    migration |= {key: value for key, value in figures.items() if key in MigrationSummary.model_fields}
    unknown = set(figures) - set(TRAFFIC) - set(MigrationSummary.model_fields)
    assert not unknown, unknown
    return RunSummary(
        run_id=f"{cell.digest[:6]}-{mode}-{repetition}",
        profile=cell.profile,
        mode=mode,
        repetition=repetition,
        started_utc=STARTED,
        validity=ValiditySummary(verdict=verdict, reasons=() if verdict == "VALID" else ("the reason of the test",)),  # type: ignore[arg-type]
        load=LoadSummary(offered_bps=cell.load_bps, frame_bytes=cell.frame_bytes),
        window=TrafficSummary(**traffic),
        migration=MigrationSummary(outcome=outcome, **migration),  # type: ignore[arg-type]
    )


Figures = Callable[[SweepCell, str, int], dict[str, Any]]


@dataclass
class SweepBuilder:
    """Writes a sweep below `folder`, a run at a time."""

    folder: Path
    cells: Sequence[SweepCell]
    modes: Sequence[str] = ("none", "statelet", "duplication")
    repetitions: int = 3
    scale: float = 1.0
    name: str = "small"
    written: list[Path] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.path = self.folder / f"20260101T000000Z-{self.name}-abc"
        self.path.mkdir()
        manifest = SweepManifest(
            sweep_id="abc",
            name=self.name,
            description="made by a test",
            started_utc=STARTED,
            seed=1,
            repetitions=self.repetitions,
            modes=tuple(self.modes),
            control_repetitions=1,
            scale=self.scale,
            scale_reason="" if self.scale == 1 else "asked for on the command line",
            cells=tuple(self.cells),
        )
        write_json(self.path / "sweep.json", manifest)
        machine = {"cpu": {"model": "Test CPU", "online": 2}, "kernel": {"release": "6.1"}, "harness_version": "0.1.0"}
        write_json(self.path / "manifest.json", machine)

    def add(
        self,
        cell: SweepCell,
        mode: str,
        repetition: int,
        attempt: int = 1,
        verdict: str = "VALID",
        host: str = "",
        **figures: Any,
    ) -> Path:
        """One run with its experiment directory; returns the run's folder."""
        experiment = self.path / "runs" / f"{len(self.written):04d}-{cell.profile}"
        folder = experiment / f"01-{mode}"
        folder.mkdir(parents=True)
        made = summary(cell, mode, repetition, verdict, **figures)
        write_json(folder / "summary.json", made)
        write_json(experiment / "effective.json", effective(cell, self.scale))
        write_run_files(folder, made)
        entry = SweepEntry(
            key=run_key(cell.digest, mode, repetition),
            cell=cell.digest,
            mode=mode,
            repetition=repetition,
            attempt=attempt,
            folder=str(folder.relative_to(self.path)),
            verdict=verdict,  # type: ignore[arg-type]
            reasons=made.validity.reasons,
            started_utc=STARTED,
            wall_s=20.0,
            window_s=15.0,
            host=host,
        )
        append_entry(self.path, entry)
        self.written.append(folder)
        return folder

    def fill(self, figures: Figures = lambda *_: {}) -> SweepBuilder:
        """Every run of the matrix; `figures(cell, mode, repetition)` gives what differs from the defaults."""
        for repetition in range(1, self.repetitions + 1):
            for place in self.cells:
                for mode in self.modes:
                    if mode != "none" or repetition == 1:
                        self.add(place, mode, repetition, **figures(place, mode, repetition))
        return self


def effective(cell: SweepCell, scale: float = 1.0) -> dict[str, Any]:
    return {
        "profile": {
            "vnf": {"image": cell.image},
            "load": {"rate": f"{cell.load_bps}bit", "frame": f"{cell.frame_bytes}B"},
            "timing": {"migrate_at": "2s", "interval": "100ms"},
            "uplink": {"rate": f"{cell.uplink_bps}bit", "latency": "2.5ms", "latency_backend": "auto"},
            "migration": {"pkt_q_packets": round(65_536 * scale), "filler": f"{round(20_971_520 * scale)}B"},
        },
        "plan": {"profile": cell.profile, "profile_digest": cell.digest, "snapshot_rate_bps": None},
    }


def write_run_files(folder: Path, made: RunSummary, intervals: int = 100) -> None:
    """series.npz and events.jsonl of a run whose packets are lost and late in the half second after the trigger."""
    start_ns = 10 * SECOND_NS + np.arange(intervals, dtype=np.int64) * SECOND_NS // 10
    during = (start_ns >= TRIGGER_NS) & (start_ns < TRIGGER_NS + SECOND_NS // 2) & (made.mode == "duplication")
    intended = np.full(intervals, 1000, dtype=np.int64)
    lost = np.where(during, 200, 0).astype(np.int64)
    rtt = np.where(during, 40_000_000, 10_300_000).astype(np.int64)
    Folder(folder).write_arrays(
        "series.npz",
        {
            "start_ns": start_ns,
            "intended_packets": intended,
            "received_packets": intended - lost,
            "lost_packets": lost,
            "late_packets": np.where(during, 500, 0).astype(np.int64),
            "rtt_p50_ns": rtt,
            "rtt_p99_ns": rtt * 5 // 4,
            "rtt_max_ns": rtt * 3 // 2,
        },
    )
    moments = {"window": 10.0}
    if made.migration.outcome == "completed":
        moments |= {
            "destination.receive_snapshot": 12.08,
            "destination.install": 12.35,
            "destination.buffering": 12.39,
            "controller.switchover": 12.40,
            "source.closed": 12.45,
            "destination.live": 12.47,
        }
    lines = [
        json.dumps({"monotonic_ns": round(at * 1e9), "wall_ns": round(at * 1e9), "phase": phase, "text": phase})
        for phase, at in moments.items()
    ]
    (folder / "events.jsonl").write_text("".join(f"{line}\n" for line in lines))
