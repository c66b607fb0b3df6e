"""What a run's experiment was set to, as far as the figures need it; None where the directory does not tell."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from harness.record.rundir import EFFECTIVE
from harness.units import UnitError, parse_size, parse_time

MAX_EFFECTIVE_BYTES = 4 << 20

_Value = TypeVar("_Value")


@dataclass(frozen=True)
class Conditions:
    """pkt_q_packets: of each port. migrate_at_ns: after the start of the window."""

    pkt_q_packets: int | None = None
    filler_bytes: int | None = None
    migrate_at_ns: int | None = None
    interval_ns: int | None = None


def read_conditions(experiment: Path) -> Conditions:
    """From effective.json of an experiment's directory."""
    path = experiment / EFFECTIVE
    try:
        if path.stat().st_size > MAX_EFFECTIVE_BYTES:
            return Conditions()
        profile = json.loads(path.read_bytes())["profile"]
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return Conditions()
    return Conditions(
        pkt_q_packets=_value(profile, "migration", "pkt_q_packets", _positive),
        filler_bytes=_value(profile, "migration", "filler", parse_size),
        migrate_at_ns=_value(profile, "timing", "migrate_at", parse_time),
        interval_ns=_value(profile, "timing", "interval", parse_time),
    )


def _value(profile: Any, table: str, key: str, parse: Callable[[object], _Value]) -> _Value | None:
    part = profile.get(table) if isinstance(profile, Mapping) else None
    if not isinstance(part, Mapping) or key not in part:
        return None
    try:
        return parse(part[key])
    except (UnitError, ValueError):
        return None


def _positive(value: object) -> int:
    if type(value) is not int or value <= 0:
        raise ValueError("not a number of packets")
    return value
