"""Calibration on real namespaces: what is asked of the links is what is measured, and nothing is left behind.

Tolerances are those of a machine that is busy with other work; the limits themselves are tested with made-up figures.
"""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from harness.calibrate import calibrate
from harness.dataplane.jit import cache_directory
from harness.profile import load_profile
from harness.provision.state_directory import STATE_VARIABLE
from tests.system.conftest import SMOKE, Cli, Machine, wait_until

FAST_BPS, SLOW_BPS = 200_000_000, 100_000_000
LATENCY_NS = 5_000_000
SHORT_CONTROL = {
    "migration__modes": '["none"]',
    "timing__window": "1s",
    "timing__load_until": "1s",
    "timing__migrate_at": "0s",
}
PATHS = {"towards the instance": 1, "from the instance": 1, "from and towards it": 2, "round trip": 4}


def left_behind(cli: Cli) -> tuple[Any, ...]:
    """What a calibration may have left: namespaces, processes, records of its objects."""
    machine = cli.machine()
    return machine.namespaces, machine.processes, machine.state


def profile_file(folder: Path, rate: str, latency: str) -> Path:
    path = folder / "links.toml"
    lines = ["[load]", 'rate = "2M"', "flows = 8", "hosts = 8", "new_flows_per_s = 0", "[timing]", 'late = "1s"']
    path.write_text("\n".join([*lines, "[uplink]", f'rate = "{rate}"', f'latency = "{latency}"', ""]))
    return path


@pytest.fixture(scope="module")
def slow_without_latency(cli: Cli, tmp_path_factory: pytest.TempPathFactory) -> tuple[int, dict[str, Any]]:
    """Exit code and document of the command line: 100 Mbit/s, no latency."""
    before = left_behind(cli)
    path = profile_file(tmp_path_factory.mktemp("profile"), "100Mbit", "0s")
    done = cli("doctor", "--calibrate", path, "--json")
    assert done.stdout, done.stderr
    assert left_behind(cli) == before
    return done.returncode, json.loads(done.stdout)


@pytest.fixture(scope="module")
def fast_with_latency(warm: None, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The document of a calibration in this process: 200 Mbit/s, 5 ms."""
    folder = tmp_path_factory.mktemp("state")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(STATE_VARIABLE, str(folder))
        steps: list[str] = []
        found = calibrate(load_profile(profile_file(folder, "200Mbit", "5ms")), steps.append)
    assert steps[0] == "testbed"
    return found.document()


def rates_of(document: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    return {(rate["instance"], rate["direction"]): rate for rate in document["rates"]}


def medians_of(document: dict[str, Any], loaded: bool = False) -> dict[tuple[str, str], int]:
    """p50 in ns by instance and path; the paths of the probes only, or of those under load that were measured."""
    found = {}
    for latency in document["latencies"]:
        if bool(latency["load_bps"]) != loaded or (loaded and latency["measured"] is None):
            continue
        for path, crossings in PATHS.items():
            if latency["path"].startswith(path):
                assert latency["crossings"] == crossings
                assert latency["measured"]["count"] > 0
                found[latency["instance"], path] = latency["measured"]["p50_ns"]
    return found


@pytest.mark.timeout(300)
def test_every_direction_is_metered_at_its_rate(
    slow_without_latency: tuple[int, dict[str, Any]], fast_with_latency: dict[str, Any]
) -> None:
    _, document = slow_without_latency
    slow, fast = rates_of(document["calibration"]), rates_of(fast_with_latency)
    directions = {(node, direction) for node in ("source", "destination") for direction in ("towards", "from")}
    assert set(slow) == set(fast) == directions
    compared = 0
    for place in directions:
        assert (slow[place]["asked_bps"], fast[place]["asked_bps"]) == (SLOW_BPS, FAST_BPS)
        if slow[place]["intervals"] >= 4 and fast[place]["intervals"] >= 4:
            compared += 1
            assert slow[place]["measured_bps"] / fast[place]["measured_bps"] == pytest.approx(0.5, rel=0.1)
            assert fast[place]["measured_bps"] == pytest.approx(FAST_BPS, rel=0.1)
            assert fast[place]["minimum_bps"] <= fast[place]["measured_bps"] <= fast[place]["maximum_bps"]
    assert compared > 0


@pytest.mark.timeout(300)
def test_latency_is_measured_on_every_path(
    slow_without_latency: tuple[int, dict[str, Any]], fast_with_latency: dict[str, Any]
) -> None:
    _, document = slow_without_latency
    without, with_latency = medians_of(document["calibration"]), medians_of(fast_with_latency)
    assert set(without) == set(with_latency) == {(node, path) for node in ("source", "destination") for path in PATHS}
    for (node, path), crossings in [(place, PATHS[place[1]]) for place in without]:
        more_ns = with_latency[node, path] - without[node, path]
        assert 0.8 * crossings * LATENCY_NS < more_ns < 2 * crossings * LATENCY_NS


@pytest.mark.timeout(300)
def test_the_management_path_carries_state(
    slow_without_latency: tuple[int, dict[str, Any]], fast_with_latency: dict[str, Any]
) -> None:
    _, document = slow_without_latency
    slow, fast = document["calibration"], fast_with_latency
    round_trips = []
    for found in (slow, fast):
        assert 0 < found["transfer"]["goodput_bps"] < 1.2 * found["transfer"]["asked_bps"]
        (measured,) = (item["measured"] for item in found["latencies"] if item["path"].startswith("management"))
        assert measured["count"] > 10
        round_trips.append(measured["minimum_ns"])  # what a busy machine adds is not the path's
    assert 0.8 * 4 * LATENCY_NS < round_trips[1] - round_trips[0] < 2 * 4 * LATENCY_NS


@pytest.mark.timeout(300)
def test_latency_is_measured_at_half_load(
    slow_without_latency: tuple[int, dict[str, Any]], fast_with_latency: dict[str, Any]
) -> None:
    slow, fast = slow_without_latency[1]["calibration"], fast_with_latency
    for found, rate_bps in ((slow, SLOW_BPS), (fast, FAST_BPS)):
        (load_bps,) = {item["load_bps"] for item in found["latencies"]} - {0}
        assert load_bps == pytest.approx(rate_bps / 2, rel=0.01)
    # A machine that lost packets has no figures here, and says so as a doubt.
    for (_, path), p50_ns in medians_of(fast, loaded=True).items():
        assert 0.9 * PATHS[path] * LATENCY_NS < p50_ns < 2 * PATHS[path] * LATENCY_NS
    if len(medians_of(fast, loaded=True)) < 2 * len(PATHS):
        assert any("were lost" in doubt for doubt in fast["doubts"])


@pytest.mark.timeout(300)
def test_load_and_state_stream_share_the_meter(
    slow_without_latency: tuple[int, dict[str, Any]], fast_with_latency: dict[str, Any]
) -> None:
    for found in (slow_without_latency[1]["calibration"], fast_with_latency):
        competitions = found["competitions"]
        assert [item["paced_bps"] is None for item in competitions] == [False, True]
        for item in competitions:
            if item["total_bps"] is None:  # the machine did not let the stream get going in time
                continue
            assert 0 < item["total_bps"] <= 1.02 * item["asked_bps"]
            assert item["udp_achieved_bps"] + item["tcp_goodput_bps"] < 1.1 * item["asked_bps"]
            assert item["udp_packets"] >= item["udp_lost_packets"]


@pytest.mark.timeout(300)
def test_the_command_says_whether_the_links_are_sound(slow_without_latency: tuple[int, dict[str, Any]]) -> None:
    status, document = slow_without_latency
    assert document["findings"]
    assert status == document["exit_code"] == (4 if document["calibration"]["problems"] else 0)


@pytest.mark.timeout(300)
def test_a_run_measures_its_links_once_and_keeps_what_was_measured(
    cli: Cli, warm: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(cli.environment, "NUMBA_CACHE_DIR", str(cache_directory()))
    monkeypatch.setitem(cli.environment, "XDG_CACHE_HOME", str(tmp_path))
    found = []
    for _ in range(2):
        before = cli.directories()
        done = cli(*cli.run_arguments(**SHORT_CONTROL), "--calibration", "cached")
        assert done.returncode == 0, done.stderr
        (directory,) = cli.directories() - before
        found.append(json.loads((directory / "calibration.json").read_text()))
        (summary,) = directory.glob("01-none/summary.json")
        calibration = json.loads(summary.read_text())["calibration"]
        assert (calibration["links"], calibration["links_age_s"]) == (found[-1]["verdict"], found[-1]["age_s"])
        assert "links: " in cli("show", directory).stdout
    measured, recalled = found
    assert measured["origin"] == "measured"
    assert measured["figures"]["latencies"]
    assert len(measured["figures"]["rates"]) == 4
    if measured["verdict"] == "breached":  # of a machine too busy for it: measured again rather than believed
        assert recalled["origin"] == "measured"
    else:
        assert recalled["origin"] == "cache"
        assert recalled["figures"] == measured["figures"]
        assert recalled["age_s"] > measured["age_s"]


@pytest.mark.timeout(300)
def test_an_interrupted_calibration_tears_its_testbed_down(cli: Cli, untouched: Machine) -> None:
    with cli.start("doctor", "--calibrate", SMOKE) as running:
        wait_until(lambda: "calibration: latency" in running.output or running.popen.poll() is not None, "probes", 90)
        assert running.popen.poll() is None, running.output
        assert len(cli.machine().namespaces) > len(untouched.namespaces)
        assert running.end(signal.SIGINT) == 130, running.output
    assert "Traceback" not in running.output
