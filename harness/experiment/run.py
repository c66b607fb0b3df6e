"""One run: boot, load, migrate, drain, and the raw material of its results, each step journalled."""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Callable, Collection
from pathlib import Path

from harness.dataplane import engine_state as es
from harness.errors import HarnessError
from harness.experiment.attempts import Attempts
from harness.experiment.faults import RunFaults
from harness.experiment.impairments import Impairments, contention_specs
from harness.experiment.latency_generator import LatencyGenerator
from harness.experiment.live_points import LivePoints
from harness.experiment.migration import CONTROL, Controls, encrypts, make_run_parties, migration_settings
from harness.experiment.processes import (
    LATENCY,
    Secrets,
    instance_specs,
    load_specs,
    status_path,
    trace_path,
)
from harness.experiment.run_record import RunRecord, cut_trace
from harness.experiment.sample_points import PointTags
from harness.experiment.sampling import Sampler, Series, Watched
from harness.experiment.verification import Reference
from harness.experiment.watch import SETTLE_S, Watch
from harness.migration.controller import migrate
from harness.migration.outcome import MigrationOutcome
from harness.migration.phases import PhaseEvent
from harness.migration.tls import CONTROLLER, Tls
from harness.plan import PlannedRun
from harness.profile.derived import load_duration_ns, mean_frame_bytes
from harness.profile.link_conditions import planned_steps
from harness.profile.model import Profile
from harness.provision.connections.template import Template
from harness.record.events import EventLog
from harness.record.rundir import LOGS, Folder
from harness.report.live import LiveSample
from harness.testbed import topology as names
from harness.testbed.conditions import Direction, LinkConditions
from harness.testbed.testbed import Launched, ProcessSpec, StartedProcess, Testbed

LEAD_NS = 1_000_000_000
"""From the start command to the first packet: time for both processes to read it, also on a machine that is busy with
others (0.7 s have been seen); a process refuses a start that is past."""
DONE_TIMEOUT_S = 30.0
"""For the records of a process of the load, once it waits for no more replies."""


class Run:
    """Carries out one planned run on a provisioned testbed. HarnessError when a process fails; then nothing of the run
    goes on, and what it has recorded stays in its folder."""

    def __init__(
        self,
        profile: Profile,
        testbed: Testbed,
        run: PlannedRun,
        folder: Folder,
        show: Callable[[LiveSample], None],
        template: Template | None = None,
        run_id: str = "",
    ) -> None:
        self._profile, self._testbed, self._run, self._folder, self._show = profile, testbed, run, folder, show
        self._template = template
        encrypted = encrypts(profile, testbed.topology.placement)
        parties = make_run_parties(profile) if encrypted else {}
        self._secrets = Secrets(secrets.token_bytes(32), secrets.token_bytes(16), secrets.randbits(64), parties)
        self._tls = Tls(parties[CONTROLLER]) if encrypted else None
        self._migrates = run.mode != CONTROL
        self._instances = names.INSTANCES if self._migrates else (names.SOURCE,)
        now_ns = time.time_ns()
        self._record = RunRecord(run, now_ns, now_ns - time.monotonic_ns(), table_seed=self._secrets.table_seed)
        self._record.encryption = "tls" if encrypted else "none"
        self._processes: dict[str, StartedProcess] = {}
        self._pids: dict[str, int] = {}
        self._watch = Watch(testbed, self._record, folder)
        self._faults = RunFaults(profile.faults, testbed, self._processes, folder)
        self._controls: Controls | None = None
        self._sampler: Sampler | None = None
        self._impairments: Impairments | None = None
        of = PointTags(run_id or "unnamed", profile.name, run.mode, self._record.wall_minus_monotonic_ns)
        self._live = LivePoints(folder, of, lambda: Series() if self._sampler is None else self._sampler.series)

    def carry_out(self) -> RunRecord:
        """From boot to the last counter."""
        with self._folder.events(self._live.hear) as events:
            self._live.start()
            try:
                self._note(events, "boot")
                self._boot()
                self._load(events)
                self._note(events, "collect")
                self._collect()
            except BaseException as error:
                events.record("failed", f"{type(error).__name__}: {error}")
                self._record.close()
                if isinstance(error, HarnessError):
                    self._testbed.sites.ask()  # that one of them is lost says more
                raise
            finally:
                self._record.faults = self._faults.close(wait=False)
                self._end_impairments()
                if self._sampler is not None:
                    self._record.series = self._sampler.stop()
                self._live.stop()
                self._record.written = self._live.written
                if self._controls is not None:
                    self._controls.close()
                self._stop_processes()
                self._watch.bring_home()
            self._testbed.sites.require()
            self._judge_traces()
            self._note(events, "done")
        if events.unwritten_bytes:
            self._record.doubts.append(f"events.jsonl: {events.unwritten_bytes} bytes could not be written")
        return self._record

    # -- boot -----------------------------------------------------------------------------------------------------

    def _boot(self) -> None:
        log = self._folder.path / LOGS
        log.mkdir(exist_ok=True)
        folder = self._folder.path.resolve()
        self._testbed.fabric.steer(names.SOURCE)
        self._testbed.sites.open_folder(folder)
        # All of them at once: the load processes load their code while the instances boot, then wait for ARP answers.
        instances = self._testbed.launch(self._instance_specs(folder, log))
        load = self._testbed.launch(self._load_specs(folder, log) + contention_specs(self._profile, log))
        self._ready(instances)
        ports = {node: int(self._processes[node].ready["control_port"]) for node in self._instances}
        self._controls = Controls.open(self._testbed, ports, self._secrets.key, self._tls)
        self._testbed.sites.when_lost(self._controls.break_off)
        self._controls.activate(names.SOURCE)
        self._ready(load)
        self._record.pages = {node: self._watch.map(node, status_path(folder, node)) for node in self._instances}
        self._record.traces = {node: trace_path(self._folder.path, node) for node in self._instances}
        self._watch.map_elements(self._processes)

    def _instance_specs(self, folder: Path, log: Path, boot: int = 1) -> list[ProcessSpec]:
        known = (self._profile, self._testbed, folder, log, self._secrets, self._instances)
        return instance_specs(*known, boot, self._run.load_seed)

    def _load_specs(self, folder: Path, log: Path) -> list[ProcessSpec]:
        """The processes at both ends of the VNF."""
        load, capture = self._profile.load, None
        if load.workload == "capture":
            capture = self._testbed.sites.put(names.LOADGEN, Path(load.capture.path).absolute())
        return load_specs(self._profile, self._testbed, self._run, folder, log, capture)

    def _ready(self, launched: list[Launched]) -> None:
        for started in self._testbed.wait_ready(launched):
            self._processes[started.title] = started

    # -- load and migration -----------------------------------------------------------------------------------------

    def _load(self, events: EventLog) -> None:
        timing = self._profile.timing
        pids = self._note_pids()
        start_ns = time.monotonic_ns() + LEAD_NS
        window_ns = start_ns + timing.warm_up_ns
        self._record.window_start_ns = window_ns
        for title in (names.ECHOSERVER, names.LOADGEN):
            self._processes[title].process.send({"cmd": "start", "start_ns": start_ns})
        # Within the lead: ARP is over, and no packet of the load is under way yet.
        time.sleep(SETTLE_S)
        self._record.before = self._watch.reading(self._processes)
        self._watch.read_hosts(self._processes)
        self._sampler = Sampler(self._watched(pids), timing.interval_ns, self._show)
        if (late_ns := time.monotonic_ns() - start_ns) > 0:
            self._record.doubts.append(f"counters were first read {late_ns / 1e6:.0f} ms after the load began")
        self._sampler.start(start_ns)
        self._note(events, "warm_up", start_ns)
        self._faults.start(window_ns, events)
        self._start_impairments(events, start_ns + load_duration_ns(self._profile))
        self._wait_until(window_ns)
        self._note(events, "window", window_ns)
        if self._migrates:
            self._wait_until(window_ns + timing.migrate_at_ns)
            self._migrate(events)
        self._wait_until(start_ns + load_duration_ns(self._profile))
        self._note(events, "load_end")
        self._record.faults = self._faults.close()
        self._end_impairments()
        self._await_done(names.LOADGEN)
        time.sleep(SETTLE_S)
        self._watch.read_hosts(self._processes)
        if self._profile.dataplane.verify:
            self._record.reference = Reference(self._template)  # nothing is measured any more
        if names.ECHOSERVER not in self._faults.killed:
            self._processes[names.ECHOSERVER].process.send({"cmd": "stop"})
        self._await_done(names.ECHOSERVER)
        if self._profile.fault:  # TCP may still have something to say to who was killed or cut off
            self._record.after, self._record.is_quiet = self._watch.quiet_reading(self._processes)
        else:
            self._record.after = self._watch.reading(self._processes)

    def _note_pids(self) -> dict[str, int]:
        """Ids of this host's processes by title, to be watched; they change with a reboot."""
        self._pids = self._watch.pids(None, self._processes)
        return self._pids

    def _await_done(self, title: str) -> None:
        """Wait until a process of the load has written its records, unless a fault keeps it from that."""
        if title in self._faults.killed:
            return
        waits_s = self._profile.timing.wait_for_replies_ns / 1e9
        self._processes[title].process.wait_event("done", waits_s + DONE_TIMEOUT_S)

    def _start_impairments(self, events: EventLog, load_end_ns: int | None) -> None:
        steps = planned_steps(self._profile)
        if steps:
            changes = self._testbed.link_changes(self._set_generated)
            self._impairments = Impairments(steps, changes, self._processes, events)
            self._impairments.start(self._record.window_start_ns, load_end_ns)

    def _set_generated(self, node: str, direction: Direction, conditions: LinkConditions) -> None:
        """Tell the latency generator, which may be another process than at the start."""
        LatencyGenerator(self._processes[LATENCY]).set_conditions(node, direction, conditions)

    def _end_impairments(self) -> None:
        if self._impairments is not None:
            self._record.impairments = self._impairments.end()

    def _watched(self, pids: dict[str, int]) -> Watched:
        return Watched(
            instances=self._record.pages,
            loadgen=self._watch.map_load(),
            loadgen_words=self._processes[names.LOADGEN].ready["status"],
            pids=pids,
            counters=self._testbed.counters,
            frame_bits_both_ways=2 * 8 * mean_frame_bytes(self._profile),
            refresh=self._testbed.sites.refresh,
        )

    def _migrate(self, events: EventLog) -> None:
        assert self._controls is not None

        def journal(event: PhaseEvent) -> None:
            self._faults.phase(event)
            if event.node == "controller" and self._sampler is not None:
                self._sampler.phase = str(event.phase)
            text = f"{event.node}: {event.previous} -> {event.phase}" + (f" ({event.detail})" if event.detail else "")
            events.record(f"{event.node}.{event.phase}", text, monotonic_ns=event.monotonic_ns)

        def migrate_once(number: int) -> MigrationOutcome:
            assert self._controls is not None
            self._faults.attempt(number)
            source, destination = (self._controls.channels[node] for node in names.INSTANCES)
            between = self._faults.between
            settings = migration_settings(self._profile, self._run, self._secrets.drain_token, number, between)
            return migrate(source, destination, self._testbed.fabric, settings, journal)

        def note(text: str) -> None:
            events.record("attempt", text)

        attempts = Attempts(self._profile.attempts, self._controls, self, self._faults.wait_until_over, note)
        self._record.outcome = attempts.carry_out(migrate_once)

    def has_ended(self, title: str) -> bool:
        """Whether a process of this run has been killed by a fault. HarnessError where another has ended."""
        if title not in self._processes or self._processes[title].process.returncode is None:
            return False
        self._look_after_processes((title,))
        return True

    def reboot(self, title: str) -> int | None:
        """Start a process that was killed anew, with files of its own; returns its control port."""
        folder = self._folder.path.resolve()
        boot = self._watch.boots(title) + 1
        specs = self._instance_specs(folder, folder / LOGS, boot)
        self._ready(self._testbed.launch([spec for spec in specs if spec.title == title]))
        started = self._processes[title]
        if self._testbed.sites.of(started.node) is None:
            self._pids[title] = started.process.pid
        self._faults.rebooted(title)
        self._watch.rebooted(title, status_path(folder, title, boot))
        if title == LATENCY:
            return None
        self._record.traces[title] = trace_path(self._folder.path, title, boot)
        return int(started.ready["control_port"])

    def _wait_until(self, moment_ns: int) -> None:
        """Sleep until CLOCK_MONOTONIC reaches `moment_ns`, watching that no process of the run ends meanwhile."""
        while (left_ns := moment_ns - time.monotonic_ns()) > 0:
            self._look_after_processes()
            time.sleep(min(left_ns / 1e9, 0.2))

    def _look_after_processes(self, titles: Collection[str] | None = None) -> None:
        self._testbed.sites.require()
        for title in self._processes if titles is None else titles:
            status = self._processes[title].process.returncode
            if status is not None and title not in self._faults.killed:
                raise HarnessError(f"{title} ended during the run (exit status {status}); see {LOGS}/{title}.log")

    # -- end --------------------------------------------------------------------------------------------------------

    def _collect(self) -> None:
        assert self._controls is not None
        self._record.killed = dict(self._faults.killed)
        self._record.doubts += self._faults.doubts()
        owner = self._record.owner
        path = (self._folder.path / f"{owner}.state.npz").resolve()
        try:
            if self._profile.fault:
                if self.has_ended(LATENCY):
                    self.reboot(LATENCY)  # everything is over; it only stands between us and what there is to know
                self._controls.phase(owner)  # a connection that was cut may be of no use any more
            self._controls.dump(owner, str(self._testbed.sites.path(owner, path)))
            self._testbed.sites.refresh()
            self._record.state = path
            self._record.state_records = int(self._record.pages[owner][es.FROZEN_RECORDS_AT])
        except HarnessError as error:
            self._record.doubts.append(f"state of the {owner}: {error}")
        with contextlib.suppress(HarnessError):  # an instance that no longer answers is in the migration's outcome
            self._record.refused_connections = self._controls.refused_connections()
        for node, page in self._record.pages.items():
            if page[es.TRACE_LOST_AT]:
                self._record.doubts.append(f"{page[es.TRACE_LOST_AT]} packets missing from the trace of the {node}")
            if page[es.ODD_HEADERS_AT]:
                self._record.doubts.append(f"{page[es.ODD_HEADERS_AT]} packets with IPv4 options at the {node}")

    def _stop_processes(self) -> None:
        # All of them are told before any is waited for: they end side by side.
        asked = []
        for started in self._processes.values():
            if started.title in (*names.INSTANCES, LATENCY) and started.process.returncode is None:
                with contextlib.suppress(HarnessError):  # it is ended the hard way below
                    started.process.send({"command": "stop"})
                    asked.append(started)
        for started in asked:
            with contextlib.suppress(HarnessError):
                started.process.wait_event("done", 5.0)
        for started in self._processes.values():
            started.process.stop()

    def _judge_traces(self) -> None:
        """What is missing in them, now that everything is where it belongs."""
        after = self._record.after
        for node in self._record.pages:
            if after is not None and node in after.instances:
                self._record.doubts += cut_trace(self._record.traces[node], after.instances[node])

    def _note(self, events: EventLog, phase: str, moment_ns: int | None = None) -> None:
        if self._sampler is not None:
            self._sampler.phase = phase
        events.record(phase, phase, monotonic_ns=moment_ns)
