"""Sweeps on many testbeds: every run made once, whatever becomes of hosts; results of others taken with care."""

from __future__ import annotations

import io
import tarfile
from collections import deque

import pytest

from harness.errors import HarnessError
from harness.record.sweep import read_entries, read_results
from harness.sweep.engine import Session, runs_of
from harness.sweep.many import Outcome, carry_out, unpack
from harness.sweep.remote_run import packed
from tests.sweep.conftest import SWEEP, Recorded

MANY = SWEEP.replace("repetitions = 2", "repetitions = 3\ncontrol_repetitions = 1\nretries = 1")


class Hosts:
    """Workers that make runs at once; `lose` is how many of the first runs handed out are lost with their host."""

    def __init__(self, scratch, names=("alpha", "beta", "gamma"), lose=0, interrupt_at=None, error=""):
        self.run, self.scratch, self.idle = Recorded(), scratch, deque(names)
        self.lose, self.interrupt_at, self.error = lose, interrupt_at, error
        self.under_way, self.most, self.given = deque(), 0, []
        self.scratch.mkdir(exist_ok=True)

    def free(self):
        return len(self.idle)

    def give(self, cell, due):
        assert self.idle, "nobody is free"
        self.given.append(due.run.key)
        self.under_way.append((self.idle.popleft(), cell, due))
        self.most = max(self.most, len(self.under_way))

    def take(self):
        if self.interrupt_at == len(self.run.calls):
            raise KeyboardInterrupt
        if not self.under_way:
            raise HarnessError("no host is left")
        host, cell, due = self.under_way.pop()  # not in the order they were handed out
        if self.error:
            return Outcome(due.run.key, host, error=self.error)
        if self.lose:
            self.lose -= 1  # the host does not come back
            return Outcome(due.run.key, host, reason="lost during the run")
        self.idle.append(host)
        folder = self.run(cell, due.run, self.scratch)
        return Outcome(due.run.key, host, packed(self.scratch, folder.parent.name))


@pytest.fixture
def asked(sweep_file, ask):
    return ask(sweep_file(MANY))


@pytest.fixture
def path(asked, new_sweep):
    return new_sweep(asked)


def session(path, asked, **options):
    return Session(path, asked.manifest, asked.cells, None, lambda _line: None, **options)


def silent(_line):
    pass


def test_every_run_is_made_once_on_all_hosts_at_the_same_time(asked, path, tmp_path):
    hosts = Hosts(tmp_path / "far")
    result = carry_out(session(path, asked), hosts, silent)
    assert sorted(key for key, _ in hosts.run.calls) == sorted(run.key for run in runs_of(asked.manifest))
    assert (result.left, hosts.most) == (0, 3)
    assert {entry.host for entry in result.entries} == {"alpha", "beta", "gamma"}
    assert all(run.summary is not None for run in read_results(path).results)


def test_the_run_of_a_lost_host_is_made_elsewhere_and_both_are_recorded(asked, path, tmp_path):
    told = []
    result = carry_out(session(path, asked), Hosts(tmp_path / "far", lose=1), told.append)
    (lost,) = [entry for entry in result.entries if entry.interrupted]
    again = [entry for entry in result.entries if entry.key == lost.key and not entry.interrupted]
    assert [(entry.attempt, entry.verdict) for entry in again] == [(2, "VALID")]
    assert lost.host == "gamma"
    assert again[0].host in ("alpha", "beta")
    assert result.left == 0
    assert told == ["gamma: lost during the run; its run is made again elsewhere"]


def test_without_hosts_the_sweep_ends_and_resumes_on_others(asked, path, tmp_path):
    with pytest.raises(HarnessError, match="no host is left"):
        carry_out(session(path, asked), Hosts(tmp_path / "far", lose=3), silent)
    result = carry_out(session(path, asked), Hosts(tmp_path / "near", names=("delta",)), silent)
    assert result.left == 0
    finished = [entry.key for entry in result.entries if not entry.interrupted]
    assert sorted(finished) == sorted(run.key for run in runs_of(asked.manifest))


def test_an_interruption_enters_what_was_under_way(asked, path, tmp_path):
    hosts = Hosts(tmp_path / "far", interrupt_at=2)
    with pytest.raises(KeyboardInterrupt):
        carry_out(session(path, asked), hosts, silent)
    entries, _ = read_entries(path)
    assert [entry.interrupted for entry in entries] == [False, False, True, True, True]
    assert carry_out(session(path, asked), Hosts(tmp_path / "again"), silent).left == 0


def test_a_limit_counts_what_was_handed_out(asked, path, tmp_path):
    hosts = Hosts(tmp_path / "far", lose=1)
    result = carry_out(session(path, asked, limit=4), hosts, silent)
    assert len(hosts.run.calls) == 4
    assert result.left == len(runs_of(asked.manifest)) - 4


def test_a_host_that_cannot_run_it_ends_the_sweep_with_its_words(asked, path, tmp_path):
    with pytest.raises(HarnessError, match="gamma: no space left"):
        carry_out(session(path, asked), Hosts(tmp_path / "far", error="no space left"), silent)


def test_where_a_rule_stops_repetitions_those_before_are_known_first(sweep_file, ask, new_sweep, tmp_path):
    text = MANY.replace(
        "retries = 1", "retries = 1\n[sweep.stop]\nmetric = 'migration.duration_ns'\nhalf_width = 0.001"
    )
    asked = ask(sweep_file(text))
    hosts = Hosts(tmp_path / "far")
    seen: dict[tuple[str, str], int] = {}
    original = hosts.give

    def give(cell, due):
        place = (due.run.cell, due.run.mode)
        assert not [d for _, _, d in hosts.under_way if (d.run.cell, d.run.mode) == place]
        assert due.run.repetition > seen.get(place, 0)
        seen[place] = due.run.repetition
        original(cell, due)

    hosts.give = give
    assert carry_out(session(new_sweep(asked), asked), hosts, silent).left == 0


def archive(*names, link=None):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name in names:
            tar.addfile(tarfile.TarInfo(name), io.BytesIO())
        if link:
            member = tarfile.TarInfo(link[0])
            member.type, member.linkname = tarfile.SYMTYPE, link[1]
            tar.addfile(member)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not an archive",
        archive(),
        archive("../outside"),
        archive("/etc/passwd"),
        archive("one/01-none/x", "two/01-none/x"),
        archive("taken/01-none/x"),
        archive("one/x"),
        archive("one/01-none/x", "one/01-other/x"),
        archive("one/01-none/x", link=("one/link", "/etc")),
        archive("one/01-none/x")[:-20],
    ],
)
def test_what_is_no_experiment_directory_is_refused_and_nothing_is_written_elsewhere(tmp_path, content):
    runs = tmp_path / "runs"
    (runs / "taken").mkdir(parents=True)
    with pytest.raises(HarnessError):
        unpack(content, runs)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["runs"]
