"""One experiment with both modes on real packets: what is recorded is there, consistent, and nothing was lost.

Figures are calculated again from the raw records with plain numpy and text parsing, so that an error of the program's
own accounting does not cancel out.
"""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.system.conftest import Cli, Machine, changes

pytestmark = [
    pytest.mark.timeout(240),  # the first test waits for the whole experiment, and for the compiler before it
]

MODES = ("statelet", "duplication")
LATE_NS = 15_000_000
FLOWS, NEW_FLOWS_PER_S, LOAD_S = 32, 60, 2.5
EXTERNAL_ADDRESS = int.from_bytes(bytes([198, 18, 0, 1]), "big")
IPV4_BYTES = 512 - 14
UDP = 17


@dataclass(frozen=True)
class Result:
    """What the experiment printed and left behind."""

    exit_code: int
    output: str
    directory: Path
    before: Machine
    after: Machine

    def folder(self, mode: str) -> Path:
        (found,) = self.directory.glob(f"*-{mode}")
        return found

    def read(self, mode: str, name: str) -> Any:
        return json.loads((self.folder(mode) / name).read_text())

    def arrays(self, mode: str, name: str) -> dict[str, np.ndarray]:
        with np.load(self.folder(mode) / name, allow_pickle=False) as archive:
            return {key: archive[key] for key in archive.files}


@pytest.fixture(scope="module")
def result(cli: Cli, foreign_namespace: str) -> Result:
    """One statelet and one duplication migration, new flows all through."""
    before = cli.machine()
    arguments = cli.run_arguments(
        load__rate="12M",
        load__flows=FLOWS,
        load__new_flows_per_s=NEW_FLOWS_PER_S,
        load__server_packets_per_s=100,
        timing__window="3s",
        timing__migrate_at="700ms",
        timing__load_until="2s",
        migration__modes='["statelet", "duplication"]',
    )
    done = cli(*arguments, "--diff")
    (directory,) = cli.directories()
    return Result(done.returncode, done.stdout + done.stderr, directory, before, cli.machine())


def summary_of(result: Result, mode: str) -> Any:
    return result.read(mode, "summary.json")


def test_the_experiment_succeeds_and_says_so(result: Result) -> None:
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    assert any(line.startswith("PLAY [testbed ") for line in lines), "no provisioning shown"
    assert any(line.startswith("TASK [") for line in lines)
    assert "RECAP" in result.output
    assert re.search(r"\bstatelet\b.*\bduplication\b", result.output), "the modes do not stand side by side"
    assert any(line.startswith("results: ") and str(result.directory) in line for line in lines)


def test_nothing_is_left_behind(result: Result, foreign_namespace: str) -> None:
    assert foreign_namespace in result.after.namespaces
    assert changes(result.before, result.after) == {}
    assert not result.after.processes


@pytest.mark.parametrize("mode", MODES)
def test_no_packet_is_lost(result: Result, mode: str) -> None:
    loadgen, summary = result.arrays(mode, "loadgen.npz"), summary_of(result, mode)
    assert len(loadgen["intended_ns"]) > 1000
    assert (loadgen["sent_ns"] > 0).all()
    assert (loadgen["received_ns"] > 0).all(), summary["ledger"]["rows"]
    assert (loadgen["server_received_ns"] > 0).all()
    assert not loadgen["duplicates"].any()
    assert not loadgen["server_duplicates"].any()
    assert summary["total"]["lost_packets"] == summary["window"]["lost_packets"] == 0
    assert summary["total"]["server_lost_packets"] == 0


@pytest.mark.parametrize("mode", MODES)
def test_the_migration_completes_and_every_promise_holds(result: Result, mode: str) -> None:
    summary = summary_of(result, mode)
    # INVALID is what a busy machine may make of it; a promise must hold on every machine.
    assert summary["validity"]["verdict"] in ("VALID", "INVALID"), summary["validity"]["reasons"]
    assert summary["migration"]["outcome"] == "completed"
    verdicts = {invariant["name"]: invariant["verdict"] for invariant in summary["invariants"]}
    assert verdicts == dict.fromkeys(
        (
            "external mappings unchanged",
            "external mappings unique",
            "state equals the reference",
            "every loss has a named cause",
            "counters exact",
            "statelet sequence contiguous",
            "destination silent before it is active",
            "source silent after the drain",
        ),
        "holds",
    )


@pytest.mark.parametrize("mode", MODES)
def test_flows_opened_during_the_migration_work(result: Result, mode: str) -> None:
    loadgen, echoserver = result.arrays(mode, "loadgen.npz"), result.arrays(mode, "echoserver.npz")
    migration = result.read(mode, "migration.json")
    flows = echoserver["flow_external_port"].size
    first_ns = np.full(flows, np.iinfo(np.int64).max)
    last_ns = np.zeros(flows, np.int64)
    np.minimum.at(first_ns, loadgen["flow"], loadgen["sent_ns"])
    np.maximum.at(last_ns, loadgen["flow"], loadgen["sent_ns"])
    destination = migration["destination"]
    opened = (first_ns > destination["snapshot_accepted_ns"]) & (first_ns < migration["switchover"]["started_ns"])
    assert opened.any(), "no flow was opened between the snapshot and the switchover"
    assert (last_ns[opened] > migration["switchover"]["ended_ns"]).any(), "none of them lived on at the destination"
    assert FLOWS < flows <= FLOWS + NEW_FLOWS_PER_S * LOAD_S + 1
    assert not echoserver["flow_mapping_changes"].any()
    assert (echoserver["flow_external_ip"] == EXTERNAL_ADDRESS).all()
    assert np.unique(echoserver["flow_external_port"]).size == flows


@pytest.mark.parametrize("mode", MODES)
def test_the_state_is_what_both_ends_of_the_traffic_saw(result: Result, mode: str) -> None:
    """Not by the reference instance but by the load: ports as the echoserver saw them, packets as both counted them."""
    state = result.arrays(mode, "destination.state.npz")
    loadgen, echoserver = result.arrays(mode, "loadgen.npz"), result.arrays(mode, "echoserver.npz")
    keys = state["external"][:, 0]
    assert set((keys >> np.uint64(16)).tolist()) == {UDP}
    assert set((keys & np.uint64(0xFFFF)).tolist()) == set(echoserver["flow_external_port"].tolist())
    assert len(state["mapping"]) == len(echoserver["flow_external_port"])
    _, packets_out, bytes_out, packets_in, bytes_in = (state["host"][:, i].sum() for i in range(5))
    sent, received = loadgen["sent_ns"].size, loadgen["received_ns"].size + loadgen["server_received_ns"].size
    assert (packets_out, bytes_out) == (sent, sent * IPV4_BYTES)
    assert (packets_in, bytes_in) == (received, received * IPV4_BYTES)


@pytest.mark.parametrize("mode", MODES)
def test_the_ledger_sums_to_what_was_intended(result: Result, mode: str) -> None:
    ledger, loadgen = summary_of(result, mode)["ledger"], result.arrays(mode, "loadgen.npz")
    rows = {row["name"]: (row["echo_packets"], row["server_packets"]) for row in ledger["rows"]}
    late = int((loadgen["received_ns"] - loadgen["intended_ns"] > LATE_NS).sum())
    intended, server_intended = loadgen["intended_ns"].size, loadgen["server_received_ns"].size
    assert rows["delivered"][0] + rows["late"][0] == intended
    assert rows["late"][0] == late
    assert sum(rows["delivered"] + rows["late"]) == intended + server_intended
    assert all(counts == (0, 0) for name, counts in rows.items() if name not in ("delivered", "late"))
    assert (ledger["echo_intended_packets"], ledger["server_intended_packets"]) == (intended, server_intended)
    assert not ledger["overexplained"]
    for hop in ledger["hops"]:
        assert hop["entered_packets"] == hop["left_packets"], hop


@pytest.mark.parametrize("mode", MODES)
def test_every_statelet_arrives_once_and_in_order(result: Result, mode: str) -> None:
    migration = result.read(mode, "migration.json")
    source, destination = migration["source"], migration["destination"]
    count = source["statelets_sent"]
    assert count > 0
    assert (destination["statelets_received"], destination["statelets_installed"]) == (count, count)
    assert (destination["first_sequence"], destination["last_sequence"]) == (0, count - 1)
    assert source["statelet_bytes"] == destination["statelet_bytes"]
    assert source["snapshot_bytes"] == destination["snapshot_bytes"] > destination["filler_bytes"] == 1 << 20
    assert source["snapshot_records"] == destination["snapshot_records"] > FLOWS


def test_duplication_moves_whole_frames_and_statelets_do_not(result: Result) -> None:
    per_statelet = {}
    for mode in MODES:
        source = result.read(mode, "migration.json")["source"]
        per_statelet[mode] = source["statelet_bytes"] / source["statelets_sent"]
    assert per_statelet["duplication"] > 512 > 64 > per_statelet["statelet"]


@pytest.mark.parametrize("mode", MODES)
def test_the_phases_come_in_the_order_of_the_protocol(result: Result, mode: str) -> None:
    migration = result.read(mode, "migration.json")
    phases: dict[str, list[str]] = {}
    times: dict[str, list[int]] = {}
    for phase in migration["phases"]:
        phases.setdefault(phase["node"], []).append(phase["phase"])
        times.setdefault(phase["node"], []).append(phase["monotonic_ns"])
    assert phases["source"] == ["connect", "snapshot", "resynchronise", "committed", "drained", "closed"]
    assert phases["destination"] == ["prepared", "receive_snapshot", "install", "buffering", "drain_pkt_q", "live"]
    before, after = phases["controller"][:6], phases["controller"][6:]
    assert before == ["prepare", "connect", "announce", "snapshot", "resynchronise", "commit"]
    assert after == ["switchover", "drain", "close", "drain_pkt_q", "completed"]
    assert all(moments == sorted(moments) for moments in times.values())
    moment = {(p["node"], p["phase"]): p["monotonic_ns"] for p in migration["phases"]}
    # The order that the protocol rests on, across the three parties.
    redirect = moment["destination", "buffering"]
    assert redirect < moment["source", "committed"] < migration["switchover"]["started_ns"]
    assert migration["switchover"]["ended_ns"] <= migration["drain_first_ns"]
    assert migration["drain_first_ns"] < moment["source", "drained"] <= moment["destination", "drain_pkt_q"]
    assert migration["drain_packets"] >= 2
    assert migration["destination"]["duration_ns"] > 0
    assert migration["lost"] == []


@pytest.mark.parametrize("mode", MODES)
def test_events_are_in_order_and_tell_the_run(result: Result, mode: str) -> None:
    events = [json.loads(line) for line in (result.folder(mode) / "events.jsonl").read_text().splitlines()]
    own = [event for event in events if "." not in event["phase"]]
    assert [event["phase"] for event in own] == ["boot", "warm_up", "window", "load_end", "collect", "done"]
    moments = [event["monotonic_ns"] for event in own]
    assert moments == sorted(moments)
    controller = [event["monotonic_ns"] for event in events if event["phase"].startswith("controller.")]
    assert controller == sorted(controller)
    assert moments[2] < controller[0] < controller[-1] < moments[4]
    migration = result.read(mode, "migration.json")
    journalled = Counter(f"{phase['node']}.{phase['phase']}" for phase in migration["phases"])
    assert Counter(event["phase"] for event in events if "." in event["phase"]) == journalled


def test_the_run_directory_has_every_file(result: Result) -> None:
    top = {path.name for path in result.directory.iterdir()}
    assert top == {
        *("profile.toml", "effective.json", "manifest.json", "testbed.json", "calibration.json", "summary.json"),
        *(result.folder(mode).name for mode in MODES),
    }
    assert {result.folder(mode).name[:3] for mode in MODES} == {"01-", "02-"}
    for mode in MODES:
        names = {path.relative_to(result.folder(mode)).as_posix() for path in result.folder(mode).rglob("*")}
        logs = {f"logs/{title}.log" for title in ("source", "destination", "loadgen", "echoserver")}
        wanted = {"events.jsonl", "points.lp", "series.npz", "summary.json", "migration.json", "logs", *logs}
        wanted |= {"loadgen.npz", "loadgen.json", "echoserver.npz", "echoserver.json", "destination.state.npz"}
        # The delay element's log is there where the kernel has no netem.
        assert names - {"logs/latency.log"} == wanted


def test_the_manifest_and_the_profile_are_written_before_the_first_event(result: Result) -> None:
    manifest = json.loads((result.directory / "manifest.json").read_text())
    assert manifest["profile"] == "smoke"
    assert "--diff" in manifest["command_line"]
    first = min(path.stat().st_ctime_ns for path in result.directory.glob("*/logs/*"))
    for name in ("manifest.json", "profile.toml", "effective.json"):
        assert (result.directory / name).stat().st_mtime_ns < first
    given = tomllib.loads((result.directory / "profile.toml").read_text())
    assert given["load"]["rate"] == "20M", "not the profile as given"
    effective = json.loads((result.directory / "effective.json").read_text())
    assert effective["profile"]["load"]["flows"] == FLOWS
    assert [run["mode"] for run in effective["plan"]["runs"]] == [
        path.name[3:] for path in sorted(result.directory.glob("0*"))
    ]


def test_no_json_holds_a_number_that_is_none(result: Result) -> None:
    def refuse(name: str) -> Any:
        raise AssertionError(name)

    files = list(result.directory.rglob("*.json"))
    assert len(files) >= 12
    for path in files:
        json.loads(path.read_text(), parse_constant=refuse)


def test_secrets_are_nowhere(result: Result) -> None:
    """Key and drain token have 64 and 32 hexadecimal digits; nothing else recorded or printed has."""
    secret = re.compile(rb"(?<![0-9a-f])(?:[0-9a-f]{64}|[0-9a-f]{32})(?![0-9a-f])")
    assert secret.search(b'"' + os.urandom(32).hex().encode() + b'"')
    assert not secret.search(result.output.encode())
    for path in result.directory.rglob("*"):
        if path.is_file():
            assert not secret.search(path.read_bytes()), path


# -- line protocol ----------------------------------------------------------------------------------------------------

_FIELD = re.compile(r'([a-z][a-z0-9_]*)=(?:(-?\d+)i|(-?\d+(?:\.\d+)?(?:e[+-]?\d+)?)|"((?:[^"\\]|\\["\\])*)")(?:,|$)')
_POINT = re.compile(r"([a-z_]+)((?:,[a-z_]+=(?:[^,= \\]|\\[,= ])+)*) (\S(?:[^\"]|\"(?:[^\"\\]|\\.)*\")*) (\d{19})")


@dataclass(frozen=True)
class Point:
    measurement: str
    tags: dict[str, str]
    fields: dict[str, int | float | str]
    time_ns: int


def parse_point(line: str) -> Point:
    """One line of the line protocol as its reference describes it, only what is needed here; fails on all else."""
    match = _POINT.fullmatch(line)
    assert match, line
    measurement, tags, fields, time_ns = match.groups()
    parsed: dict[str, int | float | str] = {}
    at = 0
    while at < len(fields):
        found = _FIELD.match(fields, at)
        assert found, line
        name, whole, number, text = found.groups()
        parsed[name] = int(whole) if whole is not None else float(number) if number is not None else text
        at = found.end()
    pairs = dict(pair.split("=", 1) for pair in tags.split(",")[1:])
    return Point(measurement, pairs, parsed, int(time_ns))


@pytest.mark.parametrize("mode", MODES)
def test_points_parse_line_by_line_and_agree_with_the_records(result: Result, mode: str) -> None:
    points = [parse_point(line) for line in (result.folder(mode) / "points.lp").read_text().splitlines()]
    summary, loadgen = summary_of(result, mode), result.arrays(mode, "loadgen.npz")
    assert {point.tags["run_id"] for point in points} == {summary["run_id"]}
    assert {(point.tags["profile"], point.tags["mode"]) for point in points} == {("smoke", mode)}
    by_measurement = Counter(point.measurement for point in points)
    assert set(by_measurement) == {"run_summary", "traffic", "queue", "link", "host", "event", "live"}
    assert by_measurement["run_summary"] == 1
    traffic = [point for point in points if point.measurement == "traffic"]
    assert sum(int(point.fields["intended_packets"]) for point in traffic) == loadgen["intended_ns"].size
    assert sum(int(point.fields["received_packets"]) for point in traffic) == loadgen["received_ns"].size
    assert sum(int(point.fields["lost_packets"]) for point in traffic) == 0
    late = (loadgen["received_ns"] - loadgen["intended_ns"] > LATE_NS).sum()
    assert sum(int(point.fields["late_packets"]) for point in traffic) == late
    assert {b.time_ns - a.time_ns for a, b in pairwise(traffic)} == {100_000_000}
    events = [json.loads(line) for line in (result.folder(mode) / "events.jsonl").read_text().splitlines()]
    assert by_measurement["event"] == len(events)
    begin, end = events[0]["wall_ns"], events[-1]["wall_ns"]
    for point in points:
        assert begin - 10**9 < point.time_ns < end + 10**9, point
    queues = {(p.tags["node"], p.tags["kind"]) for p in points if p.measurement == "queue"}
    kinds = ("pkt_q_interior", "pkt_q_exterior", "st_q_out")
    assert queues == {(node, kind) for node in ("source", "destination") for kind in kinds}
    links = {(p.tags["node"], p.tags["link"]) for p in points if p.measurement == "link"}
    assert {("source", "up0"), ("destination", "up0"), ("fabric", "source"), ("loadgen", "up0")} <= links
    fields: dict[tuple[str, str], set[type]] = {}
    for point in points:
        for name, value in point.fields.items():
            fields.setdefault((point.measurement, name), set()).add(type(value))
    assert all(len(types) == 1 for types in fields.values()), "a field changes its type"


@pytest.mark.parametrize("mode", MODES)
def test_the_series_sum_to_the_records(result: Result, mode: str) -> None:
    series, loadgen = result.arrays(mode, "series.npz"), result.arrays(mode, "loadgen.npz")
    assert series["intended_packets"].sum() == loadgen["intended_ns"].size
    assert (series["lost_packets"] == 0).all()
    assert series["rtt_counts"].sum() == loadgen["received_ns"].size
    assert int(series["rtt_max_ns"].max()) == int((loadgen["received_ns"] - loadgen["intended_ns"]).max())


# -- shown again ------------------------------------------------------------------------------------------------------


def test_show_prints_the_same_table_again(result: Result, cli: Cli) -> None:
    shown = cli("show", result.directory)
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.strip() in result.output, "another table than at the end of the run"
    assert "statelet" in shown.stdout
    assert "duplication" in shown.stdout


def test_show_json_is_what_was_written(result: Result, cli: Cli) -> None:
    shown = cli("show", result.directory, "--json")
    assert shown.returncode == 0, shown.stderr
    document = json.loads(shown.stdout)
    assert document["experiment"] == json.loads((result.directory / "summary.json").read_text())
    assert document["experiment"]["completed"] is True
    for run in document["runs"]:
        folder = Path(run.pop("folder"))
        assert run == json.loads((folder / "summary.json").read_text())
    assert {run["mode"] for run in document["runs"]} == set(MODES)


def test_one_run_can_be_shown_alone(result: Result, cli: Cli) -> None:
    shown = cli("show", result.folder("statelet"))
    assert shown.returncode == 0, shown.stderr
    for text in ("ledger", "invariants", "phases of the migration", "state equals the reference", "switchover"):
        assert text in shown.stdout
