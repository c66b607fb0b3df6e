"""An encrypted migration as a user starts it: it works, it says so, and nothing of its keys can be found afterwards,
nor in the processes while it lasts.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from harness.testbed import topology as names
from tests.soak.look import program_name
from tests.system.conftest import COMMAND_S, ROOT, Cli

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root"),
    pytest.mark.timeout(240),
]

# The program itself, which tells its secrets to a file descriptor of ours besides.
TELLING = """
import json, os, sys
from harness.experiment import run
made = run.Secrets
def telling(*arguments):
    secrets = made(*arguments)
    keys = [party.key for party in secrets.parties.values()]
    os.write({descriptor}, json.dumps([secrets.key.hex(), secrets.drain_token.hex(), *keys]).encode())
    return secrets
run.Secrets = telling
from harness.cli import main
sys.argv[0] = "harness"
main()
"""


@dataclass
class Watched:
    """An encrypted run: its directory, its secrets, and what was seen of its processes while it lasted."""

    exit_code: int
    output: str
    directory: Path
    secrets: list[str]
    exposed: dict[int, bytes] = field(default_factory=dict)
    listening: set[str] = field(default_factory=set)
    summary: dict[str, Any] = field(default_factory=dict)


def needles(secrets: list[str]) -> list[bytes]:
    """Every form in which the secrets might stand somewhere."""
    key, token, *pems = secrets
    bodies = ["".join(line for line in pem.splitlines() if "---" not in line) for pem in pems]
    found = [key.encode(), bytes.fromhex(key), token.encode(), bytes.fromhex(token)]
    return found + [body.encode() for body in bodies] + [b"PRIVATE KEY"]


def listening_addresses(pid: int) -> set[str]:
    """Of the listening TCP sockets in the network namespace of a process."""
    lines = [line.split() for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]]
    return {socket.inet_ntoa(bytes.fromhex(line[1].split(":")[0])[::-1]) for line in lines if line[3] == "0A"}


@pytest.fixture(scope="module")
def watched(cli: Cli) -> Watched:
    """One migration by statelets, looked at from outside every few milliseconds."""
    arguments = cli.run_arguments(
        load__rate="8M",
        load__flows=16,
        timing__window="2s",
        timing__migrate_at="500ms",
        timing__load_until="1500ms",
        migration__modes='["statelet"]',
        migration__encryption="tls",
    )
    before = cli.directories()
    reading, writing = os.pipe()
    with subprocess.Popen(
        [sys.executable, "-c", TELLING.format(descriptor=writing), *map(str, arguments)],
        cwd=ROOT,
        env=cli.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        pass_fds=[writing],
        text=True,
    ) as popen:
        os.close(writing)
        exposed: dict[int, bytes] = {}
        listening: set[str] = set()
        deadline = time.monotonic() + COMMAND_S
        while popen.poll() is None and time.monotonic() < deadline:
            for pid in cli.processes():
                with contextlib.suppress(OSError):  # it has ended meanwhile
                    exposed[pid] = b"".join(Path(f"/proc/{pid}/{name}").read_bytes() for name in ("cmdline", "environ"))
                    if program_name(pid) == "vei":
                        listening |= listening_addresses(pid)
            time.sleep(0.02)
        popen.kill()
        output = popen.stdout.read() if popen.stdout else ""
    with open(reading, encoding="utf-8") as told:  # noqa: PTH123 - a descriptor
        secrets = json.loads(told.read())
    (directory,) = cli.directories() - before
    (path,) = directory.glob("01-*/summary.json")
    summary = json.loads(path.read_text())
    return Watched(popen.returncode, output, directory, secrets, exposed, listening, summary)


def test_the_run_completes_and_says_that_it_was_encrypted(watched: Watched) -> None:
    assert watched.exit_code == 0, watched.output
    migration = watched.summary["migration"]
    assert (migration["outcome"], migration["encryption"]) == ("completed", "tls")
    assert migration["refused_connections"] == 0
    assert migration["wire_bytes"] > migration["snapshot_bytes"] + migration["statelet_stream_bytes"]
    assert any("control and state streams" in line and "TLS 1.3" in line for line in watched.output.splitlines())
    assert {found["verdict"] for found in watched.summary["invariants"]} == {"holds"}


def test_no_secret_is_in_any_file_of_the_run_nor_in_its_output(watched: Watched) -> None:
    files = [path for path in watched.directory.rglob("*") if path.is_file()]
    assert len(files) > 10
    sought = needles(watched.secrets)
    assert len(sought) == 8
    for content in (watched.output.encode(), *(path.read_bytes() for path in files)):
        assert not any(needle in content for needle in sought)


def test_no_secret_is_in_a_command_line_or_an_environment(watched: Watched) -> None:
    assert len(watched.exposed) >= 4
    assert not any(needle in seen for seen in watched.exposed.values() for needle in needles(watched.secrets))


def test_instances_listen_on_their_management_addresses_only(watched: Watched) -> None:
    assert watched.listening == {names.MANAGEMENT_ADDRESSES[name] for name in names.INSTANCES}
