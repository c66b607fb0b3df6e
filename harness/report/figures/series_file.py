"""series.npz of a run, read as what anyone may have written."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from harness.errors import UsageError

MAX_SERIES_BYTES = 256 << 20
_KEYS = (
    "start_ns",
    "intended_packets",
    "received_packets",
    "lost_packets",
    "late_packets",
    "rtt_p50_ns",
    "rtt_p99_ns",
    "rtt_max_ns",
)
Int64Array = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Series:
    """Arrays of series.npz, int64[I] each by name; the times are CLOCK_MONOTONIC."""

    arrays: dict[str, Int64Array]

    def seconds(self, zero_ns: int) -> npt.NDArray[np.float64]:
        return (self.arrays["start_ns"] - zero_ns) / 1e9

    @property
    def interval_s(self) -> float:
        start_ns = self.arrays["start_ns"]
        return float(np.median(np.diff(start_ns))) / 1e9


def read_series(path: Path) -> Series:
    """series.npz of a run. UsageError for a file that is damaged, too large or not a series."""
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(info.file_size for info in archive.infolist()) > MAX_SERIES_BYTES:
                raise UsageError(f"{path}: larger than any series; not one of this program's files")
        with np.load(path, allow_pickle=False) as loaded:
            arrays = {key: np.asarray(loaded[key]) for key in _KEYS}
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror or error})") from error
    except (ValueError, KeyError, EOFError, zipfile.BadZipFile, NotImplementedError) as error:
        raise UsageError(f"{path}: not a series ({error!s:.80})") from error
    count = arrays["start_ns"].size
    if any(array.dtype != np.int64 or array.shape != (count,) for array in arrays.values()):
        raise UsageError(f"{path}: not a series (an array has the wrong type or length)")
    if count < 2 or not bool(np.all(np.diff(arrays["start_ns"]) > 0)):
        raise UsageError(f"{path}: not a series (the intervals are not in order)")
    return Series(arrays)
