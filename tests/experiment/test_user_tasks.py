from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.errors import UsageError
from harness.experiment.user_tasks import UserTasks, material_of, select, targets_of
from harness.options import RunOptions
from harness.profile.tasks import CONTENT_BYTES_MAX, TaskTable
from harness.provision.engine import Event, EventKind
from harness.provision.state_directory import STATE_VARIABLE
from harness.remote.host_task import Target, TaskFailed
from harness.remote.hosts import Hosts, parse_hosts

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
    assert [event.name for event in said.events if event.kind is EventKind.UNDONE] == [
        "command sh -c echo done",
        "a file",
    ]
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
