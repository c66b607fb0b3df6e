"""Results built in memory and on disk, for tests of what reads them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from harness.record.summary import (
    LedgerRowSummary,
    LedgerSummary,
    LoadSummary,
    MigrationSummary,
    RunSummary,
    TrafficSummary,
    ValiditySummary,
)
from harness.record.sweep import (
    SWEEP,
    Result,
    Results,
    SweepCell,
    SweepEntry,
    SweepManifest,
    append_entry,
    run_key,
)

WINDOW = {
    "window_ns": 15_000_000_000,
    "intended_packets": 10_000,
    "delivered_packets": 10_000,
    "lost_packets": 0,
    "late_packets": 0,
    "offered_pps": 1000.0,
    "loss_s": 0.0,
    "rtt_late_s": 0.0,
    "largest_bin_mean_rtt_ns": 10_300_000.0,
    "rtt_p50_ns": 10_300_000,
    "lossy_intervals": 0,
    "lossy_intervals_s": 0.0,
    "duplicate_packets": 0,
    "reordered_packets": 0,
    "reordered_flows": 0,
    "server_intended_packets": 0,
    "server_delivered_packets": 0,
    "server_lost_packets": 0,
    "server_duplicate_packets": 0,
}
MIGRATION = {
    "outcome": "completed",
    "duration_ns": 500_000_000,
    "snapshot_bytes": 21_000_000,
    "filler_bytes": 20_971_520,
    "statelet_stream_bytes": 300_000,
    "statelets": 1000,
    "pkt_q_max_packets": {"interior": 20, "exterior": 10},
}


def summary(
    mode: str = "statelet", verdict: str = "VALID", ledger: dict[str, int] | None = None, **changed: Any
) -> RunSummary:
    """A run at 400 Mbit/s of 1400 bytes; fields of the window, the migration and the load are changed by their name."""
    names = TrafficSummary.model_fields
    window = {**dict.fromkeys(names), **WINDOW, **{key: changed.pop(key) for key in list(changed) if key in names}}
    migration: dict[str, Any] = {"outcome": "none"} if mode == "none" else dict(MIGRATION)
    migration |= {key: changed.pop(key) for key in list(changed) if key in MigrationSummary.model_fields}
    load: dict[str, Any] = {"offered_bps": 400_000_000, "frame_bytes": 1400, "one_way_pps": 17_857.0}
    load |= {key: changed.pop(key) for key in list(changed) if key in LoadSummary.model_fields}
    rows = tuple(
        LedgerRowSummary(name=name, echo_packets=packets, server_packets=0)
        for name, packets in ({"delivered": 10_000} | (ledger or {})).items()
    )
    return RunSummary(
        run_id="r",
        profile="p",
        mode=mode,
        started_utc="2026-01-01T00:00:00+00:00",
        validity=ValiditySummary(verdict=verdict),  # type: ignore[arg-type]
        load=LoadSummary(**load),
        window=TrafficSummary(**window),
        migration=MigrationSummary(**migration),
        ledger=LedgerSummary(echo_intended_packets=10_000, server_intended_packets=0, rows=rows),
        **changed,
    )


def cell(
    image: str = "nat", frame_bytes: int = 1400, load_m: float = 400, scale: float = 1.0, **changed: Any
) -> SweepCell:
    """A cell of the published link by its nominal load in Mbit/s; the digest follows from the rest."""
    load_bps, settings = round(load_m * 1e6), changed.pop("settings", {})
    text = f"{image}{frame_bytes}{load_bps}{scale}{sorted(settings.items())}{sorted(changed.items())}"
    fields = {
        "digest": f"{sum(byte * 257**i for i, byte in enumerate(text.encode())) % 2**64:016x}",
        "profile": f"{image}_{frame_bytes}B",
        "image": image,
        "frame_bytes": frame_bytes,
        "load_bps": round(load_bps * scale),
        "uplink_bps": round(1e9 * scale),
        "nominal_load_bps": load_bps,
        "nominal_uplink_bps": 1_000_000_000,
        "settings": settings,
    }
    return SweepCell(**{**fields, **changed})


def result(at: SweepCell, run: RunSummary | None, repetition: int = 1, **changed: Any) -> Result:
    fields: dict[str, Any] = {
        "cell": at,
        "mode": run.mode if run else "statelet",
        "repetition": repetition,
        "attempt": 1,
        "folder": Path("runs/x"),
        "verdict": run.validity.verdict if run else "INVALID",
        "summary": run,
    }
    return Result(**{**fields, **changed})


def results(*found: Result, name: str = "sweep", manifest: SweepManifest | None = None) -> Results:
    return Results(Path("nowhere"), "sweep", name, manifest, tuple(found))


def manifest(*cells: SweepCell, scale: float = 1.0, name: str = "sweep") -> SweepManifest:
    return SweepManifest(
        sweep_id="id",
        name=name,
        started_utc="2026-01-01T00:00:00+00:00",
        seed=1,
        repetitions=1,
        modes=("statelet", "duplication"),
        scale=scale,
        cells=cells,
    )


def write_sweep(path: Path, found: list[Result], scale: float = 1.0) -> Path:
    """The same on disk: a sweep directory with sweep.json, runs.jsonl and every run's summary.json."""
    path.mkdir()
    cells = tuple({item.cell.digest: item.cell for item in found}.values())
    (path / SWEEP).write_text(manifest(*cells, scale=scale, name=path.name).model_dump_json())
    for number, item in enumerate(found):
        folder = f"runs/{number}/01-{item.mode}"
        (path / folder).mkdir(parents=True)
        (path / folder / "summary.json").write_text(item.summary.model_dump_json() if item.summary else "{torn")
        append_entry(
            path,
            SweepEntry(
                key=run_key(item.cell.digest, item.mode, item.repetition),
                cell=item.cell.digest,
                mode=item.mode,
                repetition=item.repetition,
                attempt=item.attempt,
                folder=folder,
                verdict=item.verdict,
                started_utc="2026-01-01T00:00:00+00:00",
                wall_s=20,
                window_s=15,
            ),
        )
    return path
