"""The status page of an instance: counters in shared memory, written by the engine, read by whoever maps the file."""

from __future__ import annotations

import mmap
import os
from pathlib import Path
from typing import Any

import numpy as np

from harness.dataplane import engine_state as es
from harness.dataplane.abi import REASONS_MAX


def open_status_page(path: Path | None) -> np.ndarray:
    """int64[STATUS_WORDS], in a file others may map to read along, or in private memory without a path."""
    size = es.STATUS_WORDS * 8
    if path is None:
        return np.zeros(es.STATUS_WORDS, np.int64)
    with path.open("w+b") as file:
        # Not only a length: a page that the disk has no room for would end the process when it is first written.
        os.posix_fallocate(file.fileno(), 0, size)
        return np.frombuffer(mmap.mmap(file.fileno(), size), np.int64)


def read_status(page: np.ndarray, ports: int, reasons: dict[int, str]) -> dict[str, Any]:
    """The counters on a status page: instance-wide by name, `ports` a list of dicts, `reasons` those that occurred."""
    counters: dict[str, Any] = {name: int(page[at]) for name, at in es.INSTANCE_COUNTERS.items()}
    counters["ports"] = [
        {name: int(page[es.PORTS_AT + port * es.PORT_WORDS + word]) for name, word in es.PORT_COUNTERS.items()}
        for port in range(ports)
    ]
    counters["reasons"] = {
        reasons.get(number, f"reason_{number}"): int(page[es.REASONS_AT + number])
        for number in range(REASONS_MAX)
        if page[es.REASONS_AT + number]
    }
    return counters


def map_status_page(path: Path) -> np.ndarray:
    """int64[STATUS_WORDS], read-only, of the page another process writes. Raises OSError or ValueError without it."""
    size = es.STATUS_WORDS * 8
    with path.open("rb") as file:
        return np.frombuffer(mmap.mmap(file.fileno(), size, prot=mmap.PROT_READ), np.int64)
