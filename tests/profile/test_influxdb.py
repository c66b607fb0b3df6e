"""[record.influxdb]"""

from __future__ import annotations

import pytest

from harness.errors import ProfileError
from harness.plan import profile_digest
from harness.profile.load import parse_profile


def profile(**influxdb: str):
    return parse_profile({"record": {"influxdb": influxdb}})


def test_points_stay_in_their_files_unless_a_server_is_named():
    assert profile().record.influxdb.url == ""
    assert profile(url="http://h:8086/", bucket="b").record.influxdb.url == "http://h:8086"


def test_where_points_go_makes_no_other_experiment():
    assert profile_digest(profile(url="http://h:8086")) == profile_digest(profile())


@pytest.mark.parametrize(("key", "value"), [("url", "h:8086"), ("org", "a\nb"), ("bucket", "\x00"), ("token", "t")])
def test_a_mistake_names_its_key(key, value):
    with pytest.raises(ProfileError, match=rf"^profile: record\.influxdb\.{key}: "):
        profile(**{key: value})


def test_a_password_in_the_address_is_refused_and_not_repeated():
    with pytest.raises(ProfileError) as error:
        profile(url="http://me:hunter22@h:8086")
    assert "hunter22" not in str(error.value)
