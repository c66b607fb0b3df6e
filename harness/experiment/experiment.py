"""Carries out a plan: one testbed, then its runs in order, everything written down as it becomes known."""

from __future__ import annotations

import secrets
import string
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, closing, nullcontext
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rich.console import Console

from harness.errors import HarnessError, UsageError
from harness.experiment.blind_summary import summarise_blind
from harness.experiment.calibration import Calibrate, calibrated, with_links
from harness.experiment.command import CommandRun, require_programs
from harness.experiment.command_summary import summarise_command
from harness.experiment.faults import needs_small_disk
from harness.experiment.latency_generator import GENERATOR_MODULE
from harness.experiment.placed import WHY_NOT_CALIBRATED, placed_topology, require_one_piece
from harness.experiment.points import has_summary_point, run_points, series_of, summary_point
from harness.experiment.processes import INSTANCE_MODULE, LOAD_MODULES
from harness.experiment.run import Run
from harness.experiment.run_record import RunRecord
from harness.experiment.summary import summarise, unusable
from harness.experiment.user_tasks import UserTasks
from harness.experiment.verification import MODULE as VERIFY_MODULE
from harness.options import RunOptions
from harness.plan import Plan, PlannedRun
from harness.profile.images import known_images
from harness.profile.model import Profile
from harness.provision.connections.local import LocalConnection
from harness.provision.connections.spawned import NotReady
from harness.provision.connections.template import Template
from harness.provision.interrupt import interruptible
from harness.provision.recap import ansible_renderer
from harness.record.calibration import CALIBRATION, LinkCalibration, not_calibrated
from harness.record.events import read_events
from harness.record.manifest import collect_manifest
from harness.record.rundir import EFFECTIVE, EVENTS, MANIFEST, POINTS, PROFILE, SERIES, SUMMARY, Folder, RunDirectory
from harness.record.summary import ExperimentRun, ExperimentSummary, RunSummary
from harness.remote.host_task import TaskFailed
from harness.report.live import LiveView
from harness.report.show import show
from harness.testbed.site import SiteLost
from harness.testbed.testbed import Testbed

if TYPE_CHECKING:
    from harness.remote.spread import Spread
from harness.testbed.topology import NODES

STATUS_SUFFIX = ".status"
TASKS = "tasks.json"
LOG = "experiment.log"
LOG_WIDTH = 160
SMALL_DISK_BYTES = 32 << 20
"""Beside twice what a run is expected to write."""


@dataclass(frozen=True)
class ExperimentResult:
    """What the command line needs to know."""

    exit_code: int
    path: Path
    summary: dict[str, Any]
    tasks: list[dict[str, Any]] = field(default_factory=list)


def new_run_id() -> str:
    """Eight characters, the first a letter: owner mark and prefix of everything created."""
    letters = string.ascii_lowercase
    return secrets.choice(letters) + "".join(secrets.choice(letters + string.digits) for _ in range(7))


def run_experiment(
    profile: Profile, plan: Plan, options: RunOptions, calibrate: Calibrate | None = None
) -> ExperimentResult:
    """Provision, carry out every planned run, record, tear down, print the table.

    calibrate: says what is known of the links, before the first run (None: nothing is). Exit code 0 unless a run FAILED
    (1). Raises HarnessError when the testbed cannot be built; an interruption ends it with what was measured so far on
    the disk.
    """
    console = Console(file=sys.stderr if options.json else sys.stdout, highlight=False)
    if options.check:
        with _hosts(profile, options, console) as spread:
            return Experiment(profile, plan, options, console, spread=spread).check()
    with interruptible(), ExitStack() as stack:
        processes = process_template()  # it loads while hosts are connected to and the testbed is built
        stack.callback(processes.close)
        spread = stack.enter_context(_hosts(profile, options, console))
        calibrated_by = calibrate if spread is None else _not_here
        result = Experiment(profile, plan, options, console, processes, calibrated_by, spread).carry_out()
    if not options.json:
        show(result.path, console=console)
    return result


def _not_here(_testbed: Testbed, _profile: Profile, _tell: Callable[[str], None]) -> LinkCalibration:
    return not_calibrated(WHY_NOT_CALIBRATED)


def _hosts(profile: Profile, options: RunOptions, console: Console) -> AbstractContextManager[Spread | None]:
    """The other hosts of a profile's nodes, connected within the block; None where there are none."""
    nodes = profile.placement.hosts
    if not nodes:
        return nullcontext()
    require_one_piece(options)
    from harness.remote.spread import connected  # with the SSH library, which most experiments do without

    return connected(nodes, options.inventory, lambda text: console.print(text, markup=False, soft_wrap=True))


def run_quietly(
    profile: Profile,
    plan: Plan,
    options: RunOptions,
    template: Template | None = None,
    calibrate: Calibrate | None = None,
    spread: Spread | None = None,
) -> ExperimentResult:
    """As `run_experiment`, for a caller with runs of its own to show: everything for people goes to `experiment.log` in
    the directory, and signals are the caller's (see `interruptible`). template: from `process_template`; spread: the
    hosts of the profile's nodes, where they are not all here.
    """
    return Experiment(profile, plan, options, None, template, calibrate, spread).carry_out()


def process_template() -> Template:
    """What the processes of many runs are forked from, so that their code is loaded once. A context manager."""
    images = tuple(str(folder) for folder in known_images().values())
    return Template((INSTANCE_MODULE, GENERATOR_MODULE, *LOAD_MODULES, VERIFY_MODULE), images)


class Experiment:
    """A directory, a testbed and the runs of a plan. `console` None: a file in the experiment's directory."""

    def __init__(
        self,
        profile: Profile,
        plan: Plan,
        options: RunOptions,
        console: Console | None,
        template: Template | None = None,
        calibrate: Calibrate | None = None,
        spread: Spread | None = None,
    ) -> None:
        if profile.placement.hosts and spread is None:
            raise UsageError(
                "placement: nodes on several hosts are for `harness run` and `harness sweep`; leave it out (--set "
                "placement.NODE=localhost)"
            )
        self._calibrate, self._links = calibrate, not_calibrated("")
        self._profile, self._plan, self._options = profile, plan, options
        self._console = console or Console(quiet=True)
        self._to_file = console is None
        self._id = new_run_id()
        render = ansible_renderer(self._print, options.diff)
        self._template = template
        topology, sites = placed_topology(profile, self._id, spread), () if spread is None else spread.sites
        self._testbed = Testbed(topology, render, LocalConnection(template), sites=sites)
        self._wanted_control = topology.congestion_control
        places = {node: (topology.placement.host_of(node), topology.netns(node)) for node in NODES}
        self._tasks = UserTasks(profile.task, places, options, render, spread.agents if spread is not None else None)
        self._started_utc = datetime.now(UTC).isoformat()
        self._runs: list[ExperimentRun] = []
        self._standing = False

    def check(self) -> ExperimentResult:
        """Only observe what tasks and provisioning would change."""
        self._require_programs()
        with closing(self._tasks):
            self._tasks.on_hosts(check=True)
            recap = self._testbed.provision(check=True)
            self._tasks.on_nodes(check=True)
            self._tasks.after(check=True)
        return ExperimentResult(0, self._options.results, {"recap": recap}, self._tasks.document())

    def _require_programs(self) -> None:
        """MachineError before anything is done, unless tasks are to bring what is missing."""
        if not self._tasks:
            require_programs(self._profile)

    def carry_out(self) -> ExperimentResult:
        """From the experiment's directory to its summary."""
        self._require_programs()
        directory = self._prepare()
        if not self._to_file:
            return self._carry_out(directory)
        with directory.file(LOG).open("a", encoding="utf-8", errors="backslashreplace") as file:
            self._console = Console(file=file, highlight=False, width=LOG_WIDTH)
            return self._carry_out(directory)

    def _carry_out(self, directory: RunDirectory) -> ExperimentResult:
        reason = "interrupted"
        try:
            try:
                self._testbed.claim()
                self._tasks.on_hosts()
                require_programs(self._profile)
                self._provision()
                if self._template is not None:
                    self._template.wait_ready()
                directory.write_json("testbed.json", self._testbed_document())
                self._learn_links(directory)
                for run in self._plan.runs:
                    self._one(directory, run)
                self._tasks.after()
                reason = ""
            finally:
                self._leave(directory)
        except HarnessError as error:
            reason = str(error)
            raise
        finally:
            summary = self._finish(directory, reason)
        failed = any(run.verdict == "FAILED" for run in self._runs)
        document = summary.model_dump(mode="json")
        return ExperimentResult(1 if failed else 0, directory.path, document, self._tasks.document())

    def _provision(self) -> None:
        """Build the testbed, or bring it back to what it shall be, with the tasks of its nodes."""
        if not self._testbed.is_standing:
            self._tasks.leave_nodes()
        self._testbed.provision()
        self._tasks.on_nodes()
        self._standing = True

    def _leave(self, directory: RunDirectory) -> None:
        """Undo the tasks of the nodes, the testbed, and the tasks of the hosts, each whatever becomes of the others."""
        with ExitStack() as stack:
            if self._tasks:
                stack.callback(lambda: directory.write_json(TASKS, {"tasks": self._tasks.document()}))
            stack.callback(self._tasks.close)
            if self._options.keep:
                stack.callback(self._print, f"testbed {self._id} left standing; harness clean removes it")
                stack.callback(self._testbed.keep)
            else:
                stack.callback(self._testbed.teardown)
            stack.callback(self._tasks.leave_nodes)

    def _prepare(self) -> RunDirectory:
        """Everything that is known before the run, on the disk before anything is created."""
        profile, options = self._profile, self._options
        directory = RunDirectory.create(options.results, profile.name, self._id)
        directory.write_text(PROFILE, options.profile_text)
        directory.write_json(EFFECTIVE, {"profile": profile.document(), "plan": self._plan.document()})
        manifest = collect_manifest(
            experiment_id=self._id,
            profile=profile.name,
            seed=profile.load.seed,
            command_line=options.command_line,
            facts=asdict(self._testbed.facts),
        )
        directory.write_json(MANIFEST, manifest)
        return directory

    def _testbed_document(self) -> dict[str, Any]:
        """What was built: the links as they are at the start of each run, and what was counted so far."""
        testbed = self._testbed
        links = {f"{node} {way}": asdict(each) for (node, way), each in testbed.topology.conditions.items()}
        backend = {"latency_backend": testbed.backend, "latency_backend_reason": testbed.backend_reason}
        if testbed.congestion_control != self._wanted_control:
            why = "needs root on this machine" if testbed.facts.rootless else "cannot be allowed on every host"
            self._print(f"state streams use TCP {testbed.congestion_control}: {self._wanted_control} {why}")
        rights = {"congestion_control": testbed.congestion_control, "rootless": testbed.facts.rootless}
        return {**backend, **rights, **self._placement_document(), "conditions": links, **self._counters()}

    def _placement_document(self) -> dict[str, Any]:
        """Where the nodes are, if they are not all here."""
        topology, placement = self._testbed.topology, self._testbed.topology.placement
        if not placement.is_spread:
            return {}
        hosts: dict[str, dict[str, Any]] = {host: {"nodes": topology.nodes_on(host)} for host in placement.others}
        for host, addresses in placement.underlay.items():
            hosts.setdefault(host, {"nodes": topology.nodes_on(host)}).update(asdict(addresses))
        return {"placement": hosts, "mtu_bytes": topology.mtu_bytes}

    def _learn_links(self, directory: RunDirectory) -> None:
        """What is known of the links, on the disk before the first run."""
        self._links = calibrated(self._calibrate, self._testbed, self._profile, self._print)
        # A process that did not become ready has taken the testbed down.
        self._standing = self._testbed.is_standing
        directory.write_json(CALIBRATION, self._links)

    def _counters(self) -> dict[str, Any]:
        counters = self._testbed.counters()
        return {"links": [asdict(link) for link in counters.links], "qdiscs": [asdict(q) for q in counters.qdiscs]}

    def _one(self, directory: RunDirectory, run: PlannedRun) -> None:
        folder = directory.run(run.number + 1, run.mode)
        title = f"{run.number + 1}/{max(run.number + 1, len(self._plan.runs))} {run.mode}"
        started_ns = time.time_ns()
        if self._options.recorded is not None:
            self._options.recorded(folder.path, growing=True)
        try:
            if not self._standing:
                self._provision()
            with self._disk(folder), LiveView(title, self._console) as view:
                kind = CommandRun if self._profile.load.workload == "command" else Run
                known = (self._profile, self._testbed, run, folder, view.update, self._template, self._run_id(run))
                record = kind(*known).carry_out()
            # The next run starts from what the profile says, whatever this one has changed and put back.
            self._standing = not self._plan.impairments
            with closing(record):
                summary = self._summarise(folder, record)
        except TaskFailed:
            raise  # it says nothing of the migration
        except (SiteLost, KeyboardInterrupt) as ended_early:
            # It says nothing of the migration, and nothing comes after it.
            reason = str(ended_early) or "interrupted"
            broken_off = unusable(started_ns, self._plan, self._profile, run, self._run_id(run), reason, "INVALID")
            self._keep(folder, run, with_links(broken_off, self._links), started_ns)
            raise
        except OSError as error:
            # A file that cannot be written or read says nothing of the migration. Nothing of the run is left running.
            reason = f"{error.filename or folder.path}: {error.strerror or error}"
            summary = unusable(started_ns, self._plan, self._profile, run, self._run_id(run), reason, "INVALID")
        except HarnessError as error:
            # Kept and shown like every other run; the next one starts from a fresh boot. A process that did not become
            # ready has taken the testbed down, and any other failure may have left it otherwise than it shall be.
            self._standing = False
            # The first alone says nothing of the migration, and is made again by a sweep.
            verdict: Literal["INVALID", "FAILED"] = "INVALID" if isinstance(error, NotReady) else "FAILED"
            ended = unusable(started_ns, self._plan, self._profile, run, self._run_id(run), str(error), verdict)
            summary = with_links(ended, self._links)
        self._keep(folder, run, summary, started_ns)
        reasons = "".join(f"\n  {reason}" for reason in summary.validity.reasons)
        self._print(f"run {title}: {summary.validity.verdict}{reasons}")

    def _disk(self, folder: Folder) -> AbstractContextManager[None]:
        """Where the schedule fills the disk: one of its own for the run's folder."""
        if not needs_small_disk(self._profile.faults):
            return nullcontext()
        expected_bytes = self._plan.disk_bytes // len(self._plan.runs)
        return self._testbed.small_disk(folder.path, 2 * expected_bytes + SMALL_DISK_BYTES)

    def _print(self, line: str) -> None:
        self._console.print(line, markup=False, soft_wrap=True)

    def _keep(self, folder: Folder, run: PlannedRun, summary: RunSummary, started_wall_ns: int) -> None:
        """Write the run's summary and list it in the experiment's."""
        folder.write_json(SUMMARY, summary)
        if not has_summary_point(folder.file(POINTS)):
            folder.append_points([summary_point(summary, started_wall_ns)])
        self._runs.append(
            ExperimentRun(
                folder=folder.path.name,
                mode=run.mode,
                repetition=run.repetition + 1,
                verdict=summary.validity.verdict,
            )
        )
        if self._options.recorded is not None:
            self._options.recorded(folder.path)

    def _run_id(self, run: PlannedRun) -> str:
        return f"{self._id}-{run.number + 1:02d}"

    def _summarise(self, folder: Folder, record: RunRecord) -> RunSummary:
        known = (self._profile, self._plan, record, folder, self._run_id(record.run), self._testbed.backend)
        series = None
        if record.command is not None:
            summary = summarise_command(*known)
        elif record.is_blind:
            summary = summarise_blind(*known)
        else:
            summary, packets = summarise(*known)
            series = series_of(self._profile, record, packets)
            folder.write_arrays(SERIES, {name: value for name, value in vars(series).items() if name != "interval_ns"})
        summary = with_links(summary, self._links)
        folder.append_points(run_points(summary, record, series, read_events(folder.path / EVENTS)))
        if record.outcome is not None:
            folder.write_json("migration.json", record.outcome)
        for path in folder.path.iterdir():
            if path.name.endswith(STATUS_SUFFIX):
                path.unlink()
        return summary

    def _finish(self, directory: RunDirectory, reason: str) -> ExperimentSummary:
        summary = ExperimentSummary(
            experiment_id=self._id,
            profile=self._profile.name,
            started_utc=self._started_utc,
            ended_utc=datetime.now(UTC).isoformat(),
            completed=not reason,
            reason=reason,
            runs=tuple(self._runs),
        )
        directory.write_json(SUMMARY, summary)
        return summary
