"""Programs of ours as real processes."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from harness.errors import MachineError, ProtocolError
from harness.remote.programs import Program, own_address, program_event, start

MODULE = "tests.remote.echoing_program"


def exists(pid):
    return Path(f"/proc/{pid}").exists()


def test_it_is_configured_heard_of_and_ends_with_its_input():
    program = Program(MODULE, {"say": ["one", "two"]})
    try:
        assert [program.event(20.0), program.event(20.0)] == [{"event": "one"}, {"event": "two"}]
        before_s = time.monotonic()
        assert program.event(0.05) is None
        assert time.monotonic() - before_s < 5.0
        assert exists(program.pid)
    finally:
        program.end()
    assert not exists(program.pid)
    program.end()


def test_an_error_is_in_its_own_words_and_an_early_end_is_one():
    program = Program(MODULE, {"say": ["error"]})
    with pytest.raises(MachineError, match="the words of the program"):
        program.event(20.0)
    program.end()
    program = Program(MODULE, {"say": [], "exit": 3})
    with pytest.raises(MachineError, match="has ended with exit status 3"):
        program.event(20.0)
    program.end()


def test_an_agent_starts_nothing_else():
    for module in (MODULE, "os", "", None, ["harness.sweep.worker_process"]):
        with pytest.raises(ProtocolError, match="not a program"):
            start(module, {})
    with pytest.raises(ProtocolError, match="no program of this agent"):
        program_event(os.getpid(), 0.0)


@pytest.mark.parametrize("given", ["", "192.0.2.1 1 192.0.2.2"])
def test_the_address_is_known_only_behind_a_server(monkeypatch, given):
    monkeypatch.setenv("SSH_CONNECTION", given)
    with pytest.raises(MachineError, match="SSH_CONNECTION"):
        own_address()
    monkeypatch.setenv("SSH_CONNECTION", "192.0.2.1 50000 192.0.2.2 22")
    assert own_address() == {"address": "192.0.2.2"}
