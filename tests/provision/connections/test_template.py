"""Processes forked from a template behave as processes that were started."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.errors import HarnessError
from harness.provision.connections.local import LocalConnection
from harness.provision.connections.spawned import ProcessFailed
from harness.provision.connections.template import ForkedProcess, Template

WAIT_S = 20.0
# What a process of the harness does: configuration, "ready", then commands until the end of input.
PROGRAM = """
import json, os, sys
import shared

def prepare(words):
    shared.PREPARED.append([os.getpid(), *words])

def main():
    configuration = json.loads(sys.stdin.readline())
    own = {"pid": os.getpid(), "sid": os.getsid(0), "loaded_by": shared.LOADED_BY, "argv": sys.argv[1:]}
    own["prepared"] = shared.PREPARED
    print(json.dumps({"event": "ready", "configuration": configuration, **own}), flush=True)
    for line in sys.stdin:
        command = json.loads(line)
        print("log " + command["do"], file=sys.stderr)
        if command["do"] == "fail":
            raise RuntimeError("as asked")
        if command["do"] == "exit":
            sys.exit(7)
        print(json.dumps({"event": command["do"]}), flush=True)
    return 3

if __name__ == "__main__":
    sys.exit(main())
"""


@pytest.fixture
def template(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Template]:
    """A template of the module `program`, which shares the loaded module `shared`."""
    (tmp_path / "program.py").write_text(PROGRAM)
    (tmp_path / "shared.py").write_text("import os\nLOADED_BY = os.getpid()\nPREPARED = []\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with Template(["program"], ["one", "two"]) as made:
        yield made


@pytest.fixture
def connection(template: Template) -> Iterator[LocalConnection]:
    made = LocalConnection(template)
    yield made
    made.close()


def spawn(connection: LocalConnection, tmp_path: Path, **configuration: object):
    return connection.spawn([sys.executable, "-m", "program"], None, configuration, tmp_path / "log")


def test_it_is_a_process_of_its_own_with_its_code_loaded(connection, tmp_path):
    one, two = (spawn(connection, tmp_path, number=n) for n in (1, 2))
    first, second = (process.wait_event("ready", WAIT_S) for process in (one, two))
    assert (first["configuration"], second["configuration"]) == ({"number": 1}, {"number": 2})
    assert (first["pid"], first["sid"]) == (one.pid, one.pid)
    assert one.pid != two.pid
    assert first["loaded_by"] == second["loaded_by"] not in (one.pid, two.pid, os.getpid())
    assert first["prepared"] == second["prepared"] == [[first["loaded_by"], "one", "two"]], "prepared once, for all"
    assert one.start_ticks > 0
    for process in (one, two):
        assert process.returncode is None
        assert process.stop(WAIT_S) == 3


def test_the_end_of_its_input_is_its_own(connection, tmp_path):
    one, two = (spawn(connection, tmp_path) for _ in range(2))
    for process in (one, two):
        process.wait_event("ready", WAIT_S)
    assert one.stop(WAIT_S) == 3
    two.send({"do": "still here"})
    assert two.wait_event("still here", WAIT_S)["event"] == "still here"
    assert two.stop(WAIT_S) == 3


@pytest.mark.parametrize(("command", "status"), [("exit", 7), ("fail", 1)])
def test_status_and_log(connection, tmp_path, command, status):
    process = spawn(connection, tmp_path)
    process.wait_event("ready", WAIT_S)
    process.send({"do": command})
    with pytest.raises(ProcessFailed, match="ended before event 'more'"):
        process.wait_event("more", WAIT_S)
    assert process.stop(WAIT_S) == status
    log = (tmp_path / "log").read_text()
    assert f"log {command}" in log
    assert ("RuntimeError: as asked" in log) == (command == "fail")


def test_signals_reach_it(template):
    with Path(os.devnull).open("wb") as nowhere:
        process = template.start("program", nowhere.fileno())
    with process.stdin, process.stdout:
        assert process.poll() is None
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.0)
        process.send_signal(signal.SIGTERM)
        assert process.wait(WAIT_S) == -signal.SIGTERM
        process.kill()  # nothing happens to one that has ended
        assert process.poll() == -signal.SIGTERM


def test_what_it_does_not_know_is_started_as_ever(connection, tmp_path):
    text = 'import json,sys; print(json.dumps({"event": "ready", "got": json.loads(sys.stdin.readline())}), flush=True)'
    process = connection.spawn([sys.executable, "-c", text], None, {"a": 1}, tmp_path / "log")
    assert process.wait_event("ready", WAIT_S)["got"] == {"a": 1}
    assert process.stop(WAIT_S) == 0


def test_its_processes_outlive_the_template(template):
    with Path(os.devnull).open("wb") as nowhere:
        process: ForkedProcess = template.start("program", nowhere.fileno())
    with process.stdin, process.stdout:
        template.close()
        process.stdin.write(b"{}\n")
        process.stdin.flush()
        assert json.loads(process.stdout.readline())["event"] == "ready"
        assert process.poll() is None
        process.stdin.close()
        assert process.wait(WAIT_S) < 0  # ended; with which status nobody knows any more
    with pytest.raises(HarnessError, match="has ended"), Path(os.devnull).open("wb") as nowhere:
        template.start("program", nowhere.fileno())


def test_modules_that_do_not_load_are_an_error():
    with pytest.raises(HarnessError, match="has ended"), Template(["no_such_module_of_ours"]):
        pass


def test_one_that_still_loads_ends_with_its_socket_at_once(tmp_path, monkeypatch):
    (tmp_path / "slow.py").write_text("import pathlib, time\npathlib.Path('loading').touch()\ntime.sleep(600)\n")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *sys.path]))
    monkeypatch.chdir(tmp_path)
    loading = Template(["slow"])
    deadline = time.monotonic() + WAIT_S
    while not (tmp_path / "loading").exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    loading.close()
    assert loading._process.returncode == -signal.SIGIO, "it was not killed after a wait"


def test_that_it_is_ready_may_be_waited_for_later_and_again(template):
    other = Template(["json.tool"])
    try:
        for each in (other, other, template):
            each.wait_ready()
    finally:
        other.close()
