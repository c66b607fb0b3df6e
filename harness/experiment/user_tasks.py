"""The [[task]]s of a profile around its experiment: those of hosts before the testbed, those of nodes once it stands.

A task is done on all of its hosts side by side, then comes the next. Everything that can be undone is undone in reverse
at the end, whatever the end is.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from harness.errors import CleanupError, UsageError
from harness.options import RunOptions
from harness.profile.checks import suggestion
from harness.profile.tasks import CONTENT_BYTES_MAX, LOCALHOST, TaskTable, selected
from harness.provision.connections.local import LocalConnection
from harness.provision.engine import Callback, Engine, SeveralFailed
from harness.provision.ownership import Ownership
from harness.provision.task import Context
from harness.remote.caller import Caller, LocalCaller
from harness.remote.host_task import HostTask, Material, Target, TaskFailed
from harness.remote.hosts import Hosts, load_hosts
from harness.remote.task_part import TaskPart

if TYPE_CHECKING:
    from harness.remote.pool import RemoteHosts

Nodes = Mapping[str, tuple[str, str]]
"""Host and namespace of each node, by its name."""


def select(tables: Sequence[TaskTable], options: RunOptions) -> tuple[TaskTable, ...]:
    """The tasks that --tags and --skip-tags leave. UsageError for a tag that no task has."""
    known = tuple(dict.fromkeys(tag for table in tables for tag in table.tags))
    for option, tags in (("--tags", options.tags), ("--skip-tags", options.skip_tags)):
        for tag in tags:
            if tag not in known:
                raise UsageError(f"{option}: no task has the tag {tag!r:.80}{suggestion(tag, known)}")
    return selected(tables, options.tags, options.skip_tags)


def targets_of(table: TaskTable, nodes: Nodes, hosts: Callable[[], Hosts]) -> tuple[Target, ...]:
    """Where a task goes, each place once; the name of a node comes before that of a host. UsageError for a name that is
    neither."""
    found: dict[str, Target] = {}
    for name in table.hosts:
        if name == LOCALHOST:
            found[name] = Target(LOCALHOST, LOCALHOST)
        elif name in nodes:
            host, netns = nodes[name]
            found[name] = Target(name, host, netns)
        else:
            try:
                chosen = hosts().select([name])
            except UsageError as error:
                known = f"{error}; nodes: {', '.join(nodes)}; here: {LOCALHOST}"
                raise UsageError(f"task {table.title!r}: hosts: {known}") from None
            found.update({host.name: Target(host.name, host.name) for host in chosen})
    return tuple(found.values())


def material_of(table: TaskTable, environment: Mapping[str, str]) -> Material:
    """What a task takes from here. UsageError for a file or a variable that is not there."""
    missing = [name for name in table.environment if name not in environment]
    if missing:
        raise UsageError(f"task {table.title!r}: the environment has no variable {', '.join(missing)}; export it")
    content = None
    if table.file is not None and table.file.source:
        path = Path(table.file.source)
        try:
            content = path.read_bytes() if path.stat().st_size <= CONTENT_BYTES_MAX else None
        except OSError as error:
            raise UsageError(f"task {table.title!r}: file.source {path}: {error.strerror}") from None
        if content is None:
            raise UsageError(f"task {table.title!r}: file.source {path}: is larger than {CONTENT_BYTES_MAX} bytes")
    return Material(content, {name: environment[name] for name in table.environment})


class UserTasks:
    """All tasks of one experiment. `close` has to follow whatever else was called."""

    def __init__(
        self,
        tables: Sequence[TaskTable],
        nodes: Nodes,
        options: RunOptions,
        callback: Callback,
        agents: Mapping[str, Caller] | None = None,
    ) -> None:
        """agents: by host, those that are there already. UsageError for whatever can be known to be wrong before
        anything is done.
        """
        self._agents = agents or {}
        self._part = TaskPart()
        self._here = LocalCaller(self._part.calls)
        self._remotes: RemoteHosts | None = None
        self._inventory = options.inventory
        chosen = [
            (together, table, target, material_of(table, os.environ))
            for together, table in enumerate(select(tables, options))
            for target in targets_of(table, nodes, self._hosts)
        ]
        self._tasks = [
            HostTask(number, together, table, target, _Late(self._caller, target.host), material)
            for number, (together, table, target, material) in enumerate(chosen)
        ]
        connection = LocalConnection()
        self._connection = connection
        # Nothing is made through these: it is made, and recorded, where the tasks act.
        self._engines = {
            stage: Engine(Context(connection, Ownership.preview("tasks")), callback)
            for stage in ("hosts", "nodes", "after")
        }

    def __bool__(self) -> bool:
        return bool(self._tasks)

    def on_hosts(self, check: bool = False) -> None:
        """Connect to all hosts, and do what is before the testbed. TaskFailed: what was done is undone."""
        known = {LOCALHOST, *self._agents}
        others = dict.fromkeys(task.target.host for task in self._tasks if task.target.host not in known)
        if others and self._remotes is None:
            from harness.remote.pool import RemoteHosts  # with the SSH library, which most experiments do without

            self._remotes = RemoteHosts(self._hosts())
            self._remotes.open(tuple(others))
        self._run("hosts", "tasks before the testbed", check, lambda task: task.target.netns is None)

    def on_nodes(self, check: bool = False) -> None:
        """Do what is to be done in the namespaces, each time they are there anew. Errors as `on_hosts`."""
        self._run("nodes", "tasks of nodes", check, lambda task: task.target.netns is not None)

    def leave_nodes(self) -> None:
        """Undo what was done in the namespaces. CleanupError."""
        self._engines["nodes"].undo()

    def after(self, check: bool = False) -> None:
        """Do what comes after all runs. Errors as `on_hosts`."""
        self._run("after", "tasks after the experiment", check, lambda _task: True, when="after")

    def close(self) -> None:
        """Undo everything, in reverse, and leave the hosts. Doing it twice is no error. CleanupError."""
        failures = []
        for step in (
            self._engines["nodes"].undo,
            self._engines["hosts"].undo,
            self._part.close,
            *(() if self._remotes is None else (self._remotes.close,)),
        ):
            try:
                step()
            except CleanupError as error:
                failures.append(str(error))
        for engine in self._engines.values():
            engine.close()
        self._connection.close()
        if failures:
            raise CleanupError("; ".join(failures))

    def document(self) -> list[dict[str, Any]]:
        """What came of each task on each host so far, as JSON data."""
        return [
            {
                "task": task.name,
                "kind": task.table.kinds[0],
                "when": task.table.when,
                "tags": list(task.table.tags),
                "on": task.target.label,
                "host": task.target.host,
                "result": task.result.result or "not reached",
                "message": task.result.message,
                "changes": [[change.subject, change.before, change.after] for change in task.result.changes],
                "exit_status": task.result.exit_status,
                "output": task.result.output,
                "duration_ns": task.result.duration_ns,
            }
            for task in self._tasks
        ]

    def _run(self, stage: str, play: str, check: bool, where: Callable[[HostTask], bool], when: str = "before") -> None:
        tasks = [task for task in self._tasks if task.table.when == when and where(task)]
        if not tasks:
            return
        try:
            self._engines[stage].run(play, tasks, check)
        except SeveralFailed as several:
            failures = [error for error in several.errors if isinstance(error, TaskFailed)]
            if len(failures) < len(several.errors):
                raise
            raise TaskFailed.together(failures) from several

    def _hosts(self) -> Hosts:
        return load_hosts(self._inventory)

    def _caller(self, host: str) -> Caller:
        if host == LOCALHOST:
            return self._here
        if host in self._agents:
            return self._agents[host]
        assert self._remotes is not None
        return self._remotes[host]


class _Callers(Protocol):
    def __call__(self, host: str) -> Caller: ...


class _Late:
    """A caller that is there once the hosts have been reached."""

    def __init__(self, callers: _Callers, host: str) -> None:
        self._callers, self._host = callers, host

    def call(self, name: str, deadline_s: float = 0.0, **arguments: Any) -> dict[str, Any]:
        return self._callers(self._host).call(name, deadline_s, **arguments)
