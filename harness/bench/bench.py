"""One call of `harness bench`: measures everything on one testbed of its own and tears it down, whatever happens."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console

import harness
from harness.bench.bounds import check_bounds
from harness.bench.compute import FLOWS, compute_costs
from harness.bench.engine_node import EngineNode
from harness.bench.figures import BenchReport, Figure, figure, paired_ratios
from harness.bench.forwarding import announcing_costs, forwarding_rates
from harness.bench.frames import flow_frames
from harness.bench.freeze import freeze_pauses, full_nat
from harness.bench.generator import generator_rates
from harness.bench.image import load_nat
from harness.bench.instances import INSTANCES, many_instances
from harness.bench.machine import describe_machine
from harness.bench.memory import memory_of_a_run
from harness.bench.points import formatting_rates
from harness.bench.round_trip import RoundTrips
from harness.bench.scope import FULL, QUICK, Scope
from harness.bench.setting import activate_source, bench_profile, bench_topology, source_spec
from harness.bench.startup import new_secrets, start_times
from harness.bench.state_stream import stream_rates
from harness.bench.table import bench_table
from harness.dataplane.jit import source_digest
from harness.errors import UsageError
from harness.experiment.experiment import new_run_id
from harness.experiment.processes import LOAD_MODULES
from harness.measure.host import read_host
from harness.provision.connections.local import LocalConnection
from harness.provision.connections.template import Template
from harness.provision.interrupt import interruptible
from harness.provision.scratch import scratch_directory
from harness.record.manifest import collect_manifest
from harness.record.rundir import write_json
from harness.testbed.testbed import Testbed

NOTES = (
    "Generator, VNF and echoserver share the CPUs of this machine; frame sizes include the 42 "
    "header bytes. Compare ratios within one report, and reports only of the same machine.",
    "Without loss: every packet of a trial arrived, the last within 5 % of the trial's duration after it was due. A "
    "rate holds when one of the attempts does, and is confirmed by further trials; packets are not traced.",
    "forwarding_*_ns and announcing_forwarding_*: CPU time of the engine per packet worked off from pkt_q (g, h, f, "
    "transmission; not reception), tables frozen and st_q_out consumed while announcing; the ratio is the rate with "
    "announcing over the rate without, of pairs measured in turn. compute_*: g, h, f alone, without system calls.",
)


def run_bench(
    output: Path | None = None,
    json: bool = False,
    quick: bool = False,
    prepare: Callable[[], object] = lambda: None,
) -> dict[str, Any]:
    """Measure, write `output`, print the table (with `json` to nobody: the caller prints the data), return the data.

    `prepare` is called before anything is measured, to fill the cache of compiled code: start-up times and memory are
    those with a warm one. Progress goes to standard error.

    Raises HarnessError where something cannot be measured, and UsageError, before anything is created, where `output`
    cannot be written.
    """
    if output is not None and not output.parent.is_dir():
        raise UsageError(f"--output {output}: the folder {output.parent} is not there; create it first")
    progress = Console(stderr=True, highlight=False)

    def tell(text: str) -> None:
        progress.print(text, markup=False, soft_wrap=True)

    tell("bench: compiled code")
    prepare()
    with interruptible(), scratch_directory("bench") as scratch, Template(LOAD_MODULES) as load:
        report = _Bench(QUICK if quick else FULL, scratch, tell, load).measure()
    data = report.model_dump(mode="json", by_alias=True)
    if output is not None:
        write_json(output, data)
        tell(f"saved to {output}")
    if not json:
        Console(file=sys.stdout, highlight=False, width=None if sys.stdout.isatty() else 140).print(bench_table(report))
    return data


class _Bench:
    """The measurements in their order; `figures` grows as they are made."""

    def __init__(self, scope: Scope, scratch: Path, tell: Callable[[str], None], load: Template) -> None:
        """load: what both ends of the load are forked from, anew for every trial; instances start as ever."""
        self._scope, self._scratch, self._tell, self._load = scope, scratch, tell, load
        self._run_id = new_run_id()
        self._testbed = Testbed(bench_topology(self._run_id), connection=LocalConnection(load))
        self._profile = bench_profile(dataplane={"verify": False})
        self._figures: dict[str, Figure] = {}
        self._notes = list(NOTES)
        self._scheduler = "unknown"
        self._engines = 0

    def measure(self) -> BenchReport:
        started_utc = datetime.now(UTC).isoformat(timespec="seconds")
        manifest = collect_manifest(
            experiment_id=self._run_id,
            profile="bench",
            seed=self._profile.load.seed,
            command_line=sys.argv,
            facts=asdict(self._testbed.facts),
        )
        first, digest = read_host({}), source_digest()
        # A run owns the machine while it lasts: before the bench does.
        self._memory()
        try:
            self._on_testbed()
            began = time.monotonic()
        finally:
            self._testbed.teardown()
        self._figures["testbed_teardown_s"] = figure([time.monotonic() - began], "s", "lower")
        self._load.close()  # it would share the memory of the instances
        self._instances()
        self._compute()
        self._state_stream()
        self._points()
        last = read_host({})
        if source_digest() != digest:
            self._notes.append("The sources changed while this ran: processes compiled anew. Measure again.")
        return BenchReport(
            harness_version=harness.__version__,
            git=manifest["git"],
            started_utc=started_utc,
            duration_s=(last.monotonic_ns - first.monotonic_ns) / 1e9,
            quick=self._scope.quick,
            machine=describe_machine(manifest, self._scheduler, first, last),
            figures=self._figures,
            bounds=check_bounds(self._figures),
            notes=self._notes,
        )

    def _on_testbed(self) -> None:
        self._step("testbed")
        began = time.monotonic()
        self._testbed.provision()
        self._figures["testbed_provision_s"] = figure([time.monotonic() - began], "s", "lower")
        self._start_up()
        self._round_trips()
        self._generator()
        self._forwarding()
        self._freeze()

    def _step(self, title: str) -> None:
        self._tell(f"bench: {title}")

    def _memory(self) -> None:
        self._step("memory of a normal run")
        watch, verdict = memory_of_a_run(self._scope, self._scratch, self._tell)
        note = f"harness run, mode statelet: {verdict}"
        for node in sorted(watch.peak_bytes):
            peak = [watch.peak_bytes[node]]
            self._figures[f"memory_resident_{node}_bytes"] = figure(watch.resident_bytes[node], "bytes", "lower", note)
            self._figures[f"memory_peak_{node}_bytes"] = figure(peak, "bytes", "lower", note)

    def _start_up(self) -> None:
        self._step("start-up")
        times = start_times(self._testbed, self._profile, self._scope.starts, self._scratch)
        self._figures["start_to_ready_s"] = figure(times.ready_s, "s", "lower")
        self._figures["start_to_first_forwarded_s"] = figure(times.first_forwarded_s, "s", "lower")

    def _instances(self) -> None:
        self._step(f"{INSTANCES} instances")
        many = many_instances(self._testbed, self._profile, new_run_id(), self._scratch)
        note = f"{INSTANCES} NATs, a namespace each"
        self._figures["instances_ready_s"] = figure([many.ready_s], "s", "lower", note)
        self._figures["instances_answered_s"] = figure([many.answered_s], "s", "lower", note)
        self._figures["instances_memory_bytes"] = figure([many.proportional_bytes], "bytes", "lower", note)
        self._figures["instances_memory_peak_bytes"] = figure([many.peak_bytes], "bytes", "lower", "the largest")

    def _round_trips(self) -> None:
        self._step("round trips without loss")
        own = new_secrets()
        (started,) = self._testbed.start([source_spec(self._profile, self._testbed, self._scratch, own)])
        try:
            self._scheduler = str(started.ready["scheduler"])
            activate_source(self._testbed, started, own)
            trips = RoundTrips(self._testbed, self._profile, self._scratch, self._tell)
            for size in self._scope.frame_sizes:
                self._figures[f"round_trips_{size}B_per_s"] = figure(trips.rates(size, self._scope), "1/s", "higher")
        finally:
            started.process.stop()

    def _generator(self) -> None:
        self._step("generator maximum")
        for size in self._scope.frame_sizes:
            rates = generator_rates(self._testbed, self._profile, size, self._scope, self._scratch, self._tell)
            self._figures[f"generator_{size}B_per_s"] = figure(rates, "1/s", "higher")

    def _node(self, image: Any = None) -> EngineNode:
        self._engines += 1
        return EngineNode(self._testbed, image or load_nat(), self._scratch, self._engines)

    def _forwarding(self) -> None:
        for size in self._scope.frame_sizes:
            self._step(f"NAT forwarding, {size} bytes")
            frames = flow_frames(FLOWS, size)
            with self._node() as node:
                rates = forwarding_rates(node, frames, self._scope)
                costs = announcing_costs(node, frames, self._scope)
            self._figures[f"forwarding_{size}B_per_s"] = figure(rates, "1/s", "higher")
            self._figures[f"forwarding_off_{size}B_ns"] = figure(costs.off_ns, "ns", "lower")
            self._figures[f"forwarding_on_{size}B_ns"] = figure(costs.on_ns, "ns", "lower")
            self._figures[f"announcing_forwarding_{size}B_ratio"] = figure(costs.rate_ratios(), "ratio", "higher")

    def _freeze(self) -> None:
        entries = self._scope.frozen_entries
        self._step(f"freezing {entries:,} entries")
        self._engines += 1
        pauses = freeze_pauses(self._testbed, full_nat(entries), self._scope, self._scratch, self._engines)
        note = f"{entries} mappings, packets flowing"
        self._figures["freeze_pause_ns"] = figure(pauses, "ns", "lower", note)
        self._figures["freeze_pause_maximum_ns"] = figure([max(pauses)], "ns", "lower", note)

    def _state_stream(self) -> None:
        self._step("state stream over loopback")
        plain, encrypted = stream_rates(self._scope)
        note = "snapshot filler over loopback, both ends in one process, checks included"
        self._figures["state_stream_plain_bytes_per_s"] = figure(plain, "bytes/s", "higher", note)
        self._figures["state_stream_tls_bytes_per_s"] = figure(encrypted, "bytes/s", "higher", note)
        self._figures["state_stream_tls_ratio"] = figure(paired_ratios(encrypted, plain), "ratio", "higher", note)

    def _points(self) -> None:
        self._step("points in line protocol")
        note = "measurement traffic, 30 fields a point, CPU time"
        self._figures["points_formatted_per_s"] = figure(formatting_rates(self._scope), "1/s", "higher", note)

    def _compute(self) -> None:
        for size in self._scope.frame_sizes:
            self._step(f"computing alone, {size} bytes")
            off, on = compute_costs(self._scope, size)
            self._figures[f"compute_off_{size}B_ns"] = figure(off, "ns", "lower")
            self._figures[f"compute_on_{size}B_ns"] = figure(on, "ns", "lower")
            self._figures[f"announcing_compute_{size}B_ratio"] = figure(paired_ratios(off, on), "ratio", "higher")
