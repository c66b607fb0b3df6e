from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path

import pytest
import tomli_w
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether
from scapy.utils import wrpcap

from harness.errors import ProfileError
from harness.profile import Profile, load_profile, parse_profile
from harness.profile.load import apply_overrides

PROFILES = sorted((Path(__file__).parents[2] / "profiles").glob("*.toml"))


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "nat"
    folder.mkdir()
    (folder / "image.toml").write_text(
        "[parameters.udp_timeout_s]\ndefault = 300\nminimum = 1\nmaximum = 1000\n"
        "[parameters.inbound_refresh]\ndefault = false\n"
        '[parameters.filtering]\ndefault = "address"\nchoices = ["address", "endpoint"]\n'
    )
    return {"nat": folder}


def refusals(document, images, overrides=()):
    overridden = apply_overrides(document, overrides)
    with pytest.raises(ProfileError) as caught:
        parse_profile(document, "profiles/x.toml", overridden, images)
    assert caught.value.exit_code == 2
    return str(caught.value).splitlines()


@pytest.mark.parametrize("path", PROFILES, ids=lambda path: path.stem)
def test_shipped_profiles_load_and_survive_a_round_trip(path, tmp_path):
    overrides = []
    if path.stem == "capture":  # the user's own file
        file = tmp_path / "x.pcap"
        ether = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
        wrpcap(str(file), [ether / IP(src="192.0.2.1", dst="192.0.2.2") / UDP(sport=5000 + i) for i in range(99)])
        overrides = [f"load.capture.path={file}", "load.rate=1M"]
    profile = load_profile(path, overrides)
    assert profile.name == path.stem
    assert parse_profile(tomllib.loads(tomli_w.dumps(profile.document()))) == profile


def test_shipped_profiles_are_the_loads_of_the_paper():
    of_the_paper = ("nat_512B", "nat_1400B")
    small, large = (load_profile(path) for name in of_the_paper for path in PROFILES if path.stem == name)
    assert (small.load.rate_bps, small.load.frame_bytes) == (200_000_000, 512)
    assert (large.load.rate_bps, large.load.frame_bytes) == (600_000_000, 1400)
    for profile in (small, large):
        assert profile.load.flows == 128
        assert profile.uplink.rate_bps == 10**9
        assert profile.uplink.burst_ns == 20_000_000
        assert profile.uplink.latency_ns == 2_500_000
        assert profile.migration.filler_bytes == 20 << 20
        assert profile.migration.modes == ("none", "statelet", "duplication")


def test_unknown_key_is_refused_with_the_nearest_name(images):
    assert refusals({"load": {"frmae": "512B"}}, images) == [
        "profiles/x.toml: load.frmae: unknown key; did you mean load.frame?"
    ]


def test_a_key_in_the_wrong_table_is_sent_to_the_right_one(images):
    assert refusals({"load": {"window": "15s"}}, images) == [
        "profiles/x.toml: load.window: unknown key; did you mean timing.window?"
    ]


def test_names_of_fields_are_not_keys(images):
    assert refusals({"load": {"rate_bps": 5}}, images) == [
        "profiles/x.toml: load.rate_bps: unknown key; did you mean load.rate?"
    ]


def test_every_mistake_gets_one_line(images):
    lines = refusals(
        {
            "load": {"rate": "-5M", "flows": "x", "frame": "73B"},
            "migration": {"modes": "statelet", "snapshot_rate": "fast", "deadlines": {"snap": "1s"}},
            "uplink": 3,
            "dataplane": {"scheduler": "fif", "verify": 1},
            "profile": {"name": "../x"},
            "vnf": {"parameters": {"a": float("nan"), "b": [1]}},
            "lod": {},
        },
        images,
    )
    by_path = {line.split(": ")[1]: line for line in lines}
    assert len(by_path) == len(lines) == 13
    assert "negative" in by_path["load.rate"]
    assert "whole number" in by_path["load.flows"]
    assert "74B" in by_path["load.frame"]
    assert "must be a list" in by_path["migration.modes"]
    assert '"auto"' in by_path["migration.snapshot_rate"]
    assert by_path["migration.deadlines.snap"].endswith("did you mean migration.deadlines.snapshot?")
    assert "must be a table" in by_path["uplink"]
    assert by_path["dataplane.scheduler"].endswith("did you mean fifo?")
    assert "true or false" in by_path["dataplane.verify"]
    assert "letters, digits" in by_path["profile.name"]
    assert "finite" in by_path["vnf.parameters.a"]
    assert "finite" in by_path["vnf.parameters.b"]
    assert by_path["lod"].endswith("did you mean load?")


def test_a_key_cannot_break_the_line(images):
    assert refusals({"load": {"a\nb": 1}}, images)[0].startswith('profiles/x.toml: load."a\\nb": unknown key')


def test_unknown_image_and_mode_are_refused_with_the_nearest_name(images):
    lines = refusals({"vnf": {"image": "nta"}, "migration": {"modes": ["statlet", "none", "none"]}}, images)
    assert lines == [
        "profiles/x.toml: vnf.image: unknown image 'nta'; did you mean nat?",
        "profiles/x.toml: migration.modes[0]: unknown mode 'statlet'; did you mean statelet?",
        "profiles/x.toml: migration.modes[2]: mode 'none' stands here twice",
    ]


def test_names_are_checked_beside_other_mistakes(images):
    lines = refusals({"vnf": {"image": "nta"}, "load": {"rate": "5"}, "migration": {"modes": [3, "fast"]}}, images)
    assert [line.split(": ")[1] for line in lines] == [
        "load.rate",
        "migration.modes[0]",
        "vnf.image",
        "migration.modes[1]",
    ]


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({"udp_timeout": 5}, "did you mean udp_timeout_s?"),
        ({"udp_timeout_s": "5"}, "of the type of its default 300"),
        ({"udp_timeout_s": True}, "of the type of its default 300"),
        ({"udp_timeout_s": 0}, "below the minimum of 1"),
        ({"udp_timeout_s": 1001}, "above the maximum of 1000"),
        ({"inbound_refresh": 1}, "of the type of its default False"),
        ({"filtering": "none"}, "not one of address, endpoint"),
    ],
)
def test_parameters_are_checked_against_the_image(images, parameters, expected):
    (line,) = refusals({"vnf": {"parameters": parameters}}, images)
    assert line.startswith(f"profiles/x.toml: vnf.parameters.{next(iter(parameters))}: ")
    assert line.endswith(expected)


def test_valid_parameters_are_kept(images):
    profile = parse_profile({"vnf": {"parameters": {"udp_timeout_s": 5, "filtering": "endpoint"}}}, images=images)
    assert profile.vnf.parameters == {"udp_timeout_s": 5, "filtering": "endpoint"}


@pytest.mark.parametrize(
    ("overrides", "path"),
    [
        (["load.rate=2G"], "load.rate"),
        (["load.rate=1kbit"], "load.rate"),
        (["load.rate=1G", "timing.window=2min", "timing.load_until=2min", "load.frame=74B"], "load.rate"),
        (["load.hosts=129"], "load.hosts"),
        (["load.new_flows_per_s=2000"], "load.new_flows_per_s"),
        (["timing.migrate_at=13s"], "timing.migrate_at"),
        (["timing.load_until=16s"], "timing.load_until"),
        (["timing.interval=7ms"], "timing.interval"),
        (["timing.interval=10us"], "timing.interval"),
        (["timing.late=10ms"], "timing.late"),
        (["timing.wait_for_replies=14ms"], "timing.wait_for_replies"),
        (["timing.wait_for_replies=61s"], "timing.wait_for_replies"),
        (["uplink.burst=10us"], "uplink.burst"),
        (["uplink.queue_limit=1513B"], "uplink.queue_limit"),
        (["uplink.queue_limit=16KiB"], "uplink.queue_limit"),
        (["load.rate=1G"], "migration.snapshot_rate"),
        (["migration.snapshot_rate=2Gbit"], "migration.snapshot_rate"),
        (["migration.deadlines.snapshot=100ms"], "migration.deadlines.snapshot"),
    ],
)
def test_contradictions_name_the_key(images, overrides, path):
    document = {"timing": {}}
    paths = [line.split(": ")[1] for line in refusals(document, images, overrides)]
    assert path in paths


def test_late_may_be_short_without_a_delay(images):
    document = {"timing": {"late": "10ms"}, "uplink": {"latency_backend": "none"}}
    assert parse_profile(document, images=images).timing.late_ns == 10_000_000


def test_overrides_are_toml_or_bare_text_and_the_last_wins(images):
    document = {"load": {"rate": "200M"}}
    overrides = ["load.rate=300M", 'load.rate="400M"', "load.flows=8", 'migration.modes=["none"]', "load.hosts=8"]
    profile = parse_profile(document, overridden=apply_overrides(document, overrides), images=images)
    assert profile.load.rate_bps == 400_000_000
    assert profile.load.flows == 8
    assert profile.migration.modes == ("none",)


def test_mistakes_in_overrides_are_laid_to_the_command_line(images):
    lines = refusals({"load": {"flows": 0}}, images, ["load.rate=fast", "dataplane.verfy=false"])
    assert [line.split(": ")[:2] for line in lines] == [
        ["--set", "load.rate"],
        ["profiles/x.toml", "load.flows"],
        ["--set", "dataplane.verfy"],
    ]


@pytest.mark.parametrize("override", ["load.rate", "rate=5", "=5", "load.=5", ".rate=5", ""])
def test_override_without_key_or_value_is_refused(override):
    with pytest.raises(ProfileError, match=r"^--set .*table\.key=value"):
        apply_overrides({}, [override])


def test_override_below_a_value_is_refused():
    with pytest.raises(ProfileError, match=r"load\.rate is a value, not a table"):
        apply_overrides({"load": {"rate": "1M"}}, ["load.rate.x=1"])


def test_override_cannot_smuggle_a_second_key():
    document = {}
    apply_overrides(document, ["load.rate=1\nflows=2"])
    assert document == {"load": {"rate": "1\nflows=2"}}


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"[load\n", "not valid TOML"),
        (b"\xff\xfe", "not UTF-8"),
        (b"a = 1\na = 2\n", "not valid TOML"),
        (b"a = " + b"[" * 100_000, "not valid TOML"),
        (b"#" * (2**20 + 1), "too many"),
    ],
)
def test_unreadable_files_are_one_line(tmp_path, content, expected):
    path = tmp_path / "x.toml"
    path.write_bytes(content)
    with pytest.raises(ProfileError) as caught:
        load_profile(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_file_suggests_its_neighbour(tmp_path):
    (tmp_path / "nat_512B.toml").write_text("")
    with pytest.raises(ProfileError, match=r"No such file or directory; did you mean nat_512B\.toml\?"):
        load_profile(tmp_path / "nat_512.toml")


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "x.toml")
    with pytest.raises(ProfileError, match="not a file"):
        load_profile(tmp_path / "x.toml")


def test_name_defaults_to_that_of_the_file(tmp_path):
    (tmp_path / "mine.toml").write_text("[load]\nrate = '100M'\n")
    assert load_profile(tmp_path / "mine.toml").name == "mine"


def test_profile_does_not_change():
    with pytest.raises(ValueError, match="frozen"):
        Profile().load.flows = 3


TOML_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)
TABLES = st.sampled_from(sorted(Profile.model_fields)) | st.text(max_size=8)
KEYS = st.sampled_from(["rate", "frame", "modes", "parameters", "deadlines", "name", "seed", "window"])


@given(st.dictionaries(TABLES, TOML_VALUES | st.dictionaries(KEYS | st.text(max_size=8), TOML_VALUES, max_size=4)))
def test_any_document_is_a_profile_or_refused_line_by_line(document):
    try:
        profile = parse_profile(document, "x")
    except ProfileError as error:
        lines = str(error).splitlines()
        assert lines
        assert [line for line in lines if not line.startswith("x: ")] == []
    else:
        assert parse_profile(profile.document()) == profile


@pytest.mark.parametrize(
    ("override", "path"),
    [
        ("dataplane.tick=20ms", "dataplane.tick"),
        ("dataplane.receive_buffer=1KiB", "dataplane.receive_buffer"),
        ("load.new_flow_packets=101", "load.new_flow_packets"),
    ],
)
def test_what_a_process_would_refuse_is_refused_before_anything_is_created(override: str, path: str) -> None:
    with pytest.raises(ProfileError, match=re.escape(path)):
        load_profile(next(path for path in PROFILES if path.stem == "smoke"), [override])
