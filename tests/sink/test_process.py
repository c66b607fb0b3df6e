from __future__ import annotations

from harness.sink.offset import lines_left, read_delivered
from harness.sink.process import REST_POLLS, Told, follow
from harness.sink.reply import Refused, Unavailable
from harness.sink.target import Target
from tests.sink.conftest import point

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
        yield Told(first, growing=False)
        assert len(server.stored) == 2
        yield Told(second, growing=False)
        assert len(server.stored) == 5

    assert follow(folders(), TARGET, lambda: server) == ""


def test_what_failed_is_tried_again_in_order(run):
    first, second, server = run("01-none", 1), run("02-statelet", 1), Server()

    def folders():
        server.fault = Refused("not now")
        yield Told(first, growing=False)
        yield Told(second, growing=False)
        assert server.stored == []
        server.fault = None

    assert follow(folders(), TARGET, lambda: server) == ""
    assert [lines_left(folder, TARGET) for folder in (first, second)] == [0, 0]


def test_the_reason_is_returned(run, monkeypatch):
    monkeypatch.setattr("harness.sink.deliver.PAUSES_S", ())
    server = Server()
    server.fault = Unavailable("connection refused")
    assert follow([Told(run(points=1), growing=False)], TARGET, lambda: server) == "connection refused"


def test_no_run_needs_no_server():
    assert follow([], TARGET, lambda: 1 / 0) == ""


def grow(folder, *numbers):
    with (folder / "points.lp").open("ab") as file:
        file.write(b"".join(map(point, numbers)))


def test_a_growing_file_is_delivered_as_it_grows_each_line_once(run):
    folder, server = run("01-none", 0), Server()

    def commands():
        yield Told(folder, growing=True)
        yield None
        assert server.stored == []
        grow(folder, 0, 1)
        yield None
        assert len(server.stored) == 2
        with (folder / "points.lp").open("ab") as file:
            file.write(point(2)[:20])
        yield None
        assert len(server.stored) == 2, "half a line"
        with (folder / "points.lp").open("ab") as file:
            file.write(point(2)[20:] + point(3))
        yield None
        assert len(server.stored) == 4
        grow(folder, 4)
        yield Told(folder, growing=False)

    assert follow(commands(), TARGET, lambda: server) == ""
    assert server.stored == [point(number).strip() for number in range(5)]
    assert read_delivered(folder, TARGET).stored_lines == 5


def test_a_server_that_is_down_is_not_asked_at_every_look_and_gets_everything_later(run, monkeypatch):
    monkeypatch.setattr("harness.sink.deliver.PAUSES_S", ())
    before, folder, server = run("01-none", 2), run("02-none", 3), Server()
    asked = []
    write = server.write
    server.write = lambda lines: (asked.append(1), write(lines))
    server.fault = Unavailable("connection refused")

    def commands():
        yield Told(before, growing=False)
        yield Told(folder, growing=True)
        for _ in range(REST_POLLS + 1):
            yield None
        assert len(asked) == 2
        server.fault = None
        for _ in range(REST_POLLS):
            yield None
        assert len(server.stored) == 5
        grow(folder, 7)
        yield None
        assert len(server.stored) == 6

    assert follow(commands(), TARGET, lambda: server) == ""


def test_what_a_run_that_never_ended_has_written_is_delivered_at_the_end(run):
    folder, server = run("01-none", 3), Server()
    assert follow([Told(folder, growing=True)], TARGET, lambda: server) == ""
    assert len(server.stored) == 3
