"""Writing what a process recorded, so that a reader finds it whole or not at all."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.measure.histogram import nearest_rank

_QUANTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p99.9": 0.999}


def write_arrays(path: Path, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
    """Write an uncompressed .npz and move it into place."""
    partial = path.with_suffix(".partial")
    with partial.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def write_report(path: Path, report: Mapping[str, Any]) -> None:
    """Write JSON (never NaN) and move it into place."""
    partial = path.with_suffix(".json.partial")
    with partial.open("w") as file:
        json.dump(report, file, indent=1, allow_nan=False)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def distribution_ns(values_ns: npt.NDArray[np.int64]) -> dict[str, int] | None:
    """Percentiles (nearest rank) and ends of int64[n] in ns; None for no values."""
    if values_ns.size == 0:
        return None
    ascending = np.sort(values_ns)
    middle = {name: int(ascending[nearest_rank(values_ns.size, q)]) for name, q in _QUANTILES.items()}
    return {"minimum": int(ascending[0]), **middle, "maximum": int(ascending[-1])}


def counters_by_name(names: Mapping[str, int], counters: npt.NDArray[np.int64]) -> dict[str, int]:
    """The counters as JSON holds them."""
    return {name: int(counters[index]) for name, index in names.items()}


def peak_memory_bytes() -> int:
    """Largest resident set of this process so far (VmHWM). getrusage would count the parent's before the exec, too."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0
