"""Following a run by its files while they grow: whole points only, growth of counters, the end."""

from __future__ import annotations

import json
import re
import threading

import pytest

from harness.errors import UsageError
from harness.record.lineprotocol import format_point
from harness.report import live_curves
from harness.report.follow import Chart, Followed, newest_experiment
from harness.report.live_curves import draw, follow, line

TAGS = {"run_id": "r", "profile": "p", "mode": "statelet"}
START_NS = 1_700_000_000_000_000_000


def point(measurement, tenths, fields, **tags):
    return format_point(measurement, {**TAGS, **tags}, fields, START_NS + tenths * 100_000_000) + "\n"


@pytest.fixture
def experiment(tmp_path):
    folder = tmp_path / "20260101T000000Z-p-abc"
    (folder / "01-statelet").mkdir(parents=True)
    (folder / "manifest.json").write_text("{}")
    return folder


@pytest.fixture
def run(experiment):
    return experiment / "01-statelet"


def append(run, text):
    with (run / "points.lp").open("a") as file:
        file.write(text)


def charts(followed):
    return {chart.title: chart.curves for chart in followed.charts()}


def test_what_is_written_meanwhile_is_taken_once_and_whole(run):
    followed = Followed(run)
    assert followed.read() == 0  # no file yet
    first, second = (point("live", n, {"sent_bps": 2e8, "received_bps": 1e8 + n}) for n in range(2))
    append(run, first + second[:-5])
    assert followed.read() == 1
    assert followed.read() == 0
    append(run, second[-5:])
    assert followed.read() == 1
    assert charts(followed)["load, both directions"]["sent"] == [(0.0, 200.0), (0.1, 200.0)]
    assert followed.refused == 0


def test_counters_are_shown_by_their_growth_and_idle_curves_not_at_all(run):
    for n, count in enumerate((1000, 126_000, 10, 125_010)):
        append(run, point("link", n, {"rx_bytes": count, "tx_bytes": 5}, node="source", link="up0"))
        append(run, point("queue", n, {"depth_packets": n}, node="destination", kind="pkt_q_interior"))
        append(run, point("queue", n, {"depth_packets": 0}, node="source", kind="st_q_out"))
    followed = Followed(run)
    followed.read()
    found = charts(followed)
    assert found["uplinks"] == {
        "source received": [(pytest.approx(0.1), pytest.approx(10.0))] * 1 + [(pytest.approx(0.3), pytest.approx(10.0))]
    }
    assert list(found["queues"]) == ["destination pkt_q_interior"]


def test_what_is_no_point_is_counted_and_passed_over(run):
    append(run, "no point\n\x1b]0;title\x07\n" + point("event", 0, {"text": "x"}, phase="window"))
    followed = Followed(run)
    assert followed.read() == 1
    assert (followed.refused, followed.phase) == (2, "window")


def test_a_run_is_followed_to_its_end_by_a_line_at_every_phase(experiment, run, monkeypatch):
    monkeypatch.setattr(live_curves, "PERIOD_S", 0.01)
    lines, ready = [], threading.Event()

    def write(text):
        lines.append(text)
        ready.set()

    thread = threading.Thread(target=follow, args=(experiment.parent, write))
    append(run, point("event", 0, {"text": "x"}, phase="warm_up") + point("live", 0, {"rtt_mean_ns": 10_500_000}))
    thread.start()
    assert ready.wait(10)
    append(run, point("event", 1, {"text": "x"}, phase="window") + point("live", 1, {"rtt_mean_ns": 11_500_000}))
    (experiment / "summary.json").write_text(json.dumps({}))
    thread.join(10)
    assert not thread.is_alive()
    assert "warm_up" in lines[0]
    assert "RTT mean 10.5 ms" in lines[0]
    assert "window" in lines[-1]
    assert "RTT mean 11.5 ms" in lines[-1]


def test_nothing_to_follow_is_said(tmp_path):
    with pytest.raises(UsageError, match="no experiment here"):
        newest_experiment(tmp_path)
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "manifest.json").write_text("{}")
    with pytest.raises(UsageError, match="no run has begun"):
        follow(tmp_path / "one", print, wait_s=0.0)
    with pytest.raises(UsageError, match="not a directory"):
        follow(tmp_path / "none", print)


def test_a_chart_fits_the_terminal_and_prints_no_control_characters(run):
    curve = [(n / 10, 10.0 + n) for n in range(50)]
    text = draw(Chart("round-trip time", "ms", {"mean \x1b[2J": curve}, rule=15.0), 80, 12)
    plain = re.sub(r"\x1b\[[0-9;]*m", "", text)  # colours, and nothing else of that kind
    assert len(plain.splitlines()) <= 12
    assert max(map(len, plain.splitlines())) <= 80
    assert "\x1b" not in plain
    assert "round-trip time [ms]" in plain


def test_names_of_others_are_printable(tmp_path):
    assert "\x1b" not in line(Followed(tmp_path, phase="\x1b[2J"))
