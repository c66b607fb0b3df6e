"""[[fault]] in a profile: read, shown, refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.errors import ProfileError
from harness.faults.schedule import Fault
from harness.migration.phases import ControllerPhase
from harness.plan import describe, make_plan
from harness.profile import load_profile
from harness.profile.load import parse_profile
from harness.profile.model import Profile

TEXT = """
[[fault]]
phase = "snapshot"
delay = "5ms"
target = "destination"
action = "kill"

[[fault]]
at = "6s"
target = "management"
action = "cut"
for = "300ms"
node = "source"

[[fault]]
phase = "prepare"
target = "statelet_stream"
action = "corrupt"
offset = "1KiB"
bit = 3
"""
FAULTS = (
    Fault("destination", "kill", ControllerPhase.SNAPSHOT, delay_ns=5_000_000),
    Fault("management", "cut", at_ns=6_000_000_000, for_ns=300_000_000, node="source"),
    Fault("statelet_stream", "corrupt", ControllerPhase.PREPARE, offset_bytes=1024, bit=3),
)


def parsed(*faults: dict[str, Any], **migration: Any) -> Profile:
    return parse_profile({"profile": {"name": "x"}, "fault": list(faults), "migration": migration})


def test_faults_are_read_and_shown(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_text(TEXT)
    profile = load_profile(path)
    assert profile.faults == FAULTS
    assert parse_profile(profile.document()) == profile
    shown = dict(describe(make_plan(profile), profile))["faults"]
    assert shown.startswith("kill destination at snapshot + 5 ms; cut management of the source for 300 ms at s+6 s; ")
    assert shown.endswith("up to 4 attempts")


def test_every_fault_is_worth_another_attempt_unless_it_is_said() -> None:
    kill = {"phase": "snapshot", "target": "destination", "action": "kill"}
    assert (parsed().attempts, parsed(kill).attempts, parsed(kill, kill).attempts) == (1, 2, 3)
    assert parsed(kill, attempts=1).attempts == 1
    assert parsed(attempts=5).attempts == 5


def test_a_seed_adds_to_the_faults_of_the_profile() -> None:
    kill = {"phase": "snapshot", "target": "destination", "action": "kill"}
    profile = parsed(kill).with_drawn_faults(1)
    assert len(profile.faults) == 3
    assert profile.faults[0] == Fault("destination", "kill", ControllerPhase.SNAPSHOT)
    assert parse_profile(profile.document()) == profile


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ({"phase": "snapsho"}, "fault[0].phase: unknown value 'snapsho'; did you mean snapshot?"),
        ({"phase": "aborted"}, "fault[0].phase: unknown value 'aborted'"),
        ({"target": "sorce"}, "fault[0].target: unknown value 'sorce'; did you mean source?"),
        ({"action": "explode"}, "fault[0].action: unknown value 'explode'"),
        ({"action": "cut"}, "fault[0].action: 'cut' cannot be done to 'source'; there is kill or stop"),
        ({"phase": None}, "fault[0].phase: give either a phase or a time (at), and not both"),
        ({"at": "5s"}, "fault[0].phase: give either a phase or a time (at), and not both"),
        ({"delay": "5"}, "fault[0].delay: '5' has no unit"),
        ({"for": "5ms"}, "fault[0].for: 'kill' cannot be undone"),
        ({"target": None}, "fault[0].target: is missing"),
        ({"traget": "source"}, "fault[0].traget: unknown key; did you mean fault[0].target?"),
        ({"bit": 8, "target": "statelet_stream", "action": "corrupt"}, "fault[0].bit: must be less than or equal to 7"),
        ({"offset": "-1B"}, "fault[0].offset: "),
    ],
)
def test_a_mistake_is_one_line_with_its_path(fault: dict[str, Any], message: str) -> None:
    given = {"phase": "snapshot", "target": "source", "action": "kill", **fault}
    with pytest.raises(ProfileError) as refused:
        parsed({key: value for key, value in given.items() if value is not None})
    assert any(line.startswith(f"profile: {message}") for line in str(refused.value).splitlines()), refused.value


def test_what_is_no_list_of_tables_is_refused() -> None:
    with pytest.raises(ProfileError, match=r"^profile: fault: must be a list, not \{\}$"):
        parse_profile({"profile": {"name": "x"}, "fault": {}})
    with pytest.raises(ProfileError, match=r"^profile: fault\[0\]: must be a table, not 5$"):
        parse_profile({"profile": {"name": "x"}, "fault": [5]})
