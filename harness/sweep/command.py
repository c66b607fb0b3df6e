"""`harness sweep`: parses arguments, asks, prints. What is heavy to import is imported where it is used."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.errors import MachineError, UsageError
from harness.experiment.placed import WHY_NOT_CALIBRATED
from harness.options import Recorded
from harness.provision.facts import Facts, gather_facts
from harness.provision.interrupt import interruptible
from harness.provision.unprivileged import enter
from harness.record.calibration import LinkCalibration
from harness.record.manifest import collect_manifest
from harness.record.sweep import read_entries
from harness.sink.background import delivering
from harness.sink.target import find_target
from harness.sweep.asked import Asked, AskedScale, asked_sweep
from harness.sweep.engine import Session, SweepResult, runs_of
from harness.sweep.load import load_sweep
from harness.sweep.matrix import Cell
from harness.sweep.order import SweepRun
from harness.sweep.placed import connected_hosts, placed_cells, require_here
from harness.sweep.progress import duration_text, overhead_text, seconds_left, verdict_counts, windows_s
from harness.sweep.store import create_sweep, open_sweep
from harness.units import format_rate

if TYPE_CHECKING:
    from harness.sweep.dask_hosts import Kept
    from harness.sweep.dask_workers import DaskWorkers

INTERRUPTED = 130
Elsewhere = Callable[["Kept", Callable[[str], None]], "AbstractContextManager[DaskWorkers]"]
"""Makes workers on other machines: of what every run shall be, and who hears of them."""
RESULTS = Path("results")
EXTRA = "pip install 'slim-harness[hosts]'"


@click.command()
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path))
@click.option("--results", type=click.Path(path_type=Path, file_okay=False), help="Folder of the sweep's directory.")
@click.option("--resume", metavar="DIR", type=click.Path(path_type=Path), help="Go on with the sweep in DIR.")
@click.option("--scale", metavar="auto|F", help="Multiply every rate by F, at most 1; auto: what this machine carries.")
@click.option("--bench", type=click.Path(path_type=Path), help="For --scale auto: report of 'harness bench --output'.")
@click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a key of the profiles, or sweep.KEY."
)
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="End after N runs; resume for the others.")
@click.option("--dry-run", is_flag=True, help="Print cells, runs and time needed; create nothing, need no privilege.")
@click.option("--no-calibration", is_flag=True, help="Do not measure the links before the first run.")
@click.option(
    "--influx", metavar="URL", help="Send the points of each run to this InfluxDB, rather than INFLUXDB_V2_URL."
)
@click.option(
    "--hosts", "host_names", multiple=True, metavar="HOST|GROUP", help="Run on these hosts, one run at a time on each."
)
@click.option(
    "--inventory",
    type=click.Path(path_type=Path, dir_okay=False),
    default="hosts.toml",
    show_default=True,
    help="File of the hosts, of --hosts or of the profiles' placement.",
)
@click.option("--scheduler", metavar="URL", help="Run on the workers of this Dask scheduler, tcp://address:port.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document to standard output.")
def sweep(
    file: Path,
    results: Path | None,
    resume: Path | None,
    scale: str | None,
    bench: Path | None,
    overrides: tuple[str, ...],
    limit: int | None,
    dry_run: bool,
    no_calibration: bool,
    influx: str | None,
    host_names: tuple[str, ...],
    inventory: Path,
    scheduler: str | None,
    as_json: bool,
) -> int:
    """Run the matrix of profiles of FILE: every cell in every mode, repeated, in random order.

    An interrupted sweep goes on with --resume. Exit code 0 when it is complete (or --limit was reached), 1 when a run
    FAILED, 130 when it was interrupted.
    """

    def tell(text: str) -> None:
        click.echo(text, err=as_json)

    if resume is not None and results is not None:
        raise UsageError(f"--results {results}: --resume {resume} goes on where that sweep is; leave one of them out")
    if host_names and scheduler is not None:
        raise UsageError("--hosts and --scheduler: either hosts of the inventory or somebody's scheduler, not both")
    elsewhere = _elsewhere(host_names, inventory, scheduler)
    loaded, factor = load_sweep(file, overrides), _scale(scale)
    if not dry_run:
        enter()
    target = find_target(influx, ("", "", ""), os.environ)

    def rates(frame_sizes: Sequence[int]) -> tuple[Mapping[int, float], str]:
        from harness.sweep.machine_rate import measure_rates, read_rates

        if bench is not None:
            return read_rates(bench), f"from {bench}"
        if dry_run:
            raise UsageError("--scale auto --dry-run: give the figures of this machine with --bench FILE")
        _require_machine(tell)
        tell("scale auto: measuring round trips without loss on this machine; --bench FILE takes saved figures")
        return measure_rates(frame_sizes, tell), "measured before the sweep"

    with delivering(None if dry_run else target, tell) as recorded, interruptible():
        calibrated = not no_calibration
        asked = asked_sweep(loaded, factor, resume=resume, calibrated=calibrated, rates=rates)
        if elsewhere is not None:
            require_here(asked.cells, "--hosts" if host_names else "--scheduler")
        if dry_run:
            _print_plan(asked, resume, as_json)
            return 0
        session = _session(asked, resume, results or RESULTS, loaded.text, tell, elsewhere is not None)
        session.limit = limit
        again = _resume_command(
            file, session.sweep, scale, overrides, _elsewhere_words(host_names, inventory, scheduler)
        )
        try:
            result = _carry_out(session, calibrated, tell, recorded, elsewhere, inventory)
        except KeyboardInterrupt:
            tell(f"interrupted; resume with: {again}")
            if as_json:
                _print_json(_document(session, INTERRUPTED, None))
            raise
    exit_code = 1 if result.failed else 0
    if as_json:
        _print_json(_document(session, exit_code, result))
    _print_end(result, again, tell)
    return exit_code


def _scale(text: str | None) -> AskedScale:
    if text is None:
        return None
    if text == "auto":
        return "auto"
    try:
        factor = float(text)
    except ValueError:
        factor = 0.0
    if not 0 < factor <= 1:
        raise UsageError(f'--scale {text:.40}: must be a number above 0 and at most 1, or "auto"')
    return factor


def _require_machine(tell: Callable[[str], None]) -> Facts:
    """Facts of a machine that can carry a testbed, compiled code at hand. MachineError."""
    from harness.doctor.cache import ensure_warm

    facts = gather_facts()
    facts.require_testbed()
    ensure_warm(tell)
    return facts


def _session(
    asked: Asked, resume: Path | None, results: Path, text: str, tell: Callable[[str], None], elsewhere: bool
) -> Session:
    """On a new directory, or on the one to resume."""
    manifest = asked.manifest
    if resume is not None:
        manifest = open_sweep(resume, manifest)
        sweep_path = resume
    else:
        machine = collect_manifest(
            experiment_id=manifest.sweep_id,
            profile=manifest.name,
            seed=manifest.seed,
            command_line=sys.argv,
            # Runs that are made elsewhere have the facts of their own machine in their own manifests.
            facts=asdict(gather_facts() if elsewhere else _require_machine(tell)),
        )
        sweep_path = create_sweep(results, manifest, text, machine)
    tell(f"sweep {manifest.name} in {sweep_path}")
    if manifest.scale != 1:
        tell(f"scale {manifest.scale:g}: {manifest.scale_reason}")
    return Session(sweep_path, manifest, asked.cells, _nothing_to_run, tell)


def _nothing_to_run(_cell: Cell, run: SweepRun, _runs: Path) -> Path:
    raise AssertionError(f"{run.key} was settled when the session began")


def _elsewhere(host_names: Sequence[str], inventory: Path, scheduler: str | None) -> Elsewhere | None:
    """How to get workers on other machines; None where the runs are made here. UsageError, MachineError."""
    if not host_names and scheduler is None:
        return None
    if find_spec("distributed") is None:
        option = "--hosts" if host_names else "--scheduler"
        raise MachineError(f"{option}: sweeps over several hosts need Dask: {EXTRA}")
    from harness.sweep.dask_hosts import on_hosts, on_scheduler

    if scheduler is not None:
        return lambda kept, tell: on_scheduler(scheduler, kept, tell)
    from harness.remote.hosts import load_hosts

    hosts = load_hosts(inventory)
    hosts.select(host_names)
    return lambda kept, tell: on_hosts(hosts, host_names, kept, tell)


def _elsewhere_words(host_names: Sequence[str], inventory: Path, scheduler: str | None) -> list[str]:
    """The options of the command line that say where runs are made."""
    if scheduler is not None:
        return ["--scheduler", scheduler]
    words = [word for name in host_names for word in ("--hosts", name)]
    return [*words, "--inventory", str(inventory)] if words else []


def _carry_out(
    session: Session,
    calibrated: bool,
    tell: Callable[[str], None],
    recorded: Recorded | None,
    elsewhere: Elsewhere | None,
    inventory: Path,
) -> SweepResult:
    session.begin()
    left = session.agenda.left()
    if not left:
        return session.result()
    if elsewhere is not None:
        from harness.sweep.dask_hosts import Kept
        from harness.sweep.many import carry_out

        if calibrated:
            tell("every host calibrates its own links, at most once an hour; the figures are with its runs")
        kept = Kept(session.manifest.name, session.manifest.keep, "cached" if calibrated else "off")
        with elsewhere(kept, tell) as workers:
            tell(f"{left} runs to be made on {workers.free()} hosts")
            return carry_out(session, workers, tell, recorded)
    from harness.experiment.experiment import process_template
    from harness.sweep.single import run_function

    _require_machine(tell)
    links = _calibrate(session, calibrated, tell)
    with connected_hosts(session.cells, inventory, tell) as spread_of, process_template() as template:
        tell(f"{left} runs to be made, about {duration_text(session.seconds_left())}")
        session.run = run_function(session.manifest.name, sys.argv, template, recorded, links, spread_of=spread_of)
        return session.carry_out()


def _calibrate(session: Session, calibrated: bool, tell: Callable[[str], None]) -> dict[str, LinkCalibration]:
    """What is known of the links of every cell, by its digest; none without a calibration."""
    from harness.calibrate.for_runs import calibrate_and_keep
    from harness.sweep.calibration import calibrate_cells, note_skipped

    if elsewhere := placed_cells(session.cells):
        tell(f"links of {len(elsewhere)} cells not calibrated: {WHY_NOT_CALIBRATED}")
    here = [cell for cell in session.cells if cell not in elsewhere]
    if calibrated:
        measure = lambda profile: calibrate_and_keep(profile, lambda _: None)[1]  # noqa: E731
        return calibrate_cells(session.sweep, here, measure, tell)
    note_skipped(session.sweep)
    tell("links not calibrated (--no-calibration): that they are what the profile says is not known")
    return {}


def _resume_command(
    file: Path, path: Path, scale: str | None, overrides: Sequence[str], elsewhere: Sequence[str]
) -> str:
    words = ["harness", "sweep", str(file), "--resume", str(path)]
    if scale is not None:
        words += ["--scale", scale]
    return shlex.join([*words, *(word for override in overrides for word in ("--set", override)), *elsewhere])


def _print_plan(asked: Asked, resume: Path | None, as_json: bool) -> None:
    manifest = asked.manifest
    if resume is not None:
        manifest = open_sweep(resume, manifest)
    runs = runs_of(manifest)
    estimate_s = seconds_left(Counter(run.cell for run in runs), windows_s(asked.cells), None)
    if as_json:
        listed = [{"cell": run.cell, "mode": run.mode, "repetition": run.repetition} for run in runs]
        _print_json({"sweep": manifest.model_dump(mode="json"), "runs": listed, "estimated_s": estimate_s})
        return
    click.echo(f"sweep            {manifest.name} (digest {manifest.digest})")
    click.echo(f"modes            {', '.join(manifest.modes)}, {manifest.repetitions} repetitions each")
    click.echo(f"control          {manifest.control_repetitions} runs per cell without a migration")
    if manifest.scale != 1:
        click.echo(f"scale            {manifest.scale:g}: {manifest.scale_reason}")
    for cell in asked.cells:
        load = format_rate(cell.profile.load.rate_bps)
        nominal = "" if manifest.scale == 1 else f" (nominal {format_rate(cell.nominal.load.rate_bps)})"
        click.echo(f"cell {cell.digest}  {cell.title}: {load} both directions together{nominal}")
    click.echo(f"runs             {len(runs)} in {len(asked.cells)} cells, about {duration_text(estimate_s)}")


def _document(session: Session, exit_code: int, result: SweepResult | None) -> dict[str, Any]:
    entries, complaints = read_entries(session.sweep)
    return {
        "exit_code": exit_code,
        "path": str(session.sweep),
        "complete": result is not None and result.left == 0,
        "left": session.agenda.left() if result is None else result.left,
        "scale": session.manifest.scale,
        "verdicts": verdict_counts(entries),
        "damaged": [*complaints, *session.damaged],
        "runs": [entry.model_dump(mode="json") for entry in entries],
    }


def _print_end(result: SweepResult, again: str, tell: Callable[[str], None]) -> None:
    counts = verdict_counts(result.entries)
    tell(", ".join(f"{count} {verdict}" for verdict, count in counts.items() if count) or "no run made")
    tell(f"overhead: {overhead_text(result.entries)}")
    if result.left:
        tell(f"{result.left} runs left; resume with: {again}")
    tell(f"results: {result.path}")


def _print_json(document: Mapping[str, Any]) -> None:
    click.echo(json.dumps(document, indent=2, allow_nan=False, default=str))
