"""Points of real runs in real servers: InfluxDB 1.6 and the write path of InfluxDB 2 as VictoriaMetrics has it."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dashboards.interpolation import NS_PER_MS, Range, interpolated, queries
from harness.record.lineprotocol import format_point
from harness.sink.background import delivering
from harness.sink.offset import read_delivered
from harness.sink.target import Target
from tests.system.conftest import ROOT, Cli, wait_until
from tests.system.influx_servers import InfluxDb1, VictoriaMetrics

pytestmark = [pytest.mark.timeout(240)]

SHORT = {
    "load__rate": "8M",
    "load__flows": 16,
    "timing__warm_up": "200ms",
    "timing__window": "1s",
    "timing__migrate_at": "100ms",
    "timing__load_until": "500ms",
    "migration__filler": "64KiB",
    "dataplane__verify": "false",
}
TOKEN = "secret-of-the-test:passed-by-the-environment"
DASHBOARDS = ROOT / "dashboards" / "grafana"
VARIABLES = {"profile": "profile", "mode": "mode", "run": "run_id"}
BASE_NS = 1_700_000_000_000_000_000


@pytest.fixture(autouse=True)
def no_server_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("URL", "ORG", "BUCKET", "TOKEN", "TOKEN_FILE"):
        monkeypatch.delenv(f"INFLUXDB_V2_{name}", raising=False)


@pytest.fixture
def influxdb(tmp_path: Path) -> Iterator[InfluxDb1]:
    server = InfluxDb1(tmp_path)
    try:
        server.start()
        server.create_database()
        yield server
    finally:
        server.end()


@pytest.fixture
def victoria(tmp_path: Path) -> Iterator[VictoriaMetrics]:
    server = VictoriaMetrics(tmp_path)
    try:
        server.start()
        yield server
    finally:
        server.end()


def parsed(line: str) -> tuple[str, dict[str, Any]]:
    """(measurement, tags and fields and time) of a line whose tags hold nothing that is escaped."""
    head, fields, time_ns = re.fullmatch(r"(\S+) (.+) (-?\d+)", line).groups()  # type: ignore[union-attr]
    measurement, *tags = head.split(",")
    values: dict[str, Any] = dict(tag.split("=") for tag in tags)
    for name, text, integer, number in re.findall(r'(\w+)=(?:"((?:[^"\\]|\\.)*)"|(-?\d+)i|([-\d.e+]+))(?:,|$)', fields):
        values[name] = int(integer) if integer else float(number) if number else re.sub(r"\\(.)", r"\1", text)
    return measurement, {**values, "time": int(time_ns)}


def points_below(folder: Path) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for path in folder.rglob("points.lp"):
        for line in path.read_text().splitlines():
            measurement, values = parsed(line)
            found.setdefault(measurement, []).append(values)
    return found


def assert_stored_once(server: InfluxDb1, folder: Path) -> None:
    points = points_below(folder)
    assert {"run_summary", "traffic", "live", "queue", "link", "host", "event"} == set(points)
    for measurement, expected in points.items():
        assert in_order(expected) == in_order(server.rows(measurement)), measurement


def in_order(points: list[dict[str, Any]]) -> list[list[tuple[str, Any]]]:
    """Sorted by their tags and times; JSON of the server has no difference between 0 and 0.0."""
    names = ("time", "run_id", "node", "kind", "link", "process", "phase")
    return [sorted(point.items()) for point in sorted(points, key=lambda p: [str(p.get(name, "")) for name in names])]


def only(paths: set[Path]) -> Path:
    (path,) = paths
    return path


def test_every_point_of_an_experiment_is_stored_once(
    cli: Cli, influxdb: InfluxDb1, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(cli.environment, "INFLUXDB_V2_TOKEN", TOKEN)
    before = cli.directories()
    done = cli(*cli.run_arguments(**SHORT, migration__modes='["none", "statelet"]'), "--influx", influxdb.url)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "not delivered" not in done.stderr
    directory = only(cli.directories() - before)
    assert_stored_once(influxdb, directory)
    assert {row["mode"] for row in influxdb.rows("run_summary")} == {"none", "statelet"}
    assert_every_query_answers(influxdb, directory)

    pushed = cli("push", directory, "--influx", influxdb.url)
    assert pushed.stdout == f"delivered 0 lines of 2 runs to {influxdb.url} (bucket harness)\n"
    again = json.loads(cli("push", directory, "--influx", influxdb.url, "--again", "--json").stdout)
    assert again["delivered_lines"] == sum(map(len, points_below(directory).values()))
    assert_stored_once(influxdb, directory)

    for path in directory.rglob("*"):
        assert path.is_dir() or TOKEN.encode() not in path.read_bytes(), path
    assert TOKEN not in done.stdout + done.stderr + pushed.stdout


def assert_every_query_answers(server: InfluxDb1, directory: Path) -> None:
    """Each returns rows, and no column that is nothing but null."""
    points = points_below(directory)
    times_ns = [point["time"] for points_of_one in points.values() for point in points_of_one]
    shown = Range(min(times_ns) // NS_PER_MS - 1000, max(times_ns) // NS_PER_MS + 1000)
    some = {name: sorted({str(point[tag]) for point in points["run_summary"]}) for name, tag in VARIABLES.items()}
    for path in sorted(DASHBOARDS.glob("*.json")):
        for query in queries(json.loads(path.read_text())):
            for chosen in (dict.fromkeys(VARIABLES, None), some):
                where = f"{path.name}: {query.where}"
                series = server.query(interpolated(query, chosen, shown))
                assert sum(len(one["values"]) for one in series) > 0, where
                for index, column in enumerate(series[0]["columns"]):
                    assert any(row[index] is not None for one in series for row in one["values"]), (where, column)


def test_points_arrive_while_the_run_is_still_going(cli: Cli, influxdb: InfluxDb1) -> None:
    before = cli.directories()
    setting = {**SHORT, "timing__window": "6s", "timing__migrate_at": "2s", "timing__load_until": "5s"}
    arguments = cli.run_arguments(**setting, migration__modes='["statelet"]')
    with cli.start(*arguments, "--influx", influxdb.url) as running:
        directory = cli.wait_for_phase(running, before, "window")
        arrived: dict[str, list[dict[str, Any]]] = {}

        def something_of_each() -> bool:
            arrived.update({name: influxdb.rows(name) for name in ("live", "queue", "link", "host", "event")})
            return all(arrived.values()) and "window" in {row["phase"] for row in arrived["event"]}

        wait_until(something_of_each, "points of the run that goes on")
        assert not (directory / "01-statelet" / "summary.json").exists(), "it had ended before they were there"
        assert not {"client_end", "load_end", "done"} & {row["phase"] for row in arrived["event"]}
        delay_s = (time.time_ns() - max(row["time"] for row in arrived["live"])) / 1e9
        assert delay_s < 5.0, "as a machine that is busy with others may make it; about a second where it is not"
        assert influxdb.rows("run_summary") == influxdb.rows("traffic") == []
        assert running.end() == 0, running.output
    assert "not delivered" not in running.output
    assert_stored_once(influxdb, directory)
    stored = in_order(influxdb.rows("live"))
    for row in in_order(arrived["live"]):
        assert row in stored, "contradicted later"


def test_a_run_that_is_killed_has_what_it_had_measured_on_the_disk_and_at_the_server(
    cli: Cli, influxdb: InfluxDb1
) -> None:
    before = cli.directories()
    arguments = cli.run_arguments(**{**SHORT, "timing__window": "8s", "timing__load_until": "7s"})
    with cli.start(*arguments, "--influx", influxdb.url) as running:
        directory = cli.wait_for_phase(running, before, "window")
        wait_until(lambda: "live" in points_below(directory), "live points")
        running.end(signal.SIGKILL)
    written = points_below(directory)
    wait_until(lambda: len(influxdb.rows("live")) == len(written["live"]), "the sink has delivered them")
    wait_until(lambda: not cli.processes(), "everything has ended")
    assert cli("clean").returncode == 0


def test_a_run_without_its_server_is_the_same_run_and_push_completes_it(cli: Cli, influxdb: InfluxDb1) -> None:
    influxdb.end()
    before = cli.directories()
    done = cli(*cli.run_arguments(**SHORT, migration__modes='["none"]', record__influxdb__url=influxdb.url))
    assert done.returncode == 0, done.stdout + done.stderr
    directory = only(cli.directories() - before)
    lines = sum(map(len, points_below(directory).values()))
    *_, told = done.stderr.splitlines()  # before it perhaps what is compiled
    assert told.startswith(f"{lines} lines not delivered to {influxdb.url} (bucket harness) (Connection refused)")
    command = re.search(r"harness (push .*) completes them", told)
    assert command is not None, told

    influxdb.start()
    assert cli(*command[1].split()).returncode == 0
    assert_stored_once(influxdb, directory)


def folder_with(tmp_path: Path, name: str, lines: list[str]) -> Path:
    folder = tmp_path / "experiment" / name
    folder.mkdir(parents=True)
    (folder / "points.lp").write_text("".join(f"{line}\n" for line in lines))
    return folder


def sent_points(run_id: str, count: int, **tags: str) -> list[str]:
    tags = {"run_id": run_id, "profile": "p", "mode": "none", **tags}
    return [
        format_point("traffic", tags, {"sent_packets": number, "rtt_max_ns": 2**62}, BASE_NS + number * 1_000_000)
        for number in range(count)
    ]


def test_a_server_that_is_killed_and_restarted_gets_what_is_missing(tmp_path: Path, influxdb: InfluxDb1) -> None:
    folders = [folder_with(tmp_path, f"0{number}-none", sent_points(f"r{number}", 12_000)) for number in range(3)]
    told: list[str] = []
    with delivering(Target(influxdb.url), told.append, 60.0) as recorded:
        assert recorded is not None
        recorded(folders[0])
        recorded(folders[1])
        influxdb.end()  # in the middle of whatever it was doing
        influxdb.start()
        recorded(folders[2])
    assert told == []
    assert influxdb.query("SELECT COUNT(sent_packets) FROM traffic")[0]["values"][0][1] == 36_000


def test_of_200_000_points_none_is_lost_when_the_server_is_killed_twice_during_a_push(
    cli: Cli, tmp_path: Path, influxdb: InfluxDb1
) -> None:
    count, target = 200_000, Target(influxdb.url)
    folder = folder_with(tmp_path, "01-none", sent_points("r", count))
    for share in (0.2, 0.6):
        with cli.start("push", folder, "--influx", influxdb.url) as push:
            wait_until(lambda: read_delivered(folder, target).stored_lines > share * count, "lines are stored")  # noqa: B023
            influxdb.end()
            assert push.end() == 1, push.output
        assert read_delivered(folder, target).stored_lines < count
        influxdb.start()
    assert cli("push", folder, "--influx", influxdb.url).returncode == 0
    assert influxdb.query("SELECT COUNT(sent_packets) FROM traffic")[0]["values"][0][1] == count
    assert influxdb.query("SELECT SUM(sent_packets) FROM traffic")[0]["values"][0][1] == count * (count - 1) // 2


def test_a_server_that_is_frozen_holds_nobody_up(tmp_path: Path, influxdb: InfluxDb1) -> None:
    assert influxdb.process is not None
    os.kill(influxdb.process.pid, signal.SIGSTOP)
    told: list[str] = []
    with delivering(Target(influxdb.url), told.append, 0.5) as recorded:
        assert recorded is not None
        recorded(folder_with(tmp_path, "01-none", sent_points("r", 10)))
    (line,) = told
    assert line.startswith("10 lines not delivered")


def test_bad_lines_go_to_the_quarantine_and_the_others_are_stored(
    cli: Cli, tmp_path: Path, influxdb: InfluxDb1
) -> None:
    good = sent_points("r", 50)
    lines = [
        *good[:20],
        "traffic without fields",
        *good[20:40],
        f'traffic,run_id=r sent_packets="x" {BASE_NS}',
        *good[40:],
    ]
    folder = folder_with(tmp_path, "01-none", lines)
    done = cli("push", folder, "--influx", influxdb.url, "--json")
    assert done.returncode == 1, done.stderr
    document = json.loads(done.stdout)
    assert (document["delivered_lines"], document["rejected_lines"], document["left_lines"]) == (50, 2, 0)
    kept = [json.loads(line) for line in Path(document["rejected"][0]).read_text().splitlines()]
    assert [entry["line"] for entry in kept] == [lines[20], lines[41]]
    assert "unable to parse" in kept[0]["reason"]
    assert "field type conflict" in kept[1]["reason"]
    assert len(influxdb.rows("traffic")) == 50


def test_a_missing_database_is_named_and_nothing_is_thrown_away(cli: Cli, tmp_path: Path, influxdb: InfluxDb1) -> None:
    folder = folder_with(tmp_path, "01-none", sent_points("r", 3))
    done = cli("push", folder, "--influx", influxdb.url, "--bucket", "nowhere")
    assert done.returncode == 1
    assert '3 lines not delivered: database not found: "nowhere" (HTTP 404)' in done.stdout


def test_names_that_need_escaping_arrive_as_they_are(tmp_path: Path, influxdb: InfluxDb1, cli: Cli) -> None:
    profile, text = "a b,c=d \u00e9", 'said "no"\\ and\nleft'
    tags = {"run_id": "r", "profile": profile, "mode": "none", "phase": "x"}
    line = format_point("event", tags, {"text": text, "duration_ns": 1}, BASE_NS)
    assert cli("push", folder_with(tmp_path, "01-none", [line]), "--influx", influxdb.url).returncode == 0
    (row,) = influxdb.rows("event")
    assert (row["profile"], row["text"]) == (profile, 'said "no"\\ and\\nleft')


def test_the_write_path_of_influxdb_2(cli: Cli, tmp_path: Path, victoria: VictoriaMetrics) -> None:
    folder = folder_with(tmp_path, "01-none", sent_points("r", 6000))
    arguments = ["push", folder, "--influx", victoria.url, "--org", "o", "--bucket", "b"]
    assert cli(*arguments).returncode == 0
    done = cli(*arguments, "--json")
    assert json.loads(done.stdout)["delivered_lines"] == 0
    samples = victoria.samples('{run_id="r"}')
    assert sorted(samples) == ["traffic_rtt_max_ns", "traffic_sent_packets"]
    assert samples["traffic_sent_packets"] == [(BASE_NS // 1_000_000 + n, n) for n in range(6000)]
