"""calibration.json of an experiment: what its links were measured to be, when, and on which boot of which kernel."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

CALIBRATION = "calibration.json"
MAX_CALIBRATION_BYTES = 4 << 20

LinksVerdict = Literal["held", "doubts", "breached", "not calibrated"]
Origin = Literal["measured", "cache", "sweep", "none"]
_Line = Annotated[str, Field(max_length=2_000)]


class LinkCalibration(BaseModel):
    """What is known of an experiment's links before its first run.

    verdict: "held", "doubts" (something could not be judged here), "breached" (a limit is not held) or "not
    calibrated". origin: measured for this experiment, by an earlier command on this boot ("cache"), by its sweep, or
    not at all. age_s: since the measurement, when the experiment took it. measured_on: what the measurement holds for
    (boot, kernel, backend, conditions of every link, tick, scheduler). figures: as `harness doctor --calibrate --json`
    prints them.
    """

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, frozen=True)

    schema_version: Literal[1] = 1
    verdict: LinksVerdict
    origin: Origin = "none"
    reason: _Line = ""
    measured_utc: str | None = None
    age_s: Annotated[float, Field(ge=0)] | None = None
    problems: tuple[_Line, ...] = ()
    doubts: tuple[_Line, ...] = ()
    measured_on: dict[str, Any] | None = None
    figures: dict[str, Any] | None = None


def not_calibrated(reason: str) -> LinkCalibration:
    """Nothing is known of the links, and why."""
    return LinkCalibration(verdict="not calibrated", reason=reason)


def read_calibration(path: Path) -> LinkCalibration | None:
    """The calibration an experiment's directory holds; None where there is none that can be read."""
    try:
        file = path / CALIBRATION
        if file.stat().st_size > MAX_CALIBRATION_BYTES:
            return None
        return LinkCalibration.model_validate_json(file.read_bytes())
    except (OSError, ValidationError, RecursionError):
        return None


def calibration_line(verdict: str, age_s: float | None, origin: str = "", reason: str = "") -> str:
    """One line about it, for people."""
    if verdict == "not calibrated":
        return f"links: not calibrated{f' ({reason})' if reason else ''}"
    said = {"held": "as calibrated", "doubts": "calibrated with doubts", "breached": "off their calibration"}[verdict]
    age = "" if age_s is None else f", measured {age_text(age_s)} before"
    source = {"cache": " by an earlier command", "sweep": " for the sweep"}.get(origin, "")
    return f"links: {said}{age}{source}"


def age_text(age_s: float) -> str:
    """About how long: "8 s", "12 min", "3 h"."""
    if age_s < 120:
        return f"{age_s:.0f} s"
    return f"{age_s / 60:.0f} min" if age_s < 7_200 else f"{age_s / 3600:.0f} h"
