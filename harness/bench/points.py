"""How fast points become line protocol: the measurement with the most fields, checked as in a run."""

from __future__ import annotations

import time

import numpy as np

from harness.bench.scope import Scope
from harness.record.lineprotocol import format_columns
from harness.record.schema import SCHEMA

_REPEATS = 3
_BASE_NS = 1_700_000_000_000_000_000
_INTERVAL_NS = 100_000_000


def formatting_rates(scope: Scope) -> list[float]:
    """Points per second of CPU time of one thread."""
    count = scope.points
    numbers = np.arange(count)
    columns = {field.name: numbers if field.type == "i" else numbers * 1.5 for field in SCHEMA["traffic"].fields}
    tags = {"run_id": "abcdefgh-01", "profile": "bench", "mode": "statelet"}
    times_ns = (_BASE_NS + numbers * _INTERVAL_NS).tolist()
    rates = []
    for _ in range(_REPEATS):
        began_ns = time.thread_time_ns()
        lines = format_columns("traffic", tags, columns, times_ns)
        rates.append(len(lines) * 1e9 / (time.thread_time_ns() - began_ns))
    return rates
