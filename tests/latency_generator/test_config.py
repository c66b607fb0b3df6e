from __future__ import annotations

import json
from typing import Any

import pytest

from harness.errors import UsageError
from harness.latency_generator.config import ConditionsConfig, parse_command, parse_config

LINK = {
    "node": "source",
    "outer": {"netns": "a-source", "interface": "up0"},
    "inner": {"netns": "a-source", "interface": "inner0p"},
    "counted_addresses": ["02:00:00:00:01:00"],
    "down": {"latency_ns": 2_500_000, "loss": 0.01},
}
COMMAND = {"command": "conditions", "number": 3, "node": "source", "direction": "up", "conditions": {"loss": 0.5}}


def config(**changes: Any) -> bytes:
    return json.dumps({"links": [LINK], "seed": 7, **changes}).encode()


def test_a_configuration_becomes_the_settings_of_an_element() -> None:
    parsed = parse_config(config(queue_packets=99))
    settings = parsed.settings()
    assert (settings.seed, settings.queue_packets, settings.vnet_header) == (7, 99, True)
    assert settings.counted_addresses == [["02:00:00:00:01:00"]]
    assert parsed.links[0].up == ConditionsConfig()
    assert parsed.links[0].down.conditions().loss == 0.01


@pytest.mark.parametrize("distribution", ["normal", "pareto", "paretonormal"])
def test_a_named_distribution_becomes_a_table(distribution: str) -> None:
    conditions = ConditionsConfig(ipdv_ns=1000, ipdv_distribution=distribution).conditions()  # type: ignore[arg-type]
    assert conditions.ipdv_table is not None
    assert len(conditions.ipdv_table) == 4096
    assert ConditionsConfig(ipdv_ns=1000).conditions().ipdv_table is None


@pytest.mark.parametrize(
    ("line", "where"),
    [
        (b"", "the object"),
        (b"[]", "the object"),
        (config(colour="blue"), "colour"),
        (config(links=[]), "links"),
        (config(links=[LINK] * 5), "links"),
        (config(seed=-1), "seed"),
        (config(links=[{**LINK, "down": {"loss": 1.5}}]), "links.0.down.loss"),
        (config(links=[{**LINK, "down": {"corruption": 0.1}}]), "links.0.down.corruption"),
        (config(links=[{**LINK, "up": {"latency_ns": 61_000_000_000}}]), "links.0.up.latency_ns"),
        (config(links=[{**LINK, "up": {"ipdv_distribution": "cauchy"}}]), "links.0.up.ipdv_distribution"),
        (config(links=[{**LINK, "counted_addresses": ["02:00"]}]), "links.0.counted_addresses.0"),
        (config(links=[{**LINK, "outer": {"interface": ""}}]), "links.0.outer.interface"),
    ],
)
def test_a_wrong_configuration_is_refused_with_the_place(line: bytes, where: str) -> None:
    with pytest.raises(UsageError) as raised:
        parse_config(line)
    assert f"latency generator: {where}: " in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_command_names_what_changes() -> None:
    command = parse_command(json.dumps(COMMAND).encode())
    assert (command.number, command.node, command.direction) == (3, "source", "up")
    assert command.conditions.conditions().loss == 0.5


@pytest.mark.parametrize(
    "change",
    [{"command": "stop!"}, {"direction": "sideways"}, {"conditions": {"loss": "much"}}, {"node": ""}, {"extra": 1}],
)
def test_a_wrong_command_is_refused(change: dict[str, Any]) -> None:
    (where,) = change
    with pytest.raises(UsageError, match=f"command to the latency generator: {where}"):
        parse_command(json.dumps({**COMMAND, **change}).encode())
