from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.errors import HarnessError, MachineError, UsageError
from harness.experiment.user_tasks import UserTasks, material_of, select, targets_of
from harness.options import RunOptions
from harness.profile.tasks import CONTENT_BYTES_MAX, LOCALHOST, TaskTable
from harness.provision.engine import Event, EventKind
from harness.provision.state_directory import STATE_VARIABLE
from harness.remote.caller import LocalCaller
from harness.remote.host_task import Target, TaskFailed
from harness.remote.hosts import Hosts, parse_hosts
from harness.remote.task_part import TaskPart

NODES = {"source": ("localhost", "run-source"), "destination": ("beta", "run-destination")}


def hosts() -> Hosts:
    document = {"hosts": {name: {"address": name} for name in ("alpha", "beta")}, "groups": {"both": ["alpha", "beta"]}}
    return parse_hosts(document)


def no_hosts() -> Hosts:
    raise AssertionError("the inventory is not needed")


def table(**given: Any) -> TaskTable:
    return TaskTable.model_validate({"command": {"argv": ["true"]}, **given})


def test_a_task_goes_to_hosts_groups_and_nodes_each_once() -> None:
    found = targets_of(table(hosts=["both", "alpha", "source", "destination", "localhost"]), NODES, hosts)
    assert found == (
        Target("alpha", "alpha"),
        Target("beta", "beta"),
        Target("source", "localhost", "run-source"),
        Target("destination", "beta", "run-destination"),
        Target("localhost", "localhost"),
    )


def test_an_inventory_is_read_only_for_hosts() -> None:
    assert len(targets_of(table(hosts=["source", "localhost"]), NODES, no_hosts)) == 2


def test_an_unknown_place_is_one_line_with_the_nearest_name_and_the_nodes() -> None:
    with pytest.raises(UsageError, match=r"task 'command true': hosts: no host or group 'alhpa'; did you mean alpha\?"):
        targets_of(table(hosts=["alhpa"]), NODES, hosts)


def test_a_tag_that_no_task_has_is_a_mistake() -> None:
    tables = (table(tags=["tuning"]),)
    with pytest.raises(UsageError, match=r"--skip-tags: no task has the tag 'tunin'; did you mean tuning\?"):
        select(tables, RunOptions(Path(), skip_tags=("tunin",)))
    assert select(tables, RunOptions(Path(), tags=("tuning",))) == tables


def test_a_variable_or_a_file_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    secret = TaskTable.model_validate({"command": {"argv": ["true"], "environment": ["TOKEN", "HOME"]}})
    with pytest.raises(UsageError, match="the environment has no variable TOKEN; export it"):
        material_of(secret, {"HOME": "/"})
    assert "s3cret" not in repr(material_of(secret, {"HOME": "/", "TOKEN": "s3cret", "OTHER": "x"}))
    assert material_of(secret, {"HOME": "/", "TOKEN": "x", "OTHER": "y"}).environment == {"TOKEN": "x", "HOME": "/"}
    source = TaskTable.model_validate({"file": {"path": "/x", "source": str(tmp_path / "no")}})
    with pytest.raises(UsageError, match=r"file\.source .*: No such file"):
        material_of(source, {})
    (tmp_path / "no").write_bytes(bytes(CONTENT_BYTES_MAX + 1))
    with pytest.raises(UsageError, match="is larger than"):
        material_of(source, {})


class Said:
    def __init__(self) -> None:
        self.events: list[Event] = []

    def __call__(self, event: Event) -> None:
        self.events.append(event)

    @property
    def recaps(self) -> list[dict[str, dict[str, int]]]:
        return [event.recap for event in self.events if event.kind is EventKind.RECAP]


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(STATE_VARIABLE, str(tmp_path / "state"))
    return tmp_path / "state"


def test_tasks_are_done_told_by_host_and_undone(state: Path, tmp_path: Path) -> None:
    said = Said()
    tables = [
        TaskTable.model_validate({"file": {"path": str(tmp_path / "x"), "content": "ours"}, "name": "a file"}),
        table(command={"argv": ["sh", "-c", "echo done"]}),
        table(when="after", command={"argv": ["cat", str(tmp_path / "x")]}),
    ]
    tasks = UserTasks(tables, {}, RunOptions(tmp_path), said)
    tasks.on_hosts()
    assert (tmp_path / "x").read_text() == "ours"
    tasks.on_nodes()
    tasks.after()
    tasks.close()
    tasks.close()
    assert not (tmp_path / "x").exists()
    assert [recap["localhost"]["changed"] for recap in said.recaps] == [2, 1]
    undone = [event.name for event in said.events if event.kind is EventKind.UNDONE]
    assert undone == ["a file"]  # nobody takes a command back
    document = json.loads(json.dumps(tasks.document(), allow_nan=False))
    assert [(task["result"], task["on"], task["output"]) for task in document] == [
        ("changed", "localhost", ""),
        ("changed", "localhost", "done\n"),
        ("changed", "localhost", "ours"),
    ]
    assert all(task["duration_ns"] > 0 for task in document)


def test_a_check_changes_nothing(state: Path, tmp_path: Path) -> None:
    tables = [TaskTable.model_validate({"file": {"path": str(tmp_path / "x"), "content": "ours"}})]
    tasks = UserTasks(tables, {}, RunOptions(tmp_path), Said())
    tasks.on_hosts(check=True)
    assert not (tmp_path / "x").exists()
    tasks.close()
    assert [task["result"] for task in tasks.document()] == ["differs"]


def test_a_task_that_fails_is_one_line_and_undoes_the_others(state: Path, tmp_path: Path) -> None:
    tables = [
        TaskTable.model_validate({"file": {"path": str(tmp_path / "x"), "content": "ours"}}),
        table(name="the bad one", command={"argv": ["sh", "-c", "echo why >&2; exit 3"]}),
        table(),
    ]
    tasks = UserTasks(tables, {}, RunOptions(tmp_path), Said())
    with pytest.raises(TaskFailed, match=r"^task 'the bad one' on localhost: sh: exit status 3 \(why\)$") as caught:
        tasks.on_hosts()
    assert caught.value.exit_code == 1
    assert not (tmp_path / "x").exists()
    tasks.close()
    assert [task["result"] for task in tasks.document()] == ["changed", "failed", "not reached"]
    assert [path for path in state.iterdir() if path.name != "lock"] == []


def test_what_the_machine_lacks_has_its_exit_code(state: Path, tmp_path: Path) -> None:
    tasks = UserTasks([table(command={"argv": ["nosuchprogram"]})], {}, RunOptions(tmp_path), Said())
    with pytest.raises(TaskFailed, match="no program 'nosuchprogram'") as caught:
        tasks.on_hosts()
    assert caught.value.exit_code == 4
    tasks.close()


def several(folder: Path, tables: list[TaskTable], said: Said) -> tuple[UserTasks, list[TaskPart]]:
    """Tasks with an agent for each of three hosts, which are all this one."""
    inventory = folder / "hosts.toml"
    inventory.write_text("".join(f"[hosts.{name}]\naddress = '{name}'\n" for name in ("alpha", "beta", "gamma")))
    parts = [TaskPart() for _ in range(3)]
    agents = {name: LocalCaller(part.calls) for name, part in zip(("alpha", "beta", "gamma"), parts, strict=True)}
    return UserTasks(tables, {}, RunOptions(folder, inventory=inventory), said, agents), parts


def meeting(folder: Path, count: int, then: str = "true") -> dict[str, Any]:
    """A command that ends once so many are at it, and does not end alone."""
    folder.mkdir()
    met = f"until [ $(ls | wc -l) -ge {count} ]; do sleep 0.02; done"
    return {"argv": ["sh", "-c", f"cd {folder}; mktemp -p . XXXXXX; {met}; {then}"], "deadline": "20s"}


def test_all_hosts_of_a_task_are_at_it_at_the_same_time(state: Path, tmp_path: Path) -> None:
    said = Said()
    tables = [table(hosts=["all", LOCALHOST], command=meeting(tmp_path / "x", 4)), table(name="next", hosts=["all"])]
    tasks, parts = several(tmp_path, tables, said)
    tasks.on_hosts()
    tasks.close()
    for part in parts:
        part.close()
    (recap,) = said.recaps
    assert {name: counts["changed"] for name, counts in recap.items()} == {
        "alpha": 2,
        "beta": 2,
        "gamma": 2,
        LOCALHOST: 1,
    }
    told = [event.node for event in said.events if event.kind is EventKind.CHANGED]
    assert told == ["alpha", "beta", "gamma", LOCALHOST, "alpha", "beta", "gamma"]


def test_the_error_names_all_hosts_that_failed(state: Path, tmp_path: Path) -> None:
    """Only one of three that are at it at the same time does what only one can do."""
    said = Said()
    tables = [
        TaskTable.model_validate({"file": {"path": str(tmp_path / "ours"), "content": "x"}, "hosts": ["alpha"]}),
        table(name="bad", hosts=["all"], command=meeting(tmp_path / "x", 3, "mkdir taken || exit 7")),
        table(),
    ]
    tasks, parts = several(tmp_path, tables, said)
    with pytest.raises(TaskFailed, match=r"^task 'bad' on \w+: sh: exit status 7 \(.*\); on \w+: sh: .*\)$") as caught:
        tasks.on_hosts()
    tasks.close()
    for part in parts:
        part.close()
    results = {task["on"]: task["result"] for task in tasks.document() if task["task"] == "bad"}
    failed = [name for name, result in results.items() if result == "failed"]
    assert list(caught.value.reasons) == failed
    assert len(failed) == 2
    assert sorted(results.values()) == ["changed", "failed", "failed"]
    assert not (tmp_path / "ours").exists()
    assert tasks.document()[-1]["result"] == "not reached"


def test_a_message_of_many_hosts_names_each_and_gives_few_reasons() -> None:
    reasons = [TaskFailed("x", {f"h{number}": MachineError(f"why {number}")}) for number in range(5)]
    together = TaskFailed.together(reasons)
    assert str(together) == "task 'x' on h0: why 0; on h1: why 1; on h2: why 2; also on h3, h4"
    assert together.exit_code == MachineError.exit_code
    mixed = TaskFailed.together([reasons[0], TaskFailed("x", {"h9": HarnessError("else")})])
    assert mixed.exit_code == 1
