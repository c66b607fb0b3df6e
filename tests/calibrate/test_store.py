"""Which kept calibrations count for which links, and what a hostile or damaged file is worth: nothing."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from harness.calibrate.calibration import Calibration
from harness.calibrate.figures import Figures
from harness.calibrate.for_runs import calibration_of_links
from harness.calibrate.store import as_recorded, cache_folder, keep, measured_on, recall
from harness.profile.load import parse_profile
from harness.profile.topology import make_topology
from harness.record.calibration import LinkCalibration
from harness.testbed.testbed import Testbed


def links(**uplink: Any) -> dict[str, Any]:
    profile = parse_profile({"uplink": uplink})
    return measured_on(Testbed(make_topology(profile, "a0000000")), profile)


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return cache_folder()


@pytest.fixture
def calibration(figures: Figures) -> Calibration:
    return Calibration("smoke", datetime.now(UTC).isoformat(timespec="seconds"), 7, figures)


@pytest.fixture
def kept(calibration: Calibration) -> LinkCalibration:
    found = as_recorded(calibration, links())
    keep(found)
    return found


def test_what_was_measured_is_recalled_for_the_same_links_only(kept: LinkCalibration) -> None:
    assert kept.verdict == "held"
    found = recall(links())
    assert found is not None
    assert (found.origin, found.problems) == ("cache", ())
    assert found.figures == json.loads(json.dumps(kept.figures))
    for other in (links(latency="3ms"), links(rate="900Mbit"), {**links(), "boot_id": "another"}):
        assert recall(other) is None


@pytest.mark.parametrize(("age", "known"), [(timedelta(minutes=59), True), (timedelta(minutes=61), False)])
def test_it_counts_for_an_hour(calibration: Calibration, age: timedelta, known: bool) -> None:
    keep(as_recorded(calibration, links()))
    found = recall(links(), datetime.now(UTC) + age)
    assert (found is not None) == known
    if found is not None:
        assert found.age_s == pytest.approx(age.total_seconds(), abs=5)


def test_one_from_the_future_counts_for_nothing(kept: LinkCalibration) -> None:
    assert recall(links(), datetime.now(UTC) - timedelta(minutes=5)) is None


def test_a_breach_is_not_kept_and_a_doubt_is(calibration: Calibration, figures: Figures, folder: Path) -> None:
    rate = figures.rates[0]
    broken = replace(calibration, figures=replace(figures, rates=(replace(rate, measured_bps=700_000_000),)))
    found = as_recorded(broken, links())
    assert found.verdict == "breached"
    assert found.problems
    keep(found)
    assert recall(links()) is None
    keep(as_recorded(replace(calibration, figures=replace(figures, rates=(replace(rate, intervals=1),))), links()))
    recalled = recall(links())
    assert recalled is not None
    assert recalled.verdict == "doubts"


@pytest.mark.parametrize(
    "change",
    [
        {"verdict": "breached"},
        {"verdict": "perfect"},
        {"measured_utc": "yesterday"},
        {"measured_utc": None},
        {"measured_on": {}},
        {"surprise": 1},
        {"age_s": float("nan")},
        {"problems": ["x" * 3_000]},
    ],
)
def test_a_changed_file_counts_for_nothing(kept: LinkCalibration, folder: Path, change: dict[str, Any]) -> None:
    (path,) = folder.iterdir()
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    assert recall(links()) is None


@pytest.mark.parametrize("content", [b"", b"{", b"[" * 100_000, b"\xff\xfe", b" " * (5 << 20)])
def test_damage_counts_for_nothing(kept: LinkCalibration, folder: Path, content: bytes) -> None:
    (path,) = folder.iterdir()
    path.write_bytes(content)
    assert recall(links()) is None


def test_nowhere_to_keep_it_is_no_error(calibration: Calibration, folder: Path) -> None:
    folder.parent.mkdir(parents=True)
    folder.write_text("a file in the place of the folder")
    keep(as_recorded(calibration, links()))
    assert recall(links()) is None


def test_the_choice(kept: LinkCalibration, monkeypatch: pytest.MonkeyPatch, calibration: Calibration) -> None:
    measured: list[str] = []

    def measure(*_arguments: object) -> Calibration:
        measured.append("again")
        return calibration

    monkeypatch.setattr("harness.calibrate.for_runs.calibrate_standing", measure)
    profile = parse_profile({})
    testbed = Testbed(make_topology(profile, "a0000000"))

    def choose(choice: Any, of: Testbed = testbed) -> LinkCalibration:
        return calibration_of_links(choice, of, profile, lambda _: None)

    assert choose("off").verdict == "not calibrated"
    assert choose("cached").origin == "cache"
    assert measured == []
    assert choose("fresh").origin == "measured"
    slower = Testbed(make_topology(parse_profile({"uplink": {"latency": "3ms"}}), "a0000000"))
    assert choose("cached", slower).origin == "measured"
    assert choose("cached", slower).origin == "cache"
    assert measured == ["again", "again"]
