"""`harness push`: completes what is missing at the servers, from any results directory."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import click

from harness.errors import HarnessError, MachineError, UsageError
from harness.record.rundir import POINTS
from harness.sink.deliver import Delivery, Server
from harness.sink.offset import lines_left, noted_targets, read_delivered, state_path
from harness.sink.quarantine import quarantine_path
from harness.sink.target import (
    BUCKET_VARIABLE,
    CA_VARIABLE,
    DEFAULT_BUCKET,
    ORG_VARIABLE,
    URL_VARIABLE,
    Target,
    find_target,
    read_token,
)


@dataclass(frozen=True)
class Pushed:
    """What a push came to. Lines of all its runs; `reason` is empty where nothing is left."""

    url: str
    org: str
    bucket: str
    runs: int
    delivered_lines: int
    left_lines: int
    rejected_lines: int
    rejected: tuple[str, ...]
    """Files with the lines the server will not take."""
    reason: str

    @property
    def exit_code(self) -> int:
        """1 unless the server has every line."""
        return 1 if self.left_lines or self.rejected_lines else 0


@click.command()
@click.argument("results", type=click.Path(path_type=Path))
@click.option("--influx", metavar="URL", help=f"The server, rather than {URL_VARIABLE} or those of the runs.")
@click.option("--org", default="", help=f"Organisation of InfluxDB 2, rather than {ORG_VARIABLE}.")
@click.option("--bucket", default="", help=f"Bucket or database, rather than {BUCKET_VARIABLE} or {DEFAULT_BUCKET!r}.")
@click.option("--again", is_flag=True, help="Deliver everything again, also what was rejected.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document to standard output.")
def push(results: Path, influx: str | None, org: str, bucket: str, again: bool, as_json: bool) -> int:
    """Deliver the points of RESULTS (a run, an experiment, a sweep or a folder of them) to InfluxDB.

    Only what is missing is sent. Exit code 1 when lines are left or were rejected. The token comes from
    INFLUXDB_V2_TOKEN or the file INFLUXDB_V2_TOKEN_FILE names (InfluxDB 1: user:password), never from the command line.
    """
    folders = run_folders(results)
    target, token = _target(folders, influx, org, bucket), read_token(os.environ)
    from harness.sink.server import InfluxServer

    server = InfluxServer(target, token, os.environ.get(CA_VARIABLE))
    try:
        pushed = deliver_all(folders, target, server, again=again)
    finally:
        server.close()
    if as_json:
        click.echo(json.dumps({"exit_code": pushed.exit_code, **asdict(pushed)}, indent=2))
    for line in _lines(pushed, target):
        click.echo(line, err=as_json)
    return pushed.exit_code


def run_folders(results: Path) -> list[Path]:
    """Folders below `results`, or itself, that hold points. UsageError where there is none."""
    if not results.is_dir():
        raise UsageError(f"{results}: not a directory; give the directory of a run, an experiment or a sweep")
    folders = sorted(path.parent for path in results.rglob(POINTS) if path.is_file())
    if not folders:
        raise UsageError(f"{results}: holds no {POINTS}, so no run that could be delivered")
    return folders


def deliver_all(folders: Sequence[Path], target: Target, server: Server, *, again: bool = False) -> Pushed:
    """Deliver every folder in order; the first that fails ends it. MachineError: the offset cannot be written."""
    delivered, reason = 0, ""
    if again:
        for folder in folders:
            _forget(folder, target)
    for folder in folders:
        before = read_delivered(folder, target).stored_lines
        try:
            Delivery(folder, target, server).carry_out()
        except OSError as error:
            raise MachineError(f"{error.filename or folder}: {error.strerror or error}; nothing is lost") from error
        except HarnessError as error:
            reason = str(error)
        delivered += read_delivered(folder, target).stored_lines - before
        if reason:
            break
    states = [(folder, read_delivered(folder, target).rejected_lines) for folder in folders]
    return Pushed(
        url=target.url,
        org=target.org,
        bucket=target.bucket,
        runs=len(folders),
        delivered_lines=delivered,
        left_lines=sum(lines_left(folder, target) for folder in folders),
        rejected_lines=sum(rejected for _, rejected in states),
        rejected=tuple(str(quarantine_path(folder, target)) for folder, rejected in states if rejected),
        reason=reason,
    )


def _target(folders: list[Path], influx: str | None, org: str, bucket: str) -> Target:
    """The address is given, never taken from results: whoever made them would get the token. It decides for the
    organisation and bucket the runs were to be delivered to there, unless these are given, too.
    """
    given_here = {variable: value for variable, value in ((ORG_VARIABLE, org), (BUCKET_VARIABLE, bucket)) if value}
    environment = {**os.environ, **given_here}
    given = find_target(influx, ("", "", ""), environment)
    noted = {target for folder in folders for target in noted_targets(folder)}
    if given is None:
        hint = "".join(f"; the runs were to go to {url}" for url in sorted({target.url for target in noted})[:1])
        raise UsageError(f"no server is given: use --influx URL or {URL_VARIABLE}{hint}")
    if environment.get(ORG_VARIABLE) or environment.get(BUCKET_VARIABLE):
        return given
    there = sorted({target for target in noted if target.url == given.url}, key=str)
    if len(there) > 1:
        raise UsageError(f"the runs were to go to {' and '.join(map(str, there))}; choose with --bucket and --org")
    return there[0] if there else given


def _forget(folder: Path, target: Target) -> None:
    try:
        quarantine_path(folder, target).unlink(missing_ok=True)
        state_path(folder, target).unlink(missing_ok=True)
    except OSError as error:
        raise MachineError(f"{error.filename}: cannot be removed ({error.strerror})") from error


def _lines(one: Pushed, target: Target) -> list[str]:
    lines = [f"delivered {one.delivered_lines} lines of {one.runs} runs to {target}"]
    lines += [f"rejected lines with the server's reason: {path}" for path in one.rejected]
    if one.left_lines:
        lines.append(f"{one.left_lines} lines not delivered: {one.reason}; the same command completes them")
    return lines
