from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from harness.sink.background import delivering, describe
from harness.sink.offset import lines_left
from harness.sink.target import Target
from tests.sink.conftest import HttpServer, point

TOKEN = "token-of-the-test-XYZ"
END_S = 60.0


def children() -> set[int]:
    return set(map(int, Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()))


def test_runs_are_delivered_by_a_process_that_holds_the_token_alone(run, http_server: HttpServer, monkeypatch):
    monkeypatch.setenv("INFLUXDB_V2_TOKEN", TOKEN)
    target, told = Target(http_server.url, "o", "b"), []
    before = children()
    with delivering(target, told.append, END_S) as recorded:
        assert recorded is not None
        (sink,) = children() - before
        recorded(run("01-none", 2))
        recorded(run("02-statelet", 3))
        assert TOKEN not in Path(f"/proc/{sink}/cmdline").read_text()
        environment = subprocess.run(
            [sys.executable, "-c", "import os; print(os.environ)"], capture_output=True, text=True
        )
        assert TOKEN not in environment.stdout
    assert told == []
    assert len(http_server.stored) == 5
    assert http_server.writes[0].headers["Authorization"] == f"Token {TOKEN}"
    assert os.environ["INFLUXDB_V2_TOKEN"] == TOKEN
    assert children() <= before
    for path in run("03-x").parents[0].rglob("*"):
        assert path.is_dir() or TOKEN not in path.read_text()


def test_without_a_target_there_is_nobody_to_tell():
    before = children()
    with delivering(None, pytest.fail) as recorded:
        assert recorded is None
        assert children() <= before


def test_nobody_there_is_one_line(run):
    told = []
    folder = run("01-it's", 4)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        with delivering(Target(url), told.append, END_S) as recorded:
            recorded(folder)
    (line,) = told
    assert line.startswith(f"4 lines not delivered to {url} (bucket harness) (Connection refused); harness push")
    assert line.endswith(f"push {folder.parent} --influx {url} completes them")


def test_a_server_that_hangs_is_waited_for_a_bounded_time_only(run, http_server: HttpServer):
    http_server.hold.clear()
    told, before = [], children()
    with delivering(Target(http_server.url, "o"), told.append, 0.2) as recorded:
        recorded(run(points=3))
    assert "3 lines not delivered" in told[0]
    assert "not finished 0.2 s after the last run" in told[0]
    assert children() <= before


def test_a_killed_sink_does_not_disturb(run, http_server: HttpServer):
    told, before = [], children()
    http_server.hold.clear()
    with delivering(Target(http_server.url, "o"), told.append, END_S) as recorded:
        (sink,) = children() - before
        os.kill(sink, signal.SIGKILL)
        os.waitid(os.P_PID, sink, os.WEXITED | os.WNOWAIT)
        for number in range(3):
            recorded(run(f"{number:02d}-none", 1))
    assert "3 lines not delivered" in told[0]


def test_a_folder_that_cannot_be_written_or_is_gone_does_not_disturb(tmp_path, http_server: HttpServer):
    told = []
    with delivering(Target(http_server.url, "o"), told.append, END_S) as recorded:
        recorded(tmp_path / "gone")


def test_an_error_of_the_experiment_goes_through_after_the_delivery(run, http_server: HttpServer):
    def experiment() -> None:
        with delivering(Target(http_server.url, "o"), pytest.fail, END_S) as recorded:
            recorded(run(points=1))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        experiment()
    assert http_server.stored == [point(0)]


def test_rejected_lines_are_told_with_their_file(run, http_server: HttpServer):
    http_server.answer = lambda request: (400, {}, '{"message":"no"}') if b"bad" in request.body else (204, {}, "")
    told, folder, target = [], run(points=2, lines=b"bad\n"), Target(http_server.url, "o")
    with delivering(target, told.append, END_S) as recorded:
        recorded(folder)
    assert told == [f"1 lines rejected by {target}: see {folder}/influxdb-{target.key}.rejected.jsonl"]
    assert lines_left(folder, target) == 0


def test_nothing_left_is_nothing_to_say():
    assert describe([], Target("http://h"), "") == []
