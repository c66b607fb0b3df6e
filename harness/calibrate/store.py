"""Measured calibrations, kept between commands: one file per kind of link, for this boot of this machine only.

What is read is hostile until parsed: a file that is not wholly as it should be, too old, from the future or of other
links counts for nothing, and the links are measured again.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pydantic import ValidationError

import harness
from harness.calibrate.calibration import Calibration
from harness.profile.model import Profile
from harness.record.calibration import MAX_CALIBRATION_BYTES, LinkCalibration, Origin
from harness.record.rundir import write_json
from harness.testbed.testbed import Testbed

MAX_AGE = timedelta(hours=1)
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def cache_folder() -> Path:
    """Where measured calibrations are kept."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "slim-harness" / "calibration"


def measured_on(testbed: Testbed, profile: Profile) -> dict[str, Any]:
    """What a calibration holds for: with anything of it changed, the links have to be measured again."""
    topology = testbed.topology
    try:
        boot_id = _BOOT_ID.read_text().strip()
    except OSError:
        boot_id = ""
    return {
        "boot_id": boot_id,
        "kernel": platform.release(),
        "harness": harness.__version__,
        "latency_backend": testbed.backend,
        "tick_ns": profile.dataplane.tick_ns,
        "scheduler": profile.dataplane.scheduler,
        "receive_order": topology.receive_order,
        "congestion_control": testbed.congestion_control,
        "conditions": {f"{node}.{way}": asdict(item) for (node, way), item in sorted(topology.conditions.items())},
    }


def as_recorded(calibration: Calibration, holds_for: Mapping[str, Any], origin: Origin = "measured") -> LinkCalibration:
    """A fresh calibration as experiments keep it."""
    problems, doubts = calibration.problems, calibration.doubts
    return LinkCalibration(
        verdict="breached" if problems else "doubts" if doubts else "held",
        origin=origin,
        measured_utc=calibration.started_utc,
        age_s=_age_s(calibration.started_utc, datetime.now(UTC)),
        problems=problems,
        doubts=doubts,
        measured_on=dict(holds_for),
        figures=calibration.document(),
    )


def keep(found: LinkCalibration) -> None:
    """Keep a calibration for later commands; one with a breach is not kept, and a full disk is no error."""
    if found.verdict == "breached" or found.measured_on is None:
        return
    path = _path(found.measured_on)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, found)
    except OSError:
        return


def recall(holds_for: Mapping[str, Any], now: datetime | None = None) -> LinkCalibration | None:
    """The calibration of such links that is not older than MAX_AGE, with its age; None without one."""
    path = _path(holds_for)
    try:
        if path.stat().st_size > MAX_CALIBRATION_BYTES:
            return None
        found = LinkCalibration.model_validate_json(path.read_bytes())
    except (OSError, ValidationError, RecursionError):
        return None
    if found.verdict not in ("held", "doubts") or found.measured_on != _plain(holds_for) or not holds_for["boot_id"]:
        return None
    age_s = _age_s(found.measured_utc, now or datetime.now(UTC))
    if age_s is None or age_s > MAX_AGE.total_seconds():
        return None
    return found.model_copy(update={"origin": "cache", "age_s": age_s})


def _path(holds_for: Mapping[str, Any]) -> Path:
    text = json.dumps(_plain(holds_for), sort_keys=True)
    return cache_folder() / f"{hashlib.sha256(text.encode()).hexdigest()[:24]}.json"


def _plain(holds_for: Mapping[str, Any]) -> Any:
    """As it reads back from a file."""
    return json.loads(json.dumps(holds_for))


def _age_s(measured_utc: str | None, now: datetime) -> float | None:
    """None for no moment, and for one that is still to come."""
    try:
        age_s = (now - datetime.fromisoformat(measured_utc or "")).total_seconds()
    except (ValueError, TypeError):
        return None
    return max(age_s, 0.0) if age_s > -1 else None
