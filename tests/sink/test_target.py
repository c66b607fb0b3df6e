from __future__ import annotations

import pytest

from harness.errors import UsageError
from harness.sink.target import DEFAULT_BUCKET, Target, find_target, make_target, read_token

ENVIRONMENT = {"INFLUXDB_V2_URL": "http://environment:8086", "INFLUXDB_V2_ORG": "e", "INFLUXDB_V2_BUCKET": "eb"}
SETTINGS = ("http://profile:8086", "p", "pb")


def test_the_option_comes_before_the_environment_before_the_profile():
    assert find_target("http://option:1/", SETTINGS, ENVIRONMENT) == Target("http://option:1", "e", "eb")
    assert find_target(None, SETTINGS, ENVIRONMENT) == Target("http://environment:8086", "e", "eb")
    assert find_target(None, SETTINGS, {}) == Target("http://profile:8086", "p", "pb")
    assert find_target(None, ("", "", ""), {}) is None
    assert find_target("http://option:1", ("", "", ""), {}) == Target("http://option:1", "", DEFAULT_BUCKET)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "influx",
        "ftp://h",
        "http://",
        "http://h:0",
        "http://h:99999",
        "http://h?db=x",
        "http://h#x",
        "http://h\n",
        "http://[::1",
    ],
)
def test_what_is_no_address_is_refused_with_its_source(url):
    with pytest.raises(UsageError, match="--influx: ") as error:
        make_target(url, "", "", "--influx")
    assert "\n" not in str(error.value)


def test_a_password_in_the_address_is_refused_and_not_repeated():
    with pytest.raises(UsageError, match="INFLUXDB_V2_TOKEN") as error:
        find_target(None, SETTINGS, {"INFLUXDB_V2_URL": "http://me:hunter22@h:8086"})
    assert "hunter22" not in str(error.value)


def test_targets_have_different_keys():
    targets = [Target("http://h", "a", "b"), Target("http://h", "ab", ""), Target("http://h", "a"), Target("http://g")]
    assert len({target.key for target in targets}) == len(targets)


def test_a_token_comes_from_the_environment_or_the_file_it_names(tmp_path):
    path = tmp_path / "token"
    path.write_text("from-file\n")
    assert read_token({}) == ""
    assert read_token({"INFLUXDB_V2_TOKEN_FILE": str(path)}) == "from-file"
    assert read_token({"INFLUXDB_V2_TOKEN_FILE": str(path), "INFLUXDB_V2_TOKEN": "direct"}) == "direct"


@pytest.mark.parametrize("content", [b"", b"two\nlines", b"\xff\xfe", b"x" * 20_000, "gr\u00fcn".encode()])
def test_a_file_without_a_token_is_refused_and_not_repeated(tmp_path, content):
    path = tmp_path / "secret"
    path.write_bytes(content)
    with pytest.raises(UsageError, match="secret") as error:
        read_token({"INFLUXDB_V2_TOKEN_FILE": str(path)})
    assert "lines" not in str(error.value)
    assert "xxx" not in str(error.value)


def test_a_missing_token_file_is_named(tmp_path):
    with pytest.raises(UsageError, match="nowhere: cannot be read"):
        read_token({"INFLUXDB_V2_TOKEN_FILE": str(tmp_path / "nowhere")})
