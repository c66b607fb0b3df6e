from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.l2 import Ether
from scapy.packet import Raw
from scapy.utils import wrpcap

from harness.errors import ProfileError
from harness.plan import describe, make_plan
from harness.profile import Profile, parse_profile
from harness.profile.derived import load_duration_ns, mean_frame_bytes, offered_bps, requests_per_s
from harness.profile.load import apply_overrides
from harness.sweep.scale import scaled


def profile_of(*overrides: str) -> Profile:
    document: dict[str, Any] = {}
    overridden = apply_overrides(document, ["load.workload=capture", *overrides])
    return parse_profile(document, "x.toml", overridden)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A second of 100 requests of 200 bytes and their answers, four flows."""
    packets = []
    for i in range(100):
        ends, ports = ("192.0.2.1", "203.0.113.1"), (5000 + i % 4, 53)
        for delay_s, (source, destination), (sport, dport) in ((0, ends, ports), (0.001, ends[::-1], ports[::-1])):
            ether = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
            packet = ether / IP(src=source, dst=destination) / UDP(sport=sport, dport=dport) / Raw(bytes(158))
            packet.time = 1_700_000_000 + i / 100 + delay_s
            packets.append(packet)
    path = tmp_path_factory.mktemp("capture") / "x.pcap"
    wrpcap(str(path), packets)
    return path


def test_the_load_of_the_plan_is_that_of_the_file(file: Path) -> None:
    profile = profile_of(f"load.capture.path={file}", "load.capture.pace=capture", "load.capture.speed=5.0")
    assert mean_frame_bytes(profile) == 200
    assert requests_per_s(profile) == pytest.approx(500, abs=2)
    assert offered_bps(profile) == profile.load.rate_bps == pytest.approx(500 * 200 * 16, rel=0.01)
    assert profile.load.capture.flows == 4 * 75
    text = dict(describe(make_plan(profile), profile))["workload"]
    assert text == f"300 flows of {file}, at 5 times its own pace"


def test_with_a_rate_the_load_is_the_rate(file: Path) -> None:
    profile = profile_of(f"load.capture.path={file}", "load.rate=16M")
    assert (profile.load.rate_bps, requests_per_s(profile)) == (16_000_000, 5000)
    assert load_duration_ns(profile) == 15 * 10**9
    assert profile.load.capture.flows == 4 * 750
    assert (profile.load.server_packets_per_s, profile.load.new_flows_per_s) == (0, 0)


@pytest.mark.parametrize("pace", ["rate", "capture"])
def test_the_effective_profile_is_a_profile_again_and_scales(file: Path, pace: str) -> None:
    profile = profile_of(f"load.capture.path={file}", f"load.capture.pace={pace}", "load.rate=8M")
    assert parse_profile(json.loads(json.dumps(profile.document()))) == profile
    half = scaled(profile, 0.5)
    assert half.load.rate_bps == pytest.approx(profile.load.rate_bps / 2, rel=0.01)


@pytest.mark.parametrize(
    ("overrides", "path", "part"),
    [
        ([], "load.capture.path", "names no file"),
        (["load.capture.path=/nowhere/x.pcap"], "load.capture.path", "/nowhere/x.pcap: cannot be read"),
        (["load.capture.path=/"], "load.capture.path", "/: not a file"),
        (["load.capture.path=pyproject.toml"], "load.capture.path", "pyproject.toml: neither pcap nor pcapng"),
        (["load.capture.path=FILE", "load.capture.speed=2.0"], "load.capture.speed", "load.rate is the pace"),
        (["load.capture.path=FILE", "load.capture.pace=captured"], "load.capture.pace", "did you mean capture?"),
        (["load.capture.path=FILE", "load.arrivals=poisson"], "load.arrivals", "has its own"),
        (["load.capture.path=FILE", "load.frame_sizes=imix"], "load.frame_sizes", "has its own"),
        (
            ["load.capture.path=FILE", "load.capture.pace=capture", "load.capture.speed=500.0", "uplink.rate=99Mbit"],
            "load.rate",
            "above uplink.rate",
        ),
        (
            ["load.capture.path=FILE", "load.rate=900M", "load.hosts=1"],
            "load.capture.path",
            "ports on one of 1 hosts; give more hosts",
        ),
    ],
)
def test_what_cannot_be_sent_is_one_line_with_the_key(
    file: Path, overrides: list[str], path: str, part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(Path(__file__).parents[2])
    with pytest.raises(ProfileError) as caught:
        profile_of(*(override.replace("FILE", str(file)) for override in overrides))
    (line,) = str(caught.value).splitlines()
    assert f"{path}: " in line
    assert part in line


def test_a_file_without_a_flow_says_what_it_has(tmp_path: Path) -> None:
    path = tmp_path / "x.pcap"
    only_answers = Ether(src="02:00:00:00:00:01") / IP(src="192.0.2.1", dst="192.0.2.2") / TCP(sport=1, flags="SA")
    wrpcap(str(path), [only_answers, Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02", type=0x88CC)])
    with pytest.raises(ProfileError, match=r"no UDP or TCP flow over IPv4 in its 2 frames \(1 other protocol\)"):
        profile_of(f"load.capture.path={path}")


def test_a_command_needs_a_client_and_time() -> None:
    def refused(*overrides: str) -> str:
        document: dict[str, Any] = {}
        paths = apply_overrides(document, ["load.workload=command", *overrides])
        with pytest.raises(ProfileError) as caught:
            parse_profile(document, "x.toml", paths)
        return str(caught.value)

    assert "load.command.client: names no program" in refused()
    assert "load.command.client: is no command" in refused('load.command.client=[" "]')
    assert "load.command.client[0]: must be text" in refused("load.command.client=[1]")
    assert "load.command.deadline: 7s is over before" in refused(
        'load.command.client=["true"]', "load.command.deadline=7s"
    )


def test_the_plan_of_a_command_names_it_and_promises_no_packets() -> None:
    profile = parse_profile({"load": {"workload": "command", "command": {"client": ["sh", "-c", "a\nb"]}}})
    shown = dict(describe(make_plan(profile), profile))
    assert shown["workload"].startswith("sh -c 'a b' (nothing is sent beside it")
    assert not {"round trips", "packets per run"} & set(shown)
