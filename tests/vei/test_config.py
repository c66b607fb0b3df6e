"""The configuration of an instance's process: complete or refused, and never repeated in a message."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import UsageError
from harness.vei.config import parse_config

SECRET = "ab" * 32
VALID = {
    "image": "nat",
    "image_directory": "/images/nat",
    "parameters": {"udp_timeout_s": 30, "inbound_refresh": True},
    "role": "source",
    "management_address": "192.0.2.11",
    "control_port": 0,
    "secret": SECRET,
    "drain_token": "cd" * 16,
    "ports": [{"interface": "up0", "mac": "02:00:00:00:01:00", "arp_address": "10.1.0.1"}],
    "trace_path": None,
}


def parse(**changes: object) -> object:
    return parse_config(json.dumps({**VALID, **changes}).encode())


def test_a_complete_configuration_is_taken() -> None:
    config = parse_config(json.dumps(VALID).encode())
    assert config.parameters == {"udp_timeout_s": 30, "inbound_refresh": True}
    assert config.pkt_q_packets == 65_536
    assert SECRET not in repr(config)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sceduler": "fifo"}, "sceduler: Extra inputs"),
        ({"secret": SECRET[:-1]}, "secret: String should match"),
        ({"secret": SECRET + "\n"}, "secret: String should match"),
        ({"ports": []}, "ports: List should have at least 1"),
        ({"ports": [{"interface": "up0", "mac": "02:00"}]}, "mac: String should match"),
        ({"role": "spare"}, "role: Input should be"),
        ({"management_address": None}, "role source needs management_address"),
        ({"burst_packets": 257}, "burst_packets: Input should be less"),
    ],
)
def test_what_is_wrong_is_named_without_the_secret(changes: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        parse(**changes)
    assert SECRET[:-1] not in str(caught.value)


def test_an_instance_without_its_secret_is_refused_and_an_element_needs_none() -> None:
    rest = {key: value for key, value in VALID.items() if key not in ("secret", "management_address", "drain_token")}
    with pytest.raises(UsageError, match="needs drain_token, management_address, secret"):
        parse_config(json.dumps(rest).encode())
    assert parse_config(json.dumps({**rest, "role": "element"}).encode()).management_address is None


@given(st.binary(max_size=80))
def test_any_bytes_are_refused(line: bytes) -> None:
    with pytest.raises(UsageError):
        parse_config(line)
