"""What a run may leave behind in this process and on the machine, and how long it may take."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from harness.experiment.attempts import READY_AGAIN_S
from harness.experiment.migration import migration_deadlines
from harness.experiment.run import DONE_TIMEOUT_S, LEAD_NS
from harness.profile.derived import load_duration_ns
from harness.profile.model import Profile
from harness.testbed import topology as names
from harness.testbed.steering import FabricControl

THREADS = ("relay", "timeline", "sampler")
FILES_MORE = 8
"""Open files may differ by this many from run to run: connections that are kept are made when they are first used."""
AROUND_S = 60.0
"""For everything but load, migration and faults: starting, reading, comparing, ending, on a busy machine."""


def deadline_ns(profile: Profile) -> int:
    """Longest time a run of this profile may take, from its deadlines: nothing waits longer than these."""
    deadlines = migration_deadlines(profile)
    attempt_ns = deadlines.session_ns + 2 * deadlines.connect_ns + int(2e9)
    faults_ns = sum(fault.for_ns + fault.delay_ns for fault in profile.faults)
    between_ns = int(2 * READY_AGAIN_S * 1e9) * (profile.attempts - 1)
    load_ns = LEAD_NS + load_duration_ns(profile) + profile.timing.wait_for_replies_ns
    around_ns = load_ns + int((AROUND_S + DONE_TIMEOUT_S) * 1e9)
    return profile.attempts * attempt_ns + faults_ns + between_ns + around_ns


@dataclass(frozen=True)
class Traces:
    """What there is at one moment: processes below this one, its threads that belong to a run, its open files, and
    what the fabric forwards to management addresses."""

    processes: frozenset[int]
    threads: frozenset[str]
    files: int
    forwarded: frozenset[tuple[str, str]]


def look(fabric: FabricControl) -> Traces:
    """Now."""
    threads = frozenset(t.name for t in threading.enumerate() if t.name.startswith(THREADS))
    forwarded = frozenset(entry for entry in fabric.forwarding() if entry[0] in names.MANAGEMENT_MACS.values())
    return Traces(frozenset(_descendants()), threads, len(list(Path("/proc/self/fd").iterdir())), forwarded)


def left_behind(before: Traces, after: Traces) -> tuple[str, ...]:
    """One line for each thing that is there and was not, or was there and is not."""
    found = [f"process {pid}" for pid in sorted(after.processes - before.processes)]
    found += [f"thread {name}" for name in sorted(after.threads - before.threads)]
    if after.files > before.files + FILES_MORE:
        found.append(f"{after.files - before.files} more open files")
    found += [f"nothing is forwarded to {mac}" for mac, _ in sorted(before.forwarded - after.forwarded)]
    return tuple(found)


def _descendants() -> Iterator[int]:
    """Processes whose parents lead here."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                text = (entry / "stat").read_text()
            except OSError:
                continue
            fields = text[text.rindex(")") + 2 :].split()
            if fields[0] not in "ZX":
                parents[int(entry.name)] = int(fields[1])
    for pid in parents:
        ancestor = pid
        while ancestor in parents and ancestor != os.getpid():
            ancestor = parents[ancestor]
        if ancestor == os.getpid() and pid != ancestor:
            yield pid
