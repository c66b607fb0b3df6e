"""Sweeps on many testbeds: every run made once, whatever becomes of hosts; results of others taken with care."""

from __future__ import annotations

from collections import deque

import pytest

from harness.errors import HarnessError, RunFailed
from harness.record.sweep import read_entries, read_results
from harness.sweep.archive import packed
from harness.sweep.engine import Session, runs_of
from harness.sweep.many import Outcome, carry_out
from tests.sweep.conftest import SWEEP, Recorded

MANY = SWEEP.replace("repetitions = 2", "repetitions = 3\ncontrol_repetitions = 1\nretries = 1")


class Hosts:
    """Workers that make runs at once; `lose` is how many of the first runs handed out are lost with their host, `send`
    what the first one sends instead of a result."""

    def __init__(self, scratch, names=("alpha", "beta", "gamma"), lose=0, interrupt_at=None, send=None, restarts=False):
        self.run, self.scratch, self.idle = Recorded(), scratch, deque(names)
        self.lose, self.interrupt_at, self.send = lose, interrupt_at, send
        self.restarts = restarts
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
        if self.send is not None:
            self.idle.append(host)
            sent, self.send = self.send, None
            return Outcome(due.run.key, host, sent)
        if self.lose:
            self.lose -= 1
            self.idle.extend([host] if self.restarts else [])
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


def test_a_run_that_takes_its_host_with_it_three_times_ends_the_sweep(asked, path, tmp_path):
    hosts = Hosts(tmp_path / "far", names=("alpha",), lose=9, restarts=True)
    with pytest.raises(RunFailed, match="was lost 3 times in turn, the last time: lost during the run"):
        carry_out(session(path, asked), hosts, silent)
    lost = [entry for entry in read_entries(path)[0] if entry.interrupted and entry.host]
    assert [entry.attempt for entry in lost] == [1, 2, 3]
    assert len({entry.key for entry in lost}) == 1


@pytest.mark.parametrize("what", ["nothing", "another run"])
def test_a_result_that_is_not_of_the_run_is_refused_and_the_run_made_again(asked, path, tmp_path, what):
    sent, told = b"", []
    if what == "another run":
        other = Recorded()
        (tmp_path / "other").mkdir()
        run = runs_of(asked.manifest)[-1]
        folder = other(next(cell for cell in asked.cells if cell.digest == run.cell), run, tmp_path / "other")
        sent = packed(tmp_path / "other", folder.parent.name)
    result = carry_out(session(path, asked), Hosts(tmp_path / "far", send=sent), told.append)
    assert result.left == 0
    (refused,) = [entry for entry in result.entries if entry.interrupted]
    assert refused.host == "gamma"
    assert "sent a result that cannot be used" in refused.reasons[0]
    assert "sent a result that cannot be used" in told[0]


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
