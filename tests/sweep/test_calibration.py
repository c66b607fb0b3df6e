from __future__ import annotations

import json

import pytest

from harness.errors import MachineError
from harness.record.calibration import LinkCalibration
from harness.sweep.calibration import calibrate_cells, note_skipped
from tests.sweep.conftest import SWEEP


def found(*problems, **figures):
    return LinkCalibration(verdict="breached" if problems else "held", problems=problems, figures=figures)


def test_every_kind_of_uplink_is_measured_once(sweep_file, ask, tmp_path):
    text = SWEEP + '"uplink.latency" = ["2ms", "3ms"]\n'
    cells = ask(sweep_file(text)).cells
    measured, told = [], []

    def calibrate(profile):
        measured.append(profile.uplink.latency_ns)
        return found(n=len(measured))

    known = calibrate_cells(tmp_path, cells, calibrate, told.append)
    assert len(cells) == 4
    assert {digest: known[digest].figures["n"] for digest in known} == {
        cell.digest: 1 if cell.profile.uplink.latency_ns == 2_000_000 else 2 for cell in cells
    }
    assert {links.origin for links in known.values()} == {"sweep"}
    assert measured == [2_000_000, 3_000_000]
    assert len(told) == 2
    written = json.loads((tmp_path / "calibration.json").read_text())["calibrations"]
    assert [entry["figures"] for entry in written] == [{"n": 1}, {"n": 2}]


def test_a_breach_stops_and_is_on_the_disk(sweep_file, ask, tmp_path):
    cells = ask(sweep_file()).cells
    breach = "source uplink, from the instance: 930 Mbit/s, limit 980 Mbit/s"
    with pytest.raises(MachineError) as raised:
        calibrate_cells(tmp_path, cells, lambda _profile: found(breach), lambda _text: None)
    lines = str(raised.value).splitlines()
    assert lines[0] == f"calibration: {breach}"
    assert "--no-calibration" in lines[-1]
    (written,) = json.loads((tmp_path / "calibration.json").read_text())["calibrations"]
    assert written["problems"] == [breach]


def test_sessions_add_to_what_was_measured_before(sweep_file, ask, tmp_path):
    cells = ask(sweep_file()).cells
    calibrate_cells(tmp_path, cells, lambda _profile: found(), lambda _text: None)
    note_skipped(tmp_path)
    written = json.loads((tmp_path / "calibration.json").read_text())["calibrations"]
    assert ["skipped" in entry for entry in written] == [False, True]
