"""From a [[task]] of a profile to the task that carries it out on the host at hand. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from harness.errors import UsageError
from harness.profile.tasks import TaskTable
from harness.provision.task import Task
from harness.provision.tasks.command import Command, Program, RunningProgram
from harness.provision.tasks.file import FileContent
from harness.provision.tasks.package import Packages
from harness.provision.tasks.sysctl import RequiredSysctls

_NS_PER_S = 1e9


@dataclass(frozen=True)
class Place:
    """Where a task acts: its row of the recap, the namespace (None: the host's own), the file for the output of a
    program. content: of the file to be written, where it is not in the table; environment: variables of a program.
    """

    node: str
    netns: str | None
    output: Path
    content: bytes | None = None
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)


def user_task(table: TaskTable, place: Place) -> Task:
    """The task of a checked table."""
    if table.sysctl is not None:
        return RequiredSysctls(place.node, place.netns, table.sysctl)
    if table.file is not None:
        content = place.content if place.content is not None else (table.file.content or "").encode()
        return FileContent(place.node, Path(table.file.path), content, int(table.file.mode, 8))
    if table.command is not None:
        program = Program(table.command.argv, place.netns, place.output, place.environment)
        creates = Path(table.command.creates) if table.command.creates is not None else None
        deadline_s = table.command.deadline_ns / _NS_PER_S
        return Command(place.node, program, deadline_s, creates, table.command.unless)
    if table.package is not None:
        return Packages(place.node, table.package.names, table.package.install)
    if table.process is not None:
        program = Program(table.process.argv, place.netns, place.output, place.environment)
        ready_s = table.process.ready_within_ns / _NS_PER_S
        return RunningProgram(place.node, program, table.process.awaits_port, ready_s)
    raise UsageError(f"task {table.title!r:.100}: says nothing to be done")


def deadline_s(table: TaskTable) -> float:
    """Longest time the task of a table takes for one step."""
    return user_task(table, Place("", None, Path())).deadline_s


def output_of(task: Task) -> str:
    """What the programs of a task have printed; empty where there are none."""
    return task.output if isinstance(task, Command | Packages | RunningProgram) else ""
