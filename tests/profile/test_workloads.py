from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import ProfileError
from harness.plan import describe, make_plan
from harness.profile import Profile, parse_profile
from harness.profile.derived import mean_frame_bytes, offered_bps, peak_rate_bps, requests_per_s, snapshot_rate_bps
from harness.profile.load import apply_overrides


@pytest.fixture
def images(tmp_path: Path) -> dict[str, Path]:
    gateway = "[parameters.cells]\ndefault = 64\nminimum = 2\n[parameters.max_subscribers]\ndefault = 1000\n"
    folders = {}
    for name, text in {"nat": "", "gateway": gateway}.items():
        folders[name] = tmp_path / name
        folders[name].mkdir()
        (folders[name] / "image.toml").write_text(text)
    return folders


def profile_of(images: dict[str, Path], *overrides: str) -> Profile:
    document: dict[str, object] = {}
    overridden = apply_overrides(document, overrides)
    return parse_profile(document, "x.toml", overridden, images)


SUBSCRIBERS = ("load.workload=subscribers", "vnf.image=gateway")


@pytest.mark.parametrize(
    ("overrides", "path", "part"),
    [
        (["load.workload=subscribers"], "load.workload", "'nat' has no parameter 'cells'"),
        (["vnf.image=gateway"], "load.workload", "'subscribers' does"),
        ([*SUBSCRIBERS, "load.subscribers.cells=65"], "load.subscribers.cells", "more than the 64"),
        ([*SUBSCRIBERS, "vnf.parameters.cells=9"], "load.subscribers.cells", "more than the 9"),
        ([*SUBSCRIBERS, "load.flows=701"], "load.flows", "701 subscribers and 300 that come later"),
        ([*SUBSCRIBERS, "load.subscribers.handover_mean=10ns"], "load.subscribers.handover_mean", "handovers"),
        ([*SUBSCRIBERS, "load.subscribers.cells=1"], "load.subscribers.cells", "greater than or equal to 2"),
        ([*SUBSCRIBERS, "load.subscribers.handover_mean=2"], "load.subscribers.handover_mean", "no unit"),
        ([*SUBSCRIBERS, "load.subscribers.handover_mena=2s"], "load.subscribers.handover_mena", "handover_mean?"),
        ([*SUBSCRIBERS, "load.subscribers.handover_distribution=unifrom"], "handover_distribution", "uniform?"),
        (["load.workload=socket"], "load.workload", "did you mean sockets?"),
        (["load.arrivals=poison"], "load.arrivals", "did you mean poisson?"),
        (["load.frame_sizes=mix"], "load.frame_sizes", "did you mean imix?"),
        (["load.arrivals=on_off", "load.rate=600M"], "load.on", "above uplink.rate"),
        (["load.arrivals=on_off", "load.on=0s"], "load.on", "out of range"),
    ],
)
def test_what_the_image_or_the_uplink_cannot_carry_is_refused_with_the_key(images, overrides, path, part) -> None:
    with pytest.raises(ProfileError) as caught:
        profile_of(images, *overrides)
    (line,) = str(caught.value).splitlines()
    assert f"{path}: " in line
    assert part in line


def test_subscribers_of_a_gateway_are_accepted_up_to_its_limits(images) -> None:
    profile = profile_of(images, *SUBSCRIBERS, "load.flows=700", "load.subscribers.cells=64")
    assert profile.load.subscribers.handover_grace_ns == 7_500_000
    assert parse_profile(profile.document(), images=images) == profile


def test_a_wrong_parameter_is_told_alone(images) -> None:
    with pytest.raises(ProfileError) as caught:
        profile_of(images, *SUBSCRIBERS, "vnf.parameters.cells=many")
    assert [line.split(": ")[1] for line in str(caught.value).splitlines()] == ["vnf.parameters.cells"]


def test_every_rate_follows_the_mean_of_mixed_sizes(images) -> None:
    profile = profile_of(images, "load.frame_sizes=imix", "load.frame=1400B", "load.rate=292800k")
    assert mean_frame_bytes(profile) == 366
    assert requests_per_s(profile) == 50_000
    assert offered_bps(profile) == 292_800_000 + 50 * 366 * 8
    assert snapshot_rate_bps(profile) == (10**9 - offered_bps(profile)) * 9 // 10
    plan = make_plan(profile)
    assert (plan.frame_bytes, plan.requests_per_s) == (366, 50_000)
    assert "IMIX frames of 366 bytes on average" in dict(describe(plan, profile))["offered load"]


def test_the_peak_is_above_the_rate_only_with_off_times(images) -> None:
    times = ("load.on=50ms", "load.off=150ms")
    assert peak_rate_bps(profile_of(images, *times, "load.rate=200M")) == 200_000_000
    assert peak_rate_bps(profile_of(images, *times, "load.rate=200M", "load.arrivals=on_off")) == 800_000_000


def test_the_snapshot_is_paced_by_what_is_left_while_the_load_is_on(images) -> None:
    profile = profile_of(images, "load.rate=200M", "load.arrivals=on_off", "load.server_packets_per_s=0")
    assert snapshot_rate_bps(profile) == 540_000_000
    with pytest.raises(ProfileError, match=r"migration\.snapshot_rate: 'auto' .* leave nothing"):
        profile_of(images, "load.rate=500M", "load.arrivals=on_off")


def test_the_plan_tells_what_sends(images) -> None:
    def told(*overrides: str) -> str:
        profile = profile_of(images, *overrides)
        return dict(describe(make_plan(profile), profile))["workload"]

    assert told("load.arrivals=poisson") == "sockets; poisson arrivals"
    assert told(*SUBSCRIBERS) == ("subscribers in 64 cells, a handover of each every 2s on average; constant arrivals")
    assert told("load.arrivals=on_off", "load.off=300ms", "load.rate=200M") == (
        "sockets; 800 Mbit/s for 100ms, then nothing for 300ms, on average"
    )
