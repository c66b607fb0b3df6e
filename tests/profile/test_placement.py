from __future__ import annotations

from typing import Any

import pytest

from harness.errors import ProfileError
from harness.profile.load import parse_profile

SPREAD = {"source": "alpha", "destination": "beta"}


def test_everything_is_here_unless_told_otherwise() -> None:
    profile = parse_profile({})
    assert profile.placement.hosts == {}
    assert "placement" not in profile.document(), "profiles of one host keep their digest"


def test_hosts_of_nodes_are_kept() -> None:
    profile = parse_profile({"placement": {**SPREAD, "loadgen": "localhost"}})
    assert profile.placement.hosts == SPREAD
    assert parse_profile(profile.document()) == profile


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({"placement": {"sauce": "alpha"}}, r"placement\.sauce: unknown key; did you mean placement\.source\?"),
        ({"placement": {"source": "al pha"}}, r"placement\.source: 'al pha' must be the name of a host"),
        (
            {"placement": SPREAD, "fault": [{"at": "1s", "target": "latency", "action": "kill"}]},
            r"fault\[0\]\.target: 'latency': not while placement.source is on host 'alpha': each host with an instance",
        ),
        ({"placement": SPREAD, "uplink": {"latency_backend": "latency_generator"}}, "one process beside all links"),
    ],
)
def test_what_does_not_work_across_hosts_is_refused_with_the_reason(document: dict[str, Any], said: str) -> None:
    with pytest.raises(ProfileError, match=said):
        parse_profile(document)
