from __future__ import annotations

from harness.sink.offset import lines_left
from harness.sink.process import follow
from harness.sink.reply import Refused, Unavailable
from harness.sink.target import Target

TARGET = Target("http://127.0.0.1:8086", "o", "b")


class Server:
    def __init__(self):
        self.fault, self.stored = None, []

    def write(self, lines):
        if self.fault:
            raise self.fault
        self.stored += lines.splitlines()


def test_each_folder_is_delivered_when_it_comes(run):
    first, second, server = run("01-none", 2), run("02-statelet", 3), Server()

    def folders():
        yield first
        assert len(server.stored) == 2
        yield second
        assert len(server.stored) == 5

    assert follow(folders(), TARGET, lambda: server) == ""


def test_what_failed_is_tried_again_in_order(run):
    first, second, server = run("01-none", 1), run("02-statelet", 1), Server()

    def folders():
        server.fault = Refused("not now")
        yield first
        yield second
        assert server.stored == []
        server.fault = None

    assert follow(folders(), TARGET, lambda: server) == ""
    assert [lines_left(folder, TARGET) for folder in (first, second)] == [0, 0]


def test_the_reason_is_returned(run, monkeypatch):
    monkeypatch.setattr("harness.sink.deliver.PAUSES_S", ())
    server = Server()
    server.fault = Unavailable("connection refused")
    assert follow([run(points=1)], TARGET, lambda: server) == "connection refused"


def test_no_run_needs_no_server():
    assert follow([], TARGET, lambda: 1 / 0) == ""
