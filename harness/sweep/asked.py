"""From a sweep file and the command line to the manifest and the cells of a sweep, with nothing created."""

from __future__ import annotations

import secrets
import string
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from harness.profile.derived import mean_frame_bytes
from harness.record.sweep import SweepManifest, read_manifest
from harness.sweep.load import SweepFile
from harness.sweep.matrix import Cell, nominal_cells, scale_cells
from harness.sweep.placed import require_here
from harness.sweep.scale import factor_for
from harness.sweep.store import sweep_digest

AskedScale = float | Literal["auto"] | None


@dataclass(frozen=True)
class Asked:
    """A sweep as asked for: every cell checked, at the scale it will have."""

    manifest: SweepManifest
    cells: tuple[Cell, ...]


def new_sweep_id() -> str:
    """Eight characters, the first a letter."""
    letters = string.ascii_lowercase
    return secrets.choice(letters) + "".join(secrets.choice(letters + string.digits) for _ in range(7))


def asked_sweep(
    file: SweepFile,
    scale: AskedScale = None,
    *,
    resume: Path | None = None,
    calibrated: bool = True,
    rates: Callable[[Sequence[int]], tuple[Mapping[int, float], str]],
) -> Asked:
    """Check every cell and find the scale. UsageError with every mistake.

    scale: of the command line, before the file's. rates: called for "auto" only, with the frame sizes of the sweep,
    returns loss-free round trips/s by size and where they are from; a sweep that is resumed keeps its scale.
    """
    nominal = nominal_cells(file)
    factor, reason = 1.0, ""
    if scale is not None or file.table.scale is not None:
        chosen = scale if scale is not None else file.table.scale
        where = "on the command line" if scale is not None else f"by {file.path.name}"
        if chosen == "auto":
            factor, reason = _auto(nominal, resume, where, rates)
        elif chosen is not None:
            factor, reason = chosen, f"asked for {where}"
    cells = scale_cells(file, nominal, factor)
    table = file.table
    manifest = SweepManifest(
        sweep_id=new_sweep_id(),
        name=file.name,
        description=table.description,
        started_utc=datetime.now(UTC).isoformat(),
        seed=table.seed,
        repetitions=table.repetitions,
        modes=tuple(table.modes),
        control_repetitions=file.control_repetitions,
        scale=factor,
        scale_reason=reason,
        retries=table.retries,
        keep=table.keep,
        stop=None if table.stop is None else table.stop.model_dump(mode="json"),
        calibration="before the first run" if calibrated else "skipped (--no-calibration)",
        cells=tuple(cell.document() for cell in cells),
    )
    return Asked(manifest.model_copy(update={"digest": sweep_digest(manifest)}), cells)


def _auto(
    nominal: Sequence[Cell],
    resume: Path | None,
    where: str,
    rates: Callable[[Sequence[int]], tuple[Mapping[int, float], str]],
) -> tuple[float, str]:
    if resume is not None:
        recorded = read_manifest(resume)
        return recorded.scale, recorded.scale_reason
    require_here(nominal, "scale auto")
    profiles = [cell.nominal for cell in nominal]
    measured, origin = rates(sorted({mean_frame_bytes(profile) for profile in profiles}))
    factor, reason = factor_for(profiles, measured)
    return factor, f'"auto" asked for {where}, {origin}: {reason}'
