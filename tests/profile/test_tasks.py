from __future__ import annotations

from typing import Any

import pytest

from harness.errors import ProfileError
from harness.plan import describe, make_plan, profile_digest
from harness.profile import Profile, parse_profile
from harness.profile.tasks import TaskTable, selected


def tasks(*tables: dict[str, Any]) -> Profile:
    return parse_profile({"task": list(tables)})


ONE_OF_EACH: list[dict[str, Any]] = [
    {"sysctl": {"net.core.rmem_max": 33554432, "net.ipv4.tcp_rmem": "4096 131072\t6291456"}},
    {"file": {"path": "/etc/x", "content": "text\n", "mode": "0600"}, "hosts": ["alpha", "source"]},
    {"command": {"argv": ["make", "it"], "creates": "/x", "unless": ["true"], "deadline": "5s"}, "when": "after"},
    {"package": {"names": ["tcpdump", "libstdc++6"], "install": True}, "tags": ["tools", "all"]},
    {"process": {"argv": ["iperf3", "-s"], "awaits_port": True, "environment": ["TOKEN"]}, "name": "a server"},
]


def test_a_profile_with_every_kind_comes_back_from_its_document() -> None:
    profile = tasks(*ONE_OF_EACH)
    assert parse_profile(profile.document()) == profile
    assert [task.kinds for task in profile.task] == [("sysctl",), ("file",), ("command",), ("package",), ("process",)]
    assert profile.task[0].sysctl == {"net.core.rmem_max": "33554432", "net.ipv4.tcp_rmem": "4096 131072 6291456"}
    assert profile.task[2].command is not None
    assert profile.task[2].command.deadline_ns == 5_000_000_000
    assert profile.task[4].environment == ("TOKEN",)


def test_tasks_are_part_of_what_is_measured_and_their_absence_changes_nothing() -> None:
    assert "task" not in Profile().document()
    assert profile_digest(tasks(ONE_OF_EACH[0])) != profile_digest(parse_profile({}))


def test_the_plan_names_them_and_where_they_go() -> None:
    profile = tasks(*ONE_OF_EACH)
    shown = [text for label, text in describe(make_plan(profile), profile) if label == "task"]
    assert shown[1] == "before all runs, on alpha, source: file /etc/x"
    assert shown[2] == "after all runs, on localhost: command make it"
    assert shown[4].endswith(": a server")


@pytest.mark.parametrize(
    ("table", "line"),
    [
        ({}, "task[0]: must be exactly one of sysctl, file, command, package, process; none is given"),
        (
            {"sysctl": {"a.b": 1}, "package": {"names": ["x1"]}},
            "task[0]: must be exactly one of sysctl, file, command, package, process; sysctl and package are given",
        ),
        ({"sysctl": {}}, "task[0].sysctl: must be a table of kernel parameters"),
        ({"sysctl": {"../../etc/passwd": "x"}}, "task[0].sysctl: '../../etc/passwd' is no kernel parameter"),
        ({"sysctl": {"a.b": "1\n2"}}, "task[0].sysctl: a.b: must be a whole number or one line of text"),
        ({"sysctl": {"a.b": True}}, "task[0].sysctl: a.b: must be a whole number or one line of text"),
        ({"sysctl": {"a.b": 1}, "when": "after"}, "task[0].when: 'after' is for command and package: a sysctl is"),
        ({"file": {"path": "x", "content": ""}}, "task[0].file.path: 'x' must be the full path of a file"),
        ({"file": {"path": "/a/../b", "content": ""}}, "task[0].file.path: '/a/../b' must be the full path"),
        ({"file": {"path": "/a"}}, "task[0].file: must have content or source, and not both"),
        (
            {"file": {"path": "/a", "content": "", "source": "b"}},
            "task[0].file: must have content or source, and not both",
        ),
        ({"file": {"path": "/a", "content": "", "mode": "4755"}}, "task[0].file.mode: '4755' is no mode"),
        ({"command": {"argv": []}}, "task[0].command.argv: must have at least one element"),
        ({"command": {"argv": [""]}}, "task[0].command.argv: the program's name is empty"),
        ({"command": {"argv": ["a\0b"]}}, "task[0].command.argv[0]: must not contain a zero byte"),
        ({"command": {"argv": "make it"}}, "task[0].command.argv: must be a list"),
        ({"command": {"argv": ["a"], "environment": ["A=B"]}}, "task[0].command.environment[0]: 'A=B' is no name"),
        ({"command": {"argv": ["a"], "deadlin": "1s"}}, "task[0].command.deadlin: unknown key; did you mean task[0]."),
        ({"package": {"names": ["-y"]}}, "task[0].package.names[0]: '-y' is no name of a Debian package"),
        ({"process": {"argv": ["a"]}, "when": "afterwards"}, "task[0].when: unknown value 'afterwards'; did you mean"),
        ({"process": {"argv": ["a"]}, "tags": ["a b"]}, "task[0].tags[0]: 'a b' is no tag"),
        ({"process": {"argv": ["a"]}, "hosts": []}, "task[0].hosts: must have at least one element"),
        ({"process": {"argv": ["a"]}, "name": "a\x1b[2J"}, "task[0].name: must be one line of printable text"),
        ({"proces": {"argv": ["a"]}}, "task[0].proces: unknown key; did you mean task[0].process?"),
    ],
)
def test_what_is_wrong_is_one_line_with_its_path(table: dict[str, Any], line: str) -> None:
    with pytest.raises(ProfileError) as caught:
        tasks(table)
    assert any(line in said for said in str(caught.value).splitlines()), str(caught.value)


def test_tags_choose_and_leave_out() -> None:
    tables = tuple(TaskTable(name=name, tags=tags) for name, tags in (("a", ("x",)), ("b", ("x", "y")), ("c", ())))

    def names(tags: list[str], skip: list[str]) -> str:
        return "".join(table.name for table in selected(tables, tags, skip))

    assert names([], []) == "abc"
    assert names(["x"], []) == "ab"
    assert names(["x"], ["y"]) == "a"
    assert names([], ["x"]) == "c"
    assert names(["x", "y"], []) == "ab"
