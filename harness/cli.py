"""The command line: parses arguments, calls one function per command, turns exceptions into exit codes.

Exit codes: 0 success, 1 run failed, 2 usage or invalid profile, 3 a limit breached, 4 this machine lacks something,
5 clean-up incomplete, 130 interrupted. Heavy modules are imported inside the commands, so that help is instant.
"""

from __future__ import annotations

import errno
import json
import os
import signal
import sys
from dataclasses import replace
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from harness import __version__
from harness.errors import HarnessError, MachineError, UsageError

if TYPE_CHECKING:
    from harness.calibrate.for_runs import Choice
    from harness.profile import Profile

INTERRUPTED = 130
_JSON_HELP = "Print one JSON document to standard output."


class _Later(click.Command):
    """A group of commands of another module, which is imported when it is used: help of the others stays instant."""

    def __init__(self, name: str, module: str, help: str, attribute: str = "") -> None:  # noqa: A002
        super().__init__(name, help=help)
        self._module = module
        self._attribute = attribute or name

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        group: click.Group = getattr(import_module(self._module), self._attribute)
        return group.make_context(info_name, args, parent=parent, **extra)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.pass_context
def cli(context: click.Context, debug: bool) -> None:
    """Move stateful network functions while real packets flow through them, and measure what it costs the traffic."""
    context.obj = {"debug": debug}


@cli.command()
@click.argument("profile", type=click.Path(path_type=Path))
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a key, e.g. load.rate=300M.")
@click.option("--results", type=click.Path(path_type=Path, file_okay=False), help="Folder of the run directories.")
@click.option("--dry-run", is_flag=True, help="Print the plan; create nothing, need no privilege.")
@click.option("--check", is_flag=True, help="Report what provisioning would change; create nothing.")
@click.option("--diff", is_flag=True, help="Show every difference provisioning finds.")
@click.option(
    "--influx", metavar="URL", help="Send the points of each run to this InfluxDB, rather than INFLUXDB_V2_URL."
)
@click.option(
    "--faults", metavar="seed=N", help="Add faults drawn from this seed to those of the profile (see [[fault]])."
)
@click.option(
    "--calibration",
    type=click.Choice(["cached", "fresh", "off"]),
    default="cached",
    show_default=True,
    help="What is known of the links: a measurement of the last hour or else a short one, a short one, nothing.",
)
@click.option("--tags", multiple=True, metavar="TAG,...", help="Only [[task]]s with one of these tags.")
@click.option("--skip-tags", multiple=True, metavar="TAG,...", help="No [[task]]s with one of these tags.")
@click.option(
    "--inventory",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Hosts beside this one, rather than placement.inventory (hosts.toml in the profile's folder).",
)
@click.option("--keep", is_flag=True, help="Leave the testbed standing; 'harness clean' removes it.")
@click.option("--json", "as_json", is_flag=True, help=_JSON_HELP)
def run(
    profile: Path,
    overrides: tuple[str, ...],
    results: Path | None,
    dry_run: bool,
    check: bool,
    diff: bool,
    influx: str | None,
    faults: str | None,
    calibration: Choice,
    tags: tuple[str, ...],
    skip_tags: tuple[str, ...],
    inventory: Path | None,
    keep: bool,
    as_json: bool,
) -> int:
    """Run the experiment of PROFILE: every mode at the same load, side by side.

    load.rate counts both directions through the VNF together; frame sizes include the 42 header bytes.
    """
    from harness.plan import describe, make_plan
    from harness.profile import load_profile
    from harness.sink.target import find_target

    loaded = load_profile(profile, overrides)
    if faults is not None:
        if loaded.placement.hosts:
            raise UsageError(
                "--faults: not with [placement], which has no disk of its own to fill; name single faults in [[fault]]"
            )
        loaded = loaded.with_drawn_faults(_seed(faults))
    plan = make_plan(loaded)
    server = loaded.record.influxdb
    target = find_target(influx, (server.url, server.org, server.bucket), os.environ)
    hosts = inventory or profile.parent / loaded.placement.inventory
    placement = _placement(loaded, hosts)
    if dry_run:
        backend, refusal = _backend(loaded)
        if as_json:
            document: dict[str, Any] = {"profile": loaded.document(), "plan": plan.document()}
            document["latency_backend"] = backend
            _print_json({**document, "placement": placement} if placement else document)
        else:
            shown = [*describe(plan, loaded), ("backend", f"{backend['name']}: {backend['reason']}")]
            for label, text in [*shown, *(("placement", f"{node} on {host}") for node, host in placement.items())]:
                click.echo(f"{label:<16} {text}")
        return refusal
    from harness.provision.facts import gather_facts
    from harness.provision.unprivileged import enter

    enter()
    facts = gather_facts()
    facts.require_testbed()
    if keep and facts.rootless:
        raise UsageError("--keep: what is made without root ends with the command; run as root to keep the testbed")
    from harness.calibrate.for_runs import calibration_of_links
    from harness.doctor.cache import ensure_warm
    from harness.experiment import run_experiment
    from harness.options import RunOptions
    from harness.sink.background import delivering

    options = RunOptions(
        results=results or Path(loaded.record.results),
        command_line=tuple(sys.argv),
        profile_text=profile.read_text(encoding="utf-8"),
        keep=keep,
        check=check,
        diff=diff,
        tags=_words(tags),
        skip_tags=_words(skip_tags),
        json=as_json,
        inventory=hosts,
    )
    if not check:
        ensure_warm(lambda text: click.echo(text, err=True))
    with delivering(None if check else target, lambda text: click.echo(text, err=True)) as recorded:
        calibrate = partial(calibration_of_links, calibration)
        result = run_experiment(loaded, plan, replace(options, recorded=recorded), calibrate)
    if as_json:
        document = {"exit_code": result.exit_code, "path": str(result.path), "summary": result.summary}
        _print_json({**document, "tasks": result.tasks})
    return int(result.exit_code)


def _words(given: tuple[str, ...]) -> tuple[str, ...]:
    """The words of options that are repeated, or have several with commas between them."""
    return tuple(word.strip() for text in given for word in text.split(",") if word.strip())


def _placement(profile: Profile, inventory: Path) -> dict[str, str]:
    """Hosts of the nodes that are not on this one, as the inventory knows them. UsageError for one it does not."""
    if not profile.placement.hosts:
        return {}
    from harness.remote.hosts import load_hosts

    hosts = load_hosts(inventory)
    return {node: hosts[host].title for node, host in profile.placement.hosts.items()}


def _backend(profile: Profile) -> tuple[dict[str, str], int]:
    """What would make latency and impairments of the profile here, and why; the exit code where nothing could.

    A contradiction in the profile is raised.
    """
    from harness.profile.topology import make_topology
    from harness.provision.facts import gather_facts
    from harness.testbed.backend import resolve_backend

    try:
        backend = resolve_backend(make_topology(profile, "dryrun00"), gather_facts())
    except MachineError as error:
        return {"name": "refused", "reason": str(error)}, error.exit_code
    return {"name": backend.name, "reason": backend.reason}, 0


@cli.command()
@click.argument("run_directory", metavar="RUN", type=click.Path(path_type=Path))
@click.option("--live", is_flag=True, help="Follow it while it runs; RUN may be the folder of results, for the newest.")
@click.option("--json", "as_json", is_flag=True, help=_JSON_HELP)
def show(run_directory: Path, live: bool, as_json: bool) -> int:
    """Print the table of a run again, from its run directory alone; --live draws its curves while it runs."""
    from harness.report.show import show as show_run

    if live:
        if as_json:
            raise UsageError("--live is for people; follow points.lp in the run's directory with a program")
        from harness.report.live_curves import follow

        run_directory = follow(run_directory)
    show_run(run_directory, json=as_json)
    return 0


@cli.command()
@click.argument("profile_path", metavar="[PROFILE]", required=False, type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help=_JSON_HELP)
@click.option("--quiet", is_flag=True, help="Print only what is degraded or missing.")
@click.option("--warm-cache", is_flag=True, help="Compile the packet path first, so that a run starts at once.")
@click.option(
    "--calibrate",
    "calibrated",
    is_flag=False,
    flag_value="",
    metavar="[PROFILE]",
    help="Measure the links of PROFILE's testbed too (the default profile's without one); takes about 10 s.",
)
def doctor(profile_path: Path | None, as_json: bool, quiet: bool, warm_cache: bool, calibrated: str | None) -> int:
    """Say what this machine can and cannot do, and what that means for PROFILE (the default profile without one)."""
    from harness import doctor as examination

    profile = None
    subject = None
    if profile_path is not None:
        from harness.profile import load_profile

        subject = load_profile(profile_path)
    if calibrated is not None:
        from harness.profile import Profile, load_profile

        profile = load_profile(Path(calibrated)) if calibrated else Profile()
    from harness.provision.unprivileged import enter

    enter()
    if warm_cache:
        from harness.doctor.cache import warm_cache as fill_cache

        fill_cache()
    findings = examination.examine(subject)
    document = examination.document(findings)
    if not as_json:
        examination.print_findings(findings, quiet=quiet)
    if profile is not None and not document["exit_code"]:
        document = _calibrate(profile, document, as_json)
    if as_json:
        _print_json(document)
    return int(document["exit_code"])


def _calibrate(profile: Profile, document: dict[str, Any], as_json: bool) -> dict[str, Any]:
    """The document of the doctor with the calibration of the profile's links, which is printed unless `as_json`."""
    from harness.calibrate.for_runs import calibrate_and_keep
    from harness.doctor.cache import ensure_warm

    ensure_warm(lambda text: click.echo(text, err=True))
    calibration, _ = calibrate_and_keep(profile, lambda step: click.echo(f"calibration: {step}", err=True))
    if not as_json:
        from harness.calibrate.table import print_calibration

        print_calibration(calibration)
    exit_code = MachineError.exit_code if calibration.problems else 0
    return {**document, "exit_code": exit_code, "calibration": calibration.document()}


@cli.command()
@click.option("--json", "as_json", is_flag=True, help=_JSON_HELP)
def clean(as_json: bool) -> int:
    """Remove everything that dead runs left behind, and nothing else."""
    from harness.provision.clean import clean as remove_leftover

    removed = remove_leftover()
    if as_json:
        _print_json({"removed": [{"run_id": item.run_id, "kind": item.kind, "name": item.name} for item in removed]})
        return 0
    for item in removed:
        click.echo(f"removed {item.kind} {item.name} of {f'run {item.run_id}' if item.run_id else 'a dead run'}")
    if not removed:
        click.echo("nothing to remove")
    return 0


@cli.command()
@click.option("--json", "as_json", is_flag=True, help=_JSON_HELP)
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), help="Save the figures as JSON.")
@click.option("--quick", is_flag=True, help="Half a minute, coarse: whether everything can be measured here.")
def bench(as_json: bool, output: Path | None, quick: bool) -> int:
    """Measure what this machine's packet path can do: rates without loss, pauses, start-up, memory."""
    from harness.provision.facts import gather_facts
    from harness.provision.unprivileged import enter

    enter()
    gather_facts().require_testbed()
    from harness.bench.bench import run_bench
    from harness.doctor.cache import ensure_warm

    def prepare() -> None:
        ensure_warm(lambda text: click.echo(text, err=True))

    figures = run_bench(output=output, json=as_json, quick=quick, prepare=prepare)
    if as_json:
        _print_json(figures)
    return 0


@cli.command()
def version() -> int:
    """Print the version."""
    click.echo(f"harness {__version__}")
    return 0


cli.add_command(_Later("sweep", "harness.sweep.command", "Run a matrix of profiles, repeated in random order."))
cli.add_command(_Later("host", "harness.remote.command", "Other hosts: list, check and describe them."))
cli.add_command(_Later("soak", "harness.soak.command", "Run seeded faults for hours and check every promise."))
cli.add_command(_Later("list", "harness.report.list_command", "List the runs of a results folder.", "list_command"))
cli.add_command(_Later("push", "harness.sink.command", "Deliver the points of results to InfluxDB."))
cli.add_command(_Later("model", "harness.models.command", "Calculate what the papers' models say of a migration."))
cli.add_command(_Later("compare", "harness.report.compare_command", "Set two results or two bench files side by side."))
cli.add_command(_Later("report", "harness.report.command", "Draw figures and one HTML page of a results directory."))


def invoke(arguments: list[str] | None = None) -> int:
    """Run one command line; returns its exit code and never raises an expected error."""
    debug = "--debug" in (sys.argv[1:] if arguments is None else arguments)
    try:
        result = cli.main(args=arguments, prog_name="harness", standalone_mode=False)
        return result if isinstance(result, int) else 0
    except HarnessError as error:
        return _fail(error, str(error), error.exit_code, debug)
    except click.Abort:
        return _fail(None, "interrupted", INTERRUPTED, debug)
    except click.ClickException as error:
        context = getattr(error, "ctx", None)
        hint = f"; see '{context.command_path} --help'" if context is not None else ""
        return _fail(error, f"{error.format_message().rstrip('.')}{hint}", UsageError.exit_code, debug)
    except KeyboardInterrupt as error:
        return _fail(error, "interrupted", INTERRUPTED, debug)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
            raise
        what = f"{error.filename or 'a file'}: cannot be written ({error.strerror}); make room or choose another folder"
        return _fail(error, what, MachineError.exit_code, debug)
    except BrokenPipeError:
        # The reader of a pipe has gone: that ends the command, and is no mistake to report.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE


def _fail(error: BaseException | None, message: str, exit_code: int, debug: bool) -> int:
    if debug and error is not None:
        import traceback

        traceback.print_exception(error)
    for line in message.splitlines() or [type(error).__name__]:
        click.echo(f"harness: error: {line}", err=True)
    return exit_code


def _seed(text: str) -> int:
    """The number of `seed=N`."""
    name, _, number = text.partition("=")
    if name != "seed" or not (number.isascii() and number.isdecimal()) or len(number) > 18:
        raise UsageError(f"--faults {text!r:.60}: must be seed=N with a whole number, such as seed=1")
    return int(number)


def _print_json(document: Any) -> None:
    click.echo(json.dumps(document, indent=2, allow_nan=False, default=str))


def main() -> NoReturn:
    """Entry point of the program."""
    from harness.provision.owner import mark_processes
    from harness.provision.state_directory import state_directory
    from harness.provision.unprivileged import program

    # Before anything is started: what a killed program leaves behind is told by this mark.
    mark_processes(state_directory())
    with program():
        code = invoke()
    sys.exit(code)
