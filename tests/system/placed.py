"""Runs whose nodes are on hosts of the tests, each with a clock of its own, and what they leave behind."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomli_w

from harness.profile.load import read_document
from harness.provision.scratch import PREFIX
from tests.system.conftest import SMOKE, Cli, wait_until
from tests.system.ssh_hosts import NAMES, SshHosts, started

AHEAD_S = {"alpha": 100_000, "beta": -1_000, "gamma": 7}
"""Hosts that were started at other times."""


@pytest.fixture(scope="module", name="hosts")
def three_hosts(tmp_path_factory: pytest.TempPathFactory, warm: None) -> Iterator[SshHosts]:
    with started(SshHosts(tmp_path_factory.mktemp("hosts"), AHEAD_S), shares_code=True) as made:
        yield made


def scratch() -> set[str]:
    """Folders for runs in the temporary directory, which all of the hosts share."""
    return {path.name for path in Path(tempfile.gettempdir()).glob(f"{PREFIX}run-*")}


@pytest.fixture(autouse=True)
def nothing_left(cli: Cli, hosts: SshHosts) -> Iterator[None]:
    folders, machine = scratch(), cli.machine()
    yield
    for name in NAMES:
        wait_until(lambda: not hosts.processes(name), f"no process of ours on {name}")  # noqa: B023
        assert hosts.namespaces(name) == []
    assert scratch() == folders
    assert cli.machine() == machine


def arguments(cli: Cli, hosts: SshHosts, placement: dict[str, str], **overrides: object) -> list[str | Path]:
    """A short run by statelets with nodes on those hosts."""
    wanted = {
        "load__rate": "8M",
        "load__flows": 16,
        "timing__window": "2s",
        "timing__migrate_at": "500ms",
        "timing__load_until": "1500ms",
        "migration__modes": '["statelet"]',
        **{f"placement__{node}": host for node, host in placement.items()},
        **overrides,
    }
    return [*cli.run_arguments(**wanted), "--inventory", hosts.inventory()]


@dataclass(frozen=True)
class Result:
    """What a run printed and left behind."""

    exit_code: int
    output: str
    directory: Path

    @property
    def folder(self) -> Path:
        (found,) = self.directory.glob("01-*")
        return found

    @property
    def summary(self) -> Any:
        return json.loads((self.folder / "summary.json").read_text())


def carry_out(
    cli: Cli, hosts: SshHosts, placement: dict[str, str], profile: Path = SMOKE, **overrides: object
) -> Result:
    before = cli.directories()
    command, _, *options = arguments(cli, hosts, placement, **overrides)
    done = cli(command, profile, *options, prefix=hosts.prefix)
    (directory,) = cli.directories() - before
    return Result(done.returncode, done.stdout + done.stderr, directory)


def with_tables(folder: Path, **tables: list[dict[str, object]]) -> Path:
    """The smoke profile with further tables."""
    profile = folder / "further.toml"
    profile.write_bytes(tomli_w.dumps({**read_document(SMOKE), **tables}).encode())
    return profile


def judge(result: Result) -> None:
    """Every packet is accounted for and back, and every promise holds."""
    assert result.exit_code == 0, result.output
    summary = result.summary
    # INVALID is what a busy machine may make of it; a promise must hold on every machine.
    assert summary["validity"]["verdict"] in ("VALID", "INVALID"), summary["validity"]["reasons"]
    assert {found["verdict"] for found in summary["invariants"]} == {"holds"}, summary["invariants"]
    migration = summary["migration"]
    assert (migration["outcome"], migration["encryption"]) == ("completed", "tls")
    ledger = summary["ledger"]
    rows = {row["name"]: row["echo_packets"] for row in ledger["rows"]}
    with np.load(result.folder / "loadgen.npz", allow_pickle=False) as loadgen:
        intended, received = loadgen["intended_ns"], loadgen["received_ns"]
        rtt_ns = np.sort(received - intended)
    assert (received > 0).all(), rows
    assert rows["delivered"] + rows["late"] == ledger["echo_intended_packets"] == len(intended) > 1000
    assert not ledger["overexplained"]
    for hop in ledger["hops"]:
        assert (hop["residual_packets"], hop["entered_packets"]) == (0, hop["left_packets"]), hop
    # Four links of 2.5 ms, whoever measured it: what hosts add to that, they add to every packet.
    assert 9_900_000 < rtt_ns[len(rtt_ns) // 2] < 12_000_000
