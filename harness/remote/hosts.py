"""hosts.toml: the hosts there are, groups of them, and how each is reached.

[defaults]                     # for every host that does not say otherwise
user = "lab"
key = "~/.ssh/id_ed25519"
[hosts.alpha]
address = "192.0.2.1"
[hosts.beta]
address = "beta.example.org"
port = 2222
jump = "alpha"
python = "/usr/bin/python3.11"
variables = { rack = "3" }
[groups]
testbeds = ["alpha", "beta"]
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError
from pydantic_core import ErrorDetails

from harness.errors import UsageError
from harness.profile.checks import suggestion
from harness.profile.load import EXPECTED, read_document
from harness.profile.table import Table

HOSTS_MAX = 1000
ALL = "all"
"""The group every host is in."""

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}", re.ASCII)
_WORD = re.compile(r"[^\s\x00-\x1f\x7f]{1,255}")
_EXPECTED = {**EXPECTED, "missing": "is required", "list_type": "must be a list"}


def _name(value: str) -> str:
    if not _NAME.fullmatch(value):
        raise ValueError(
            f"{value!r:.80} must be 1 to 64 letters, digits, '_', '-' or '.', not starting with '.' or '-'"
        )
    return value


def _word(value: str) -> str:
    if not _WORD.fullmatch(value) or value.startswith("-"):
        raise ValueError(f"{value!r:.80} must be one word without spaces, not starting with '-'")
    return value


def _as_tuple(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


Name = Annotated[str, AfterValidator(_name)]
Word = Annotated[str, AfterValidator(_word)]
Names = Annotated[tuple[Name, ...], BeforeValidator(_as_tuple)]


class Defaults(Table):
    """[defaults]; every key may be given again by a host."""

    port: int = Field(default=22, ge=1, le=65535)
    user: Word = Field(default="root", description="With the privileges the testbed needs there: root.")
    key: str = Field(default="", description="Private key file; empty: only the agent.")
    agent: bool = Field(default=True, description="Whether keys of a running SSH agent are tried.")
    known_hosts: str = Field(
        default="~/.ssh/known_hosts", description="File of the host keys that are trusted; nothing is ever added."
    )
    python: Word = Field(default="python3", description="Python 3.11 or later on the host.")
    jump: str = Field(default="", description="Host of this file through which this one is reached.")
    connect_s: float = Field(default=10.0, gt=0, le=300, description="Longest time to connect and authenticate.")
    variables: dict[str, str | int | float | bool] = Field(default_factory=dict)


class Host(Defaults):
    """[hosts.NAME]"""

    name: Name
    address: Word
    fabric_address: Word | None = Field(
        default=None,
        description="Its address in the network that carries frames between hosts, where that is not `address`.",
    )

    @property
    def title(self) -> str:
        """For messages: name, user, address and port."""
        return f"{self.name} ({self.user}@{self.address}:{self.port})"


class _File(Table):
    defaults: dict[str, Any] = Field(default_factory=dict)
    hosts: dict[Name, dict[str, Any]] = Field(min_length=1, max_length=HOSTS_MAX)
    groups: dict[Name, Names] = Field(default_factory=dict)


class Hosts:
    """A checked inventory, in the order of the file."""

    def __init__(self, hosts: Mapping[str, Host], groups: Mapping[str, tuple[str, ...]]) -> None:
        self._hosts, self.groups = dict(hosts), {ALL: tuple(hosts), **groups}

    def __getitem__(self, name: str) -> Host:
        """UsageError where there is none of that name."""
        try:
            return self._hosts[name]
        except KeyError:
            raise UsageError(f"no host {name!r}{suggestion(name, tuple(self._hosts))}") from None

    def __iter__(self) -> Iterator[Host]:
        return iter(self._hosts.values())

    def select(self, names: Sequence[str] = ()) -> tuple[Host, ...]:
        """The hosts of these names and groups, each once; all without names. UsageError for an unknown one."""
        chosen: dict[str, Host] = {}
        for name in names or (ALL,):
            for member in self.groups.get(name, (name,)):
                if member not in self._hosts:
                    raise UsageError(f"no host or group {name!r}{suggestion(name, (*self._hosts, *self.groups))}")
                chosen[member] = self._hosts[member]
        return tuple(chosen.values())

    def way_to(self, host: Host) -> tuple[Host, ...]:
        """The hosts to connect to one after the other; the last is the host itself."""
        way = [host]
        while way[0].jump:
            way.insert(0, self._hosts[way[0].jump])
        return tuple(way)


def load_hosts(path: Path) -> Hosts:
    """Read and check an inventory. UsageError with one line per mistake."""
    return parse_hosts(read_document(path), str(path))


def parse_hosts(document: Mapping[str, Any], source: str = "hosts") -> Hosts:
    """Check TOML data. UsageError with one line per mistake."""
    try:
        file = _File.model_validate(document)
        defaults = Defaults.model_validate(file.defaults)
    except ValidationError as error:
        prefix = "defaults." if error.title == Defaults.__name__ else ""
        raise UsageError("\n".join(_line(source, prefix, detail) for detail in _details(error))) from None
    hosts, faults = {}, []
    for name, given in file.hosts.items():
        merged = {**defaults.model_dump(exclude_unset=True), **given, "name": name}
        if isinstance(given.get("variables", {}), dict):
            merged["variables"] = {**defaults.variables, **given.get("variables", {})}
        try:
            hosts[name] = Host.model_validate(merged)
        except ValidationError as error:
            faults += [_line(source, f"hosts.{name}.", detail) for detail in _details(error)]
    faults += _relations(hosts, file, source)
    if faults:
        raise UsageError("\n".join(faults))
    return Hosts(hosts, file.groups)


def _relations(hosts: Mapping[str, Host], file: _File, source: str) -> list[str]:
    faults, known = [], tuple(file.hosts)
    for name, host in hosts.items():
        if host.jump and host.jump not in file.hosts:
            faults.append(f"{source}: hosts.{name}.jump: no host {host.jump!r}{suggestion(host.jump, known)}")
            continue
        seen, at = {name}, host
        while at.jump and at.jump in hosts:
            at = hosts[at.jump]
            if at.name in seen:
                faults.append(f"{source}: hosts.{name}.jump: the way to {name} leads in a circle")
                break
            seen.add(at.name)
    for group, members in file.groups.items():
        if group in file.hosts or group == ALL:
            what = "every host is in it already" if group == ALL else "a host has this name"
            faults.append(f"{source}: groups.{group}: {what}; choose another")
        faults += [
            f"{source}: groups.{group}: no host {member!r}{suggestion(member, known)}"
            for member in members
            if member not in file.hosts
        ]
    return faults


def _details(error: ValidationError) -> list[ErrorDetails]:
    return error.errors(include_url=False)


def _line(source: str, prefix: str, detail: ErrorDetails) -> str:
    where = prefix + ".".join(str(part) for part in detail["loc"] if part != "[key]")
    if detail["type"] == "extra_forbidden":
        tables: dict[str, type[Table]] = {"": _File, "defaults.": Defaults}
        known = tuple(name for name in tables.get(prefix, Host).model_fields if name != "name")
        return f"{source}: {where}: unknown key{suggestion(str(detail['loc'][-1]), known)}"
    if detail["type"] == "value_error":
        return f"{source}: {where}: {detail['ctx']['error']}"
    expected = _EXPECTED.get(detail["type"]) or detail["msg"].replace("Input should", "must")
    shown = "" if detail["type"] == "missing" else f", not {detail['input']!r:.60}"
    return f"{source}: {where}: {expected}{shown}"
