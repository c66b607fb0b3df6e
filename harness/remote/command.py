"""`harness host`: the hosts of an inventory, whether they can be used, and what they are."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.errors import HarnessError, MachineError
from harness.remote.hosts import Host, Hosts, load_hosts

AT_ONCE = 32
DEFAULT_FILE = "hosts.toml"


@dataclass(frozen=True)
class Visit:
    """What came of visiting one host: `result` where it went well, else `error` in one line."""

    host: Host
    result: dict[str, Any]
    error: str
    seconds: float


@click.group()
def host() -> None:
    """Hosts of the inventory: list them, check that they can carry a testbed, gather facts."""


def _options(command: Callable[..., int]) -> Callable[..., int]:
    for decorate in (
        click.option("--json", "as_json", is_flag=True, help="Print one JSON document to standard output."),
        click.option(
            "--inventory",
            "file",
            type=click.Path(path_type=Path, dir_okay=False),
            default=DEFAULT_FILE,
            show_default=True,
            help="The inventory.",
        ),
        click.argument("names", nargs=-1, metavar="[HOST|GROUP]..."),
    ):
        command = decorate(command)
    return command


@host.command("list")
@_options
def list_(names: tuple[str, ...], file: Path, as_json: bool) -> int:
    """Print the hosts, their addresses and groups; connects to none."""
    hosts = load_hosts(file)
    chosen = hosts.select(names)
    groups = {h.name: [g for g, members in hosts.groups.items() if h.name in members and g != "all"] for h in chosen}
    if as_json:
        click.echo(json.dumps([{**h.model_dump(), "groups": groups[h.name]} for h in chosen], indent=2))
        return 0
    rows = [(h.name, h.user, h.address, str(h.port), h.jump or "-", ", ".join(groups[h.name]) or "-") for h in chosen]
    _print_table(("host", "user", "address", "port", "through", "groups"), rows)
    return 0


@host.command()
@_options
def check(names: tuple[str, ...], file: Path, as_json: bool) -> int:
    """Connect to every host, put our code there, start its agent, and try whether a testbed can be built.

    Exit code 4 when one of them cannot be used; nothing is left there but the cached environment.
    """
    visits = visit(load_hosts(file), names, _check)
    return _report(visits, as_json, ("python", "kernel", "CPUs", "environment"), _checked)


@host.command()
@_options
def facts(names: tuple[str, ...], file: Path, as_json: bool) -> int:
    """Gather the facts of every host, side by side."""
    visits = visit(load_hosts(file), names, lambda remote: remote.call("facts"))
    return _report(visits, as_json, ("python", "kernel", "CPUs", "netem", "clock source", "rmem_max [bytes]"), _facts)


def visit(hosts: Hosts, names: Sequence[str], what: Callable[[Any], dict[str, Any]]) -> list[Visit]:
    """Do `what` with an agent on each host, side by side; results in the order of the inventory."""
    from harness.remote.session import RemoteHost

    def one(chosen: Host) -> Visit:
        started_s = time.monotonic()
        try:
            with RemoteHost.open(hosts, chosen) as remote:
                return Visit(chosen, what(remote), "", time.monotonic() - started_s)
        except HarnessError as error:
            return Visit(chosen, {}, str(error), time.monotonic() - started_s)

    chosen = hosts.select(names)
    with ThreadPoolExecutor(min(AT_ONCE, len(chosen)), thread_name_prefix="host") as executor:
        return list(executor.map(one, chosen))


def _check(remote: Any) -> dict[str, Any]:
    remote.call("require_testbed")
    made = remote.environment.made
    return {**remote.call("facts"), "environment": "made" if made else "cached"}


def _checked(result: dict[str, Any]) -> tuple[str, ...]:
    return (result["python"], result["kernel_release"], str(result["cpus"]), result["environment"])


def _facts(result: dict[str, Any]) -> tuple[str, ...]:
    netem = {True: "yes", False: "no", None: "?"}[result["features"]["netem"]]
    return (
        result["python"],
        result["kernel_release"],
        str(result["cpus"]),
        netem,
        result["clock_source"],
        str(result["rmem_max_bytes"]),
    )


def _report(
    visits: Sequence[Visit], as_json: bool, columns: Sequence[str], row: Callable[[dict[str, Any]], tuple[str, ...]]
) -> int:
    failed = [visit for visit in visits if visit.error]
    code = MachineError.exit_code if failed else 0
    if as_json:
        document = [
            {"host": v.host.name, "error": v.error or None, "seconds": round(v.seconds, 3), **v.result} for v in visits
        ]
        click.echo(json.dumps({"exit_code": code, "hosts": document}, indent=2, allow_nan=False))
        return code
    well = [(v.host.name, *row(v.result), f"{v.seconds:.1f}") for v in visits if not v.error]
    if well:
        _print_table(("host", *columns, "time [s]"), well)
    for visit in failed:
        click.echo(f"unusable: {visit.error}", err=True)
    return code


def _print_table(columns: Sequence[str], rows: Sequence[tuple[str, ...]]) -> None:
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(width=200, color_system=None, highlight=False)
    table = Table(pad_edge=False)
    for column in columns:
        table.add_column(Text(column))
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    console.print(table)
