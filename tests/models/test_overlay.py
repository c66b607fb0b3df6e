"""The model beside measured runs: what it predicts, how the difference is split, and what it reads."""

from __future__ import annotations

import json
import math

import pytest

from harness import cli
from harness.errors import UsageError
from harness.models import overlay as module
from harness.models.overlay import Links, overlay, overlay_results, slow_start_delay_s
from harness.record.events import Event
from harness.record.rundir import RunDirectory
from harness.record.summary import LoadSummary, MigrationSummary, RunSummary, ValiditySummary

LINKS = Links(uplink_bps=1e9, latency_s=0.0025, snapshot_rate_bps=0.36e9)


def make_run(mode="statelet", duration_s=1.0, stream_bytes=1_500_000, offered=600_000_000, **changed):
    fields = {
        "outcome": "completed",
        "duration_ns": round(duration_s * 1e9),
        "snapshot_bytes": 20_000_000,
        "statelet_stream_bytes": stream_bytes,
        "statelets": 90_000,
        "st_q_out_max_packets": 500,
    }
    return RunSummary(
        run_id="abc-01",
        profile="nat",
        mode=mode,
        started_utc="2026-01-01T00:00:00+00:00",
        validity=ValiditySummary(verdict="VALID"),
        load=LoadSummary(offered_bps=offered, frame_bytes=1400),
        migration=MigrationSummary(**{**fields, **changed}),
    )


def event(phase, seconds):
    return Event(round(seconds * 1e9), round(seconds * 1e9), phase, phase)


EVENTS = [
    event("destination.receive_snapshot", 1.0),
    event("destination.install", 1.6),
    event("destination.buffering", 1.85),
]


def test_equation_3_with_the_measured_statelet_factor():
    found = overlay(make_run(), LINKS)
    assert found.statelet_factor == pytest.approx(0.02)
    assert found.model_s == pytest.approx(160e6 / (400e6 - 12e6))


def test_the_parts_sum_to_what_was_measured():
    found = overlay(make_run(), LINKS, EVENTS)
    assert found.model_s + math.fsum(t.seconds for t in found.terms) + found.unexplained_s == pytest.approx(1.0)
    parts = {t.name: t.seconds for t in found.terms}
    assert list(parts) == ["headers", "pacing", "TCP start", "round trips", "slower snapshot", "install"]
    framed = 160e6 * 1514 / 1448 / (400e6 - 12e6 * 1514 / 1448)
    assert parts["headers"] == pytest.approx(framed - found.model_s)
    assert parts["pacing"] == pytest.approx(160 / 360 - framed)
    assert parts["round trips"] == pytest.approx(0.025)
    assert parts["install"] == pytest.approx(0.25)
    assert parts["slower snapshot"] == pytest.approx(0.6 - 160 / 360 - parts["TCP start"] - 0.01)


def test_without_latency_pacing_and_events_only_headers_are_known():
    found = overlay(make_run(), Links(1e9, 0.0, None))
    assert [t.name for t in found.terms] == ["headers"]
    assert "measured 1000.0 ms, Eq. 3 412.4 ms, +587.6 ms" in found.explanation


def test_pacing_above_what_is_left_does_not_bind():
    assert "pacing" not in [t.name for t in overlay(make_run(), Links(1e9, 0.0025, 0.5e9)).terms]


def test_duplication_that_does_not_fit_never_ends_in_the_model():
    found = overlay(make_run("duplication", 3.7, 100_000_000), LINKS, EVENTS)
    assert found.statelet_factor == pytest.approx(1404 / 1400)
    assert (found.model_s, found.terms, found.unexplained_s) == (None, (), None)
    assert "Eq. 2 does not hold: statelets of 601.7 Mbit/s do not fit the 400 Mbit/s" in found.explanation
    assert "up to 500 statelets waiting at the source" in found.explanation


def test_slow_start_by_hand():
    """10 segments of 1448 bytes are 115,840 bit; at 400 Mbit/s and 10 ms the path holds 4 Mbit: six windows too few."""
    windows = [115_840 * 2**k for k in range(6)]
    assert windows[-1] < 4e6 <= 2 * windows[-1]
    assert slow_start_delay_s(400e6, 0.01, 1e9) == pytest.approx(sum(0.01 - w / 400e6 for w in windows))
    assert slow_start_delay_s(400e6, 0.01, 115_840) == 0
    assert slow_start_delay_s(1e6, 0.01, 1e9) == 0


@pytest.mark.parametrize("changed", [{"duration_ns": None}, {"snapshot_bytes": None}])
def test_a_run_that_did_not_measure_is_refused(changed):
    with pytest.raises(UsageError, match="abc-01: no duration or snapshot size"):
        overlay(make_run(**changed), LINKS)


@pytest.fixture
def experiment(tmp_path):
    directory = RunDirectory.create(tmp_path, "nat", "abc")
    profile = {"uplink": {"rate": "1Gbit", "latency": "2.5ms", "latency_backend": "auto"}}
    directory.write_json("effective.json", {"profile": profile, "plan": {"snapshot_rate_bps": 360_000_000}})
    for number, (mode, outcome) in enumerate([("none", "none"), ("statelet", "completed"), ("statelet", "aborted")], 1):
        folder = directory.run(number, mode)
        folder.write_json("summary.json", make_run(mode, outcome=outcome))
        with folder.events() as log:
            for entry in EVENTS:
                log.record(entry.phase, entry.text, monotonic_ns=entry.monotonic_ns)
    return directory.path


def test_an_experiment_and_a_run_are_read(experiment):
    (found,) = overlay_results(experiment)
    assert found == overlay(make_run(), LINKS, EVENTS)
    assert overlay_results(experiment / "02-statelet") == [found]
    assert overlay_results(experiment / "01-none") == []


def test_no_latency_generator_means_no_latency(experiment):
    path = experiment / "effective.json"
    data = json.loads(path.read_text())
    data["profile"]["uplink"]["latency_backend"] = "none"
    path.write_text(json.dumps(data))
    assert module.read_links(experiment) == Links(1e9, 0.0, 360e6)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"profile": {"uplink": {"rate": 3}}, "plan": {}}'])
def test_a_damaged_profile_is_named(experiment, content):
    (experiment / "effective.json").write_text(content)
    with pytest.raises(UsageError, match=r"effective\.json: not an effective profile"):
        overlay_results(experiment)


def test_a_missing_directory_or_profile_is_named(experiment, tmp_path):
    with pytest.raises(UsageError, match="not a directory"):
        overlay_results(tmp_path / "nothing")
    (experiment / "effective.json").unlink()
    with pytest.raises(UsageError, match=r"effective\.json: cannot be read"):
        overlay_results(experiment)


def test_the_command(experiment, capsys, tmp_path):
    plot = tmp_path / "overlay.svg"
    assert cli.invoke(["model", "overlay", str(experiment), "--plot", str(plot)]) == 0
    output = capsys.readouterr().out
    assert "abc-01 statelet: measured 1000.0 ms, Eq. 3 412.4 ms" in output
    assert "TCP start: the window grows from 10 segments at an RTT of 10 ms" in output
    assert plot.is_file()
    assert cli.invoke(["model", "overlay", str(experiment), "--json"]) == 0
    (entry,) = json.loads(capsys.readouterr().out)["migrations"]
    assert entry["model_s"] == pytest.approx(0.41237, abs=1e-5)
    assert cli.invoke(["model", "overlay", str(experiment), "--csv"]) == 0
    assert (
        capsys.readouterr()
        .out.splitlines()[0]
        .endswith("headers_s,pacing_s,tcp_start_s,round_trips_s,slower_snapshot_s,install_s")
    )
    assert cli.invoke(["model", "overlay", str(experiment / "01-none")]) == 2
    assert "no completed migration" in capsys.readouterr().err
