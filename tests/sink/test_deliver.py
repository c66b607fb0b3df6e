from __future__ import annotations

import pytest

from harness.sink import deliver
from harness.sink.deliver import BATCH_LINES, PAUSE_MAX_S, REJECTED_MAX, Delivery
from harness.sink.offset import lines_left, note, noted_targets, read_delivered, state_path
from harness.sink.quarantine import put, quarantine_path
from harness.sink.reply import Refused, Rejected, Unavailable
from harness.sink.target import Target
from tests.sink.conftest import entries, point

TARGET = Target("http://127.0.0.1:8086", "o", "b")


class Server:
    """Stores lines; `faults` are raised first, one per write, None for a write that works."""

    def __init__(self, faults=(), bad=()):
        self.writes, self.stored = [], []
        self.faults, self.bad = list(faults), set(bad)

    def write(self, lines):
        self.writes.append(lines)
        if self.faults and (fault := self.faults.pop(0)) is not None:
            raise fault
        found = lines.splitlines(keepends=True)
        if wrong := [line for line in found if line in self.bad]:
            raise Rejected(f"unable to parse {wrong[0].decode().strip()}")
        self.stored += found


def carry_out(folder, server, pauses=None):
    Delivery(folder, TARGET, server, pause=(pauses if pauses is not None else []).append).carry_out()


def test_everything_is_stored_in_batches_and_only_once(run):
    folder, server = run(points=BATCH_LINES + 3), Server()
    assert lines_left(folder, TARGET) == BATCH_LINES + 3
    carry_out(folder, server)
    assert [lines.count(b"\n") for lines in server.writes] == [BATCH_LINES, 3]
    assert server.stored == [point(number) for number in range(BATCH_LINES + 3)]
    assert lines_left(folder, TARGET) == 0
    carry_out(folder, server)
    assert len(server.writes) == 2


def test_long_lines_make_small_batches(run, monkeypatch):
    monkeypatch.setattr(deliver, "BATCH_BYTES", 3 * len(point(1)))
    folder, server = run(points=7), Server()
    carry_out(folder, server)
    assert [lines.count(b"\n") for lines in server.writes] == [3, 3, 1]


def test_what_is_added_later_is_delivered_by_itself(run):
    folder, server = run(points=2, lines=b"torn"), Server()
    carry_out(folder, server)
    assert server.stored == [point(0), point(1)]
    assert lines_left(folder, TARGET) == 0
    with (folder / "points.lp").open("ab") as file:
        file.write(b" line\n")
    carry_out(folder, server)
    assert server.writes[1:] == [b"torn line\n"]


def test_the_offset_does_not_move_past_what_was_not_confirmed(run):
    folder = run(points=BATCH_LINES + 5)
    server = Server([None, *[Unavailable("no answer")] * 3])
    with pytest.raises(Unavailable, match="no answer"):
        carry_out(folder, server)
    assert lines_left(folder, TARGET) == 5
    later = Server()
    carry_out(folder, later)
    assert later.stored == [point(BATCH_LINES + number) for number in range(5)]


def test_a_server_that_comes_back_is_waited_for_within_bounds(run):
    folder, pauses = run(points=1), []
    server = Server([Unavailable("busy", 3.0), Unavailable("busy", 86_400.0)])
    carry_out(folder, server, pauses)
    assert server.stored == [point(0)]
    assert pauses == [3.0, PAUSE_MAX_S]


def test_a_refusal_is_not_tried_again(run):
    folder, server = run(points=1), Server([Refused("unauthorized")])
    with pytest.raises(Refused, match="unauthorized"):
        carry_out(folder, server)
    assert len(server.writes) == 1
    assert lines_left(folder, TARGET) == 1


@pytest.mark.parametrize("bad", [{0}, {99}, {42}, {10, 11, 12}, {0, 50, 99}])
def test_bad_lines_are_found_and_kept_with_the_reason(run, bad):
    folder, server = run(points=100), Server(bad=map(point, bad))
    carry_out(folder, server)
    assert server.stored == [point(number) for number in range(100) if number not in bad]
    kept = entries(quarantine_path(folder, TARGET))
    assert [entry["line"] for entry in kept] == [point(number).decode().rstrip() for number in sorted(bad)]
    assert [entry["offset_bytes"] for entry in kept] == [
        len(b"".join(map(point, range(number)))) for number in sorted(bad)
    ]
    assert all(entry["reason"] == f"unable to parse {entry['line']}" for entry in kept)
    delivered = read_delivered(folder, TARGET)
    assert (delivered.stored_lines, delivered.rejected_lines) == (100 - len(bad), len(bad))
    again = Server()
    carry_out(folder, again)
    assert again.writes == []


def test_a_server_that_rejects_everything_does_not_get_every_line_by_itself(run):
    folder = run(points=1000)
    server = Server(bad=map(point, range(1000)))
    with pytest.raises(Refused, match=f"more than {REJECTED_MAX} lines"):
        carry_out(folder, server)
    assert len(server.writes) < 4 * REJECTED_MAX
    assert lines_left(folder, TARGET) == 1000 - REJECTED_MAX


def test_a_line_in_the_quarantine_is_not_added_again_after_a_crash(run):
    folder = run(points=3)
    put(folder, TARGET, len(point(0)), point(1), "as before")
    with quarantine_path(folder, TARGET).open("ab") as file:
        file.write(b'{"torn\n')
    carry_out(folder, Server(bad=[point(1)]))
    assert quarantine_path(folder, TARGET).read_bytes().count(b"\n") == 2


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b'{"offset_bytes": -1}',
        b'{"url": 1, "org": "", "bucket": "", "offset_bytes": 1}',
        b"\xff" * 99,
    ],
)
def test_a_damaged_offset_begins_again(run, content):
    folder, server = run(points=3), Server()
    state_path(folder, TARGET).write_bytes(content)
    carry_out(folder, server)
    assert len(server.stored) == 3


def test_an_offset_that_does_not_fit_the_points_begins_again(run):
    folder, server = run(points=3), Server()
    carry_out(folder, Server())
    (folder / "points.lp").write_bytes(point(7))
    carry_out(folder, server)
    assert server.stored == [point(7)]


def test_targets_are_delivered_to_by_themselves_and_noted(run):
    folder, other = run(points=2), Target("http://127.0.0.1:1", "", "other")
    note(folder, TARGET)
    note(folder, other)
    carry_out(folder, Server())
    note(folder, TARGET)
    assert lines_left(folder, TARGET) == 0
    assert lines_left(folder, other) == 2
    assert set(noted_targets(folder)) == {TARGET, other}
    state_path(folder, other).write_text('{"url": "http://u:p@h", "org": "", "bucket": "b"}')
    assert noted_targets(folder) == (TARGET,)


def test_a_run_without_points_has_nothing_left(tmp_path):
    carry_out(tmp_path, Server())
    assert lines_left(tmp_path, TARGET) == 0
