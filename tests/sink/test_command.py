from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from harness.cli import invoke
from harness.sink.offset import note
from harness.sink.target import Target
from tests.sink.conftest import HttpServer, point

TOKEN = "token-of-the-test-XYZ"


@pytest.fixture
def influx(http_server: HttpServer, monkeypatch: pytest.MonkeyPatch) -> HttpServer:
    monkeypatch.setenv("INFLUXDB_V2_ORG", "o")
    return http_server


def test_push_completes_an_experiment_and_the_second_time_sends_nothing(run, influx, capsys, monkeypatch):
    monkeypatch.setenv("INFLUXDB_V2_URL", influx.url)
    experiment = run("01-none", 2).parent
    run("02-statelet", 3)
    assert invoke(["push", str(experiment)]) == 0
    assert len(influx.stored) == 5
    assert capsys.readouterr().out == f"delivered 5 lines of 2 runs to {influx.url} (bucket harness)\n"
    assert invoke(["push", str(experiment)]) == 0
    assert len(influx.stored) == 5
    assert invoke(["push", str(experiment), "--again"]) == 0
    assert len(influx.stored) == 10


@pytest.mark.parametrize("below", ["", "runs/x/", "sweep/runs/x/"])
def test_any_depth_of_results_is_pushed(run, influx, below):
    folder = run(f"{below}01-none", 2)
    root = folder
    for _ in below.split("/"):
        root = root.parent
    assert invoke(["push", str(root), "--influx", influx.url]) == 0
    assert influx.stored == [point(0), point(1)]


def test_a_run_by_itself_is_pushed(run, influx):
    run("02-other", 1)
    assert invoke(["push", str(run("01-none", 2)), "--influx", influx.url]) == 0
    assert len(influx.stored) == 2


def test_rejected_lines_are_exit_code_1_until_they_are_taken(run, influx, capsys):
    influx.answer = lambda request: (400, {}, '{"message":"no"}') if b"bad" in request.body else (204, {}, "")
    folder = run(points=2, lines=b"bad\n")
    assert invoke(["push", str(folder), "--influx", influx.url, "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert (document["delivered_lines"], document["rejected_lines"], document["left_lines"]) == (2, 1, 0)
    (path,) = document["rejected"]
    assert json.loads(Path(path).read_text())["reason"] == "no (HTTP 400)"
    assert invoke(["push", str(folder), "--influx", influx.url]) == 1
    assert path in capsys.readouterr().out
    influx.answer = None
    assert invoke(["push", str(folder), "--influx", influx.url, "--again"]) == 0
    assert not Path(path).exists()


def test_a_server_that_is_away_is_exit_code_1_and_loses_nothing(run, influx, capsys, monkeypatch):
    monkeypatch.setattr("harness.sink.deliver.PAUSES_S", ())
    folder = run(points=2)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        assert invoke(["push", str(folder), "--influx", url]) == 1
    assert "2 lines not delivered: Connection refused; the same command completes them" in capsys.readouterr().out
    assert invoke(["push", str(folder), "--influx", influx.url]) == 0


def test_the_bucket_the_run_was_meant_for_is_used(run, influx, monkeypatch):
    monkeypatch.delenv("INFLUXDB_V2_ORG")
    folder = run(points=1)
    note(folder, Target(influx.url, "its-org", "its-bucket"))
    assert invoke(["push", str(folder), "--influx", f"{influx.url}/"]) == 0
    assert influx.writes[0].query["bucket"] == ["its-bucket"]
    assert invoke(["push", str(folder), "--influx", influx.url, "--bucket", "other", "--org", "x"]) == 0
    assert influx.writes[1].query["bucket"] == ["other"]
    note(folder, Target(influx.url, "its-org", "third"))
    assert invoke(["push", str(folder), "--influx", influx.url]) == 2


def test_a_token_never_goes_to_an_address_that_stands_in_results(run, influx, capsys, monkeypatch):
    monkeypatch.setenv("INFLUXDB_V2_TOKEN", TOKEN)
    folder = run(points=1)
    note(folder, Target(influx.url, "o", "b"))
    assert invoke(["push", str(folder)]) == 2
    assert influx.requests == []
    assert f"the runs were to go to {influx.url}" in capsys.readouterr().err


def test_the_token_appears_nowhere(run, influx, capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("INFLUXDB_V2_TOKEN", TOKEN)
    influx.answer = lambda request: (400, {}, json.dumps({"message": request.headers["Authorization"]}))
    assert invoke(["push", str(run(points=1)), "--influx", influx.url, "--json"]) == 1
    assert TOKEN not in "".join(capsys.readouterr())
    assert influx.writes[0].headers["Authorization"].endswith(TOKEN)
    assert all(TOKEN not in path.read_text() for path in tmp_path.rglob("*") if path.is_file())


@pytest.mark.parametrize("arguments", [["--influx", "h"], ["--influx", "http://a:b@h"], []])
def test_usage_errors(run, capsys, arguments):
    assert invoke(["push", str(run(points=1)), *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("harness: error: ")


def test_no_results_is_a_usage_error(tmp_path, capsys):
    assert invoke(["push", str(tmp_path), "--influx", "http://h"]) == 2
    assert invoke(["push", str(tmp_path / "nowhere"), "--influx", "http://h"]) == 2
    assert "holds no points.lp" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [["--influx", "http://me:hunter22@h:8086"], ["--set", "record.influxdb.url=http://me:hunter22@h:8086"]],
)
def test_a_run_with_a_password_in_an_address_ends_before_anything_is_written(tmp_path, capsys, arguments):
    profile = Path(__file__).parents[2] / "profiles" / "smoke.toml"
    assert invoke(["run", str(profile), "--results", str(tmp_path), *arguments]) == 2
    assert "INFLUXDB_V2_TOKEN" in (error := capsys.readouterr().err)
    assert "hunter22" not in error
    assert list(tmp_path.iterdir()) == []
