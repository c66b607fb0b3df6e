"""[[task]]: what the user wants done on hosts and nodes before and after an experiment."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from harness.profile.quantities import PositiveTime
from harness.profile.table import Table
from harness.units import parse_time

LOCALHOST = "localhost"
KINDS = ("sysctl", "file", "command", "package", "process")
CONTENT_BYTES_MAX = 1 << 20
KINDS_THAT_STAY = ("command", "package")
"""What these do is not undone, so that they may also come after the runs."""

_PARAMETER = re.compile(r"[a-z0-9_][A-Za-z0-9_.-]{0,199}", re.ASCII)
_PACKAGE = re.compile(r"[a-z0-9][a-z0-9.+-]{1,99}", re.ASCII)
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}", re.ASCII)
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,199}", re.ASCII)
_MODE = re.compile(r"0[0-7]{3}", re.ASCII)


def _as_tuple(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


def _matching(pattern: re.Pattern[str], what: str) -> AfterValidator:
    def check(value: str) -> str:
        if not pattern.fullmatch(value):
            raise ValueError(f"{value!r:.80} is no {what}")
        return value

    return AfterValidator(check)


def _parameters(value: object) -> object:
    """Kernel parameters with their values as text."""
    if not isinstance(value, Mapping) or not value:
        raise ValueError('must be a table of kernel parameters, such as { "net.core.rmem_max" = 33554432 }')
    found = {}
    for name, given in value.items():
        if not _PARAMETER.fullmatch(str(name)):
            raise ValueError(f"{str(name)!r:.80} is no kernel parameter, such as net.core.rmem_max")
        words = str(given).replace("\t", " ")
        if isinstance(given, bool) or not isinstance(given, int | str) or not words.isprintable():
            raise ValueError(f"{name}: must be a whole number or one line of text, not {given!r:.60}")
        found[str(name)] = " ".join(words.split())
    return found


def _without_zero(value: str) -> str:
    if "\0" in value:
        raise ValueError("must not contain a zero byte")
    return value


def _absolute(value: str) -> str:
    if not value.startswith("/") or "\0" in value or ".." in value.split("/") or value.endswith("/"):
        raise ValueError(f"{value!r:.80} must be the full path of a file, such as /etc/example.conf")
    return value


Word = Annotated[str, AfterValidator(_without_zero), Field(max_length=4096)]
Words = Annotated[tuple[Word, ...], BeforeValidator(_as_tuple), Field(max_length=200)]
"""A program and its arguments."""
AbsolutePath = Annotated[str, AfterValidator(_absolute), Field(max_length=4096)]
Variables = Annotated[
    tuple[Annotated[str, _matching(_VARIABLE, "name of a variable")], ...], BeforeValidator(_as_tuple)
]


class FileTask(Table):
    """file = { path, content or source, mode }"""

    path: AbsolutePath = Field(description="Where it is written; the directory has to be there.")
    content: str | None = Field(default=None, max_length=CONTENT_BYTES_MAX, description="What is written, as text.")
    source: str = Field(default="", description="Or the file here whose content is written.")
    mode: Annotated[str, _matching(_MODE, 'mode in four octal digits, such as "0644"')] = Field(
        default="0644", description="Permissions."
    )


class CommandTask(Table):
    """command = { argv, ... }"""

    argv: Words = Field(min_length=1, description="The program and its arguments; no shell reads them.")
    creates: AbsolutePath | None = Field(default=None, description="Not run where this file is there already.")
    unless: Words = Field(default=(), description="Not run where this command ends with 0; it must change nothing.")
    deadline_ns: PositiveTime = Field(
        default=parse_time("60s"), alias="deadline", description="Ended, and failed, after this time."
    )
    environment: Variables = Field(
        default=(), description="Names of variables of the harness's environment that are passed on, for secrets."
    )


class PackageTask(Table):
    """package = { names, install }"""

    names: Annotated[
        tuple[Annotated[str, _matching(_PACKAGE, "name of a Debian package")], ...], BeforeValidator(_as_tuple)
    ] = Field(min_length=1, max_length=200, description="Debian packages that have to be installed.")
    install: bool = Field(default=False, description="Install what is missing by apt-get; it stays installed.")


class ProcessTask(Table):
    """process = { argv, ... }: started before the experiment, ended after it."""

    argv: Words = Field(min_length=1, description="The program and its arguments; no shell reads them.")
    awaits_port: bool = Field(default=False, description="It is ready once it has opened a TCP or UDP port.")
    ready_within_ns: PositiveTime = Field(
        default=parse_time("20s"), alias="ready_within", description="Longest time until it is ready."
    )
    environment: Variables = Field(
        default=(), description="Names of variables of the harness's environment that are passed on, for secrets."
    )


class TaskTable(Table):
    """One [[task]]; exactly one of the kinds says what it is."""

    name: str = Field(default="", max_length=100, description="For the output; otherwise its kind and subject.")
    when: Literal["before", "after"] = Field(default="before", description="Before or after all runs.")
    hosts: Annotated[tuple[str, ...], BeforeValidator(_as_tuple)] = Field(
        default=(LOCALHOST,),
        min_length=1,
        max_length=1000,
        description="Hosts or groups of hosts.toml, nodes (then in their namespace), or localhost.",
    )
    tags: Annotated[tuple[Annotated[str, _matching(_TAG, "tag")], ...], BeforeValidator(_as_tuple)] = Field(
        default=(), max_length=20, description="For --tags and --skip-tags."
    )
    sysctl: Annotated[dict[str, str], BeforeValidator(_parameters)] | None = Field(
        default=None, description="Kernel parameters and their values; the values before come back."
    )
    file: FileTask | None = Field(default=None, description="A file; what was there before comes back.")
    command: CommandTask | None = Field(default=None, description="A command that is run to its end.")
    package: PackageTask | None = Field(default=None, description="Packages that have to be there.")
    process: ProcessTask | None = Field(default=None, description="A program that runs during the experiment.")

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds that are given; one, in a checked profile."""
        return tuple(kind for kind in KINDS if getattr(self, kind) is not None)

    @property
    def title(self) -> str:
        """For the output and messages."""
        if self.name:
            return self.name
        if self.sysctl is not None:
            return f"sysctl {', '.join(self.sysctl)}"
        if self.file is not None:
            return f"file {self.file.path}"
        if self.package is not None:
            return f"package {', '.join(self.package.names)}"
        words = self.command.argv if self.command is not None else self.process.argv if self.process else ()
        return f"{self.kinds[0] if self.kinds else 'task'} {' '.join(words)}"[:100]

    @property
    def environment(self) -> tuple[str, ...]:
        """Names of variables it is given."""
        given = self.command or self.process
        return given.environment if given is not None else ()


def task_problems(tables: Sequence[TaskTable]) -> Iterable[tuple[str, str]]:
    """(path of the key, what is wrong) of tasks whose values are each valid."""
    for number, table in enumerate(tables):
        path = f"task[{number}]"
        if len(table.kinds) != 1:
            given = f"{' and '.join(table.kinds)} are" if table.kinds else "none is"
            yield path, f"must be exactly one of {', '.join(KINDS)}; {given} given"
            continue
        if table.when == "after" and table.kinds[0] not in KINDS_THAT_STAY:
            after = " and ".join(KINDS_THAT_STAY)
            yield f"{path}.when", f"'after' is for {after}: a {table.kinds[0]} is undone when the experiment ends"
        if not table.name.isprintable():
            yield f"{path}.name", "must be one line of printable text"
        if table.file is not None and (table.file.content is None) == (not table.file.source):
            yield f"{path}.file", "must have content or source, and not both"
        for key, argv in (("command", table.command), ("process", table.process)):
            if argv is not None and not argv.argv[0]:
                yield f"{path}.{key}.argv", "the program's name is empty"


def selected(tables: Sequence[TaskTable], tags: Sequence[str], skip: Sequence[str]) -> tuple[TaskTable, ...]:
    """Those with one of `tags` (all without any) and none of `skip`, in order."""
    wanted, unwanted = set(tags), set(skip)
    return tuple(t for t in tables if (not wanted or wanted & set(t.tags)) and not unwanted & set(t.tags))
