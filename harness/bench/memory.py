"""Memory of every process of a normal run: `harness run` with the default testbed and a statelet migration, watched."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import tomli_w

from harness.bench.scope import Scope
from harness.bench.setting import ONE_S_NS
from harness.errors import HarnessError
from harness.profile.load import parse_profile
from harness.profile.model import Profile
from harness.provision.kernel import NETNS_DIRECTORY
from harness.testbed import topology as names

CONTROLLER, LATENCY, TEMPLATE = "controller", "latency", "template"
_ROLES = {names.FABRIC: LATENCY}
_INTERVAL_NS = 100_000_000
_PERIOD_S = 0.02
_RESIDENT_EVERY_NS = ONE_S_NS
_END_TIMEOUT_S = 60.0


def parse_memory(status: str) -> tuple[int, int]:
    """(resident, peak resident) in bytes from /proc/<pid>/status: VmRSS and VmHWM (proc(5)). ValueError without."""
    found = {}
    for line in status.splitlines():
        name, _, rest = line.partition(":")
        if name in ("VmRSS", "VmHWM"):
            found[name] = int(rest.split()[0]) * 1024
    if len(found) != 2:
        raise ValueError("no resident set in the process's status")
    return found["VmRSS"], found["VmHWM"]


def normal_run_profile(scope: Scope) -> Profile:
    """Everything by default but the mode and, where the scope is quick, duration and load."""
    load = scope.run_load_ns
    window = load + _INTERVAL_NS - load % _INTERVAL_NS
    warm_up = min(2 * ONE_S_NS, load // 4)
    document = {
        "profile": {"name": "bench"},
        "load": {"rate": "20M" if scope.quick else "200M"},
        "timing": {
            "warm_up": f"{warm_up}ns",
            "window": f"{window}ns",
            "migrate_at": f"{load // 3}ns",
            "load_until": f"{load}ns",
        },
        "migration": {"modes": ["statelet"]},
    }
    return parse_profile(document, source="bench")


@dataclass
class MemoryWatch:
    """Resident sets seen, by role; a descendant of `pid` has the role of the node whose network namespace it is in. One
    that is in none is the template, with which the others share most of their pages.

    resident_bytes: once a second; peak_bytes: the kernel's own high-water mark, read often because it ends with the
    process.
    """

    pid: int
    resident_bytes: dict[str, list[int]] = field(default_factory=dict)
    peak_bytes: dict[str, int] = field(default_factory=dict)
    _noted_ns: dict[str, int] = field(default_factory=dict)

    def sample(self) -> None:
        """Look at the process and its children once; a process that ends meanwhile is left out."""
        try:
            self._note(CONTROLLER, self.pid)
            children = psutil.Process(self.pid).children(recursive=True)
            own_namespace = Path(f"/proc/{self.pid}/ns/net").stat().st_ino
        except (OSError, ValueError, psutil.Error):
            return
        roles = {own_namespace: TEMPLATE, **_roles_by_namespace()}
        for child in children:
            try:
                role = roles.get(Path(f"/proc/{child.pid}/ns/net").stat().st_ino)
                # Between fork and exec a child still is its parent.
                if role is not None and child.cmdline()[1:2] == ["-m"]:
                    self._note(role, child.pid)
            except (OSError, ValueError, psutil.Error):
                continue

    def _note(self, role: str, pid: int) -> None:
        resident, peak = parse_memory(Path(f"/proc/{pid}/status").read_text())
        now_ns = time.monotonic_ns()
        if now_ns - self._noted_ns.get(role, 0) >= _RESIDENT_EVERY_NS:
            self._noted_ns[role] = now_ns
            self.resident_bytes.setdefault(role, []).append(resident)
        self.peak_bytes[role] = max(peak, self.peak_bytes.get(role, 0))


def _roles_by_namespace() -> dict[int, str]:
    """Role of the process in each named namespace, by inode."""
    found = {}
    for path in NETNS_DIRECTORY.glob("*-*"):
        node = path.name.rpartition("-")[2]
        if node in names.NODES:
            found[path.stat().st_ino] = _ROLES.get(node, node)
    return found


def memory_of_a_run(scope: Scope, scratch: Path, tell: Callable[[str], None]) -> tuple[MemoryWatch, str]:
    """Carry the run out in a process of its own; returns what was seen and its verdict. HarnessError where it could
    not be carried out or a process was never seen."""
    profile = scratch / "normal.toml"
    profile.write_text(tomli_w.dumps(normal_run_profile(scope).document()), encoding="utf-8")
    argv = [sys.executable, "-m", "harness", "run", str(profile), "--results", str(scratch / "results"), "--json"]
    with (scratch / "run.json").open("w+b") as answer, (scratch / "run.log").open("w+b") as log:
        # In a session of its own an interrupt at the terminal reaches it once, from here, and it tears down in order.
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=answer, stderr=log, start_new_session=True)
        watch = MemoryWatch(process.pid)
        try:
            while process.poll() is None:
                watch.sample()
                time.sleep(_PERIOD_S)
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
                process.wait(_END_TIMEOUT_S)
        answer.seek(0)
        log.seek(0)
        told = log.read().decode(errors="replace").splitlines()
        if process.returncode not in (0, 1):
            raise HarnessError(f"bench: the run for the memory figures failed: {told[-1] if told else 'no message'}")
        verdict = _verdict(answer.read())
        # What a bad verdict is for stands in the lines after it; the memory is measured all the same.
        start = next((at for at, line in enumerate(told) if line.startswith("run ")), len(told))
        for line in told[start:] if verdict != "VALID" else ():
            tell(line)
    missing = {*names.INSTANCES, names.LOADGEN, names.ECHOSERVER, CONTROLLER} - set(watch.resident_bytes)
    if missing:
        raise HarnessError(f"bench: no process of {', '.join(sorted(missing))} was seen in the run for the memory")
    return watch, verdict


def _verdict(answer: bytes) -> str:
    try:
        runs = json.loads(answer)["summary"]["runs"]
        return ", ".join(str(run["verdict"]) for run in runs)
    except (ValueError, KeyError, TypeError):
        return "no verdict"
