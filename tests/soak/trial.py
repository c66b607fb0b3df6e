"""One trial: a command is started, killed at some moment, and the machine put right by what comes next."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.soak.look import STATE_VARIABLE, Look, differences, look
from tests.soak.results import phase_reached, torn_files

ROOT = Path(__file__).resolve().parents[2]
COMMAND_S = 120.0
SHORT = {
    "load.rate": "8M",
    "load.flows": "16",
    "timing.warm_up": "200ms",
    "timing.window": "1s",
    "timing.migrate_at": "200ms",
    "timing.load_until": "600ms",
    "migration.filler": "256KiB",
}
STATELET = {"migration.modes": '["statelet"]'}
CONTROL = {"migration.modes": '["none"]', "dataplane.verify": "false"}
SWEEP = f"""
[sweep]
name = "soak"
profile = "{ROOT / "profiles" / "smoke.toml"}"
modes = ["statelet"]
retries = 0
[set]
""" + "".join(f'"{key}" = {value if value.isdecimal() else json.dumps(value)}\n' for key, value in SHORT.items())


def settings(*groups: dict[str, str]) -> list[str]:
    """--set for every key of these."""
    return [word for group in groups for key, value in group.items() for word in ("--set", f"{key}={value}")]


SYSCTL_SETTLE_S = 15.0
"""Another run on this machine, with another state directory, may hold the one parameter of the host for a while."""


@dataclass(frozen=True)
class Place:
    """Where the commands of a soak work: state, results and temporary files in folders of its own.

    foreign_sysctl: values the parameter had while nothing of ours changed it: one, unless others run the program here,
    too."""

    folder: Path
    foreign_sysctl: set[str] = field(default_factory=set)

    @property
    def state(self) -> Path:
        return self.folder / "state"

    @property
    def temporary(self) -> Path:
        return self.folder / "tmp"

    def results(self, number: int) -> Path:
        """Results of one trial."""
        return self.folder / f"results-{number}"

    def records_sysctl(self) -> bool:
        """Whether a command that is no more has left word of having changed the parameter of the host."""
        return any(b'"sysctl"' in path.read_bytes() for path in self.state.glob("*/objects.jsonl"))

    def look(self) -> Look:
        return look(self.state, self.temporary)

    def command(self, *arguments: object) -> list[str]:
        return [sys.executable, "-m", "harness", *map(str, arguments)]

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, STATE_VARIABLE: str(self.state), "TMPDIR": str(self.temporary)}

    def __call__(self, *arguments: object, deadline_s: float = COMMAND_S) -> subprocess.CompletedProcess[str]:
        """Run one command to its end."""
        return subprocess.run(
            self.command(*arguments),
            cwd=ROOT,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=deadline_s,
        )

    def start(self, *arguments: object) -> subprocess.Popen[bytes]:
        """Start one command, to be killed."""
        with (self.folder / "output").open("wb") as output:
            return subprocess.Popen(
                self.command(*arguments),
                cwd=ROOT,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )


def run_arguments(results: Path, *groups: dict[str, str]) -> list[object]:
    """Of a run of a few seconds."""
    return ["run", ROOT / "profiles" / "smoke.toml", "--results", results, *settings(SHORT, *groups)]


def settled(before: Look, place: Place) -> Look:
    """The machine now; others are given time to be done with the parameter of the host."""
    deadline = time.monotonic() + SYSCTL_SETTLE_S
    while (now := place.look()).sysctl not in place.foreign_sysctl and time.monotonic() < deadline:
        time.sleep(0.1)
    return now._replace(sysctl=before.sysctl) if now.sysctl in place.foreign_sysctl else now


Moment = Callable[[Path], bool]
"""Whether it has come, by the results of the trial."""


@dataclass
class Trial:
    """command: "run", "run --keep", "sweep" or "calibrate"; end: "clean", "next start" or "clean killed".

    The kill comes after_s from the start of the command, or delay_s after `until` says that its moment has come.

    thorough: clean once more, and make a report. fraction: where after_s shall lie between start and end, for who knows
    how long the command takes.

    After `carry_out`: phase: what it had reached; left: what was there when nothing had been put right; removed: what
    clean said it removed; problems: every difference and damage, none in a good trial."""

    number: int
    command: str = "run"
    end: str = "clean"
    after_s: float | None = None
    fraction: float | None = None
    until: Moment | None = None
    delay_s: float = 0.0
    thorough: bool = False
    resume: bool = False
    seed: int = 0
    phase: str = ""
    moment_s: float = 0.0
    was_running: bool = False
    left: list[str] = field(default_factory=list)
    removed: int = 0
    problems: list[str] = field(default_factory=list)

    def carry_out(self, place: Place) -> None:
        """Everything; problems are collected, not raised."""
        before = place.look()
        place.foreign_sysctl.add(before.sysctl)
        self._kill(place)
        self.phase = "calibrate" if self.command == "calibrate" else phase_reached(place.results(self.number))
        now = place.look()
        if self.was_running and not place.records_sysctl():
            place.foreign_sysctl.add(now.sysctl)  # not touched by us, so whatever stands there is somebody else's
        self.left = differences(before, now)
        self._put_right(place)
        after = settled(before, place)
        self.problems += differences(before, after)
        if self.thorough:
            again = place("clean")
            if again.returncode != 0 or "nothing to remove" not in again.stdout:
                self.problems.append(f"clean once more: {again.returncode} {again.stdout}{again.stderr}")
        self._read_results(place)

    def _arguments(self, place: Place) -> list[object]:
        results = place.results(self.number)
        if self.command == "sweep":
            file = place.folder / "soak.toml"
            file.write_text(SWEEP)
            return ["sweep", file, "--results", results, "--no-calibration"]
        if self.command == "calibrate":
            return ["doctor", "--calibrate"]
        return [*run_arguments(results, STATELET), *(["--keep"] if self.command == "run --keep" else [])]

    def _kill(self, place: Place) -> None:
        began = time.monotonic()
        process = place.start(*self._arguments(place))
        try:
            deadline = began + (self.after_s if self.after_s is not None else COMMAND_S)
            while process.poll() is None and time.monotonic() < deadline:
                if self.until is not None and self.until(place.results(self.number)):
                    time.sleep(self.delay_s)
                    break
                time.sleep(0.002)
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGKILL)
            self.moment_s = time.monotonic() - began
            self.was_running = process.wait() == -signal.SIGKILL
        if not self.was_running and not self.delay_s and self.until is not None:
            output = (place.folder / "output").read_text(errors="replace")
            self.problems.append(f"ended with {process.returncode} before it was killed: {output[-400:]}")

    def _put_right(self, place: Place) -> None:
        if self.end == "next start":
            done = place(*run_arguments(place.folder / f"next-{self.number}", CONTROL))
            if done.returncode != 0:
                self.problems.append(f"next start: {done.returncode} {done.stderr[-400:]}")
            if self.command == "run --keep":
                place("clean")  # what was kept is not the next start's to remove
            return
        if self.end == "clean killed":
            pause = random.Random(self.seed)
            for _ in range(2):
                cleaning = place.start("clean")
                with contextlib.suppress(subprocess.TimeoutExpired):
                    cleaning.wait(pause.uniform(0.15, 0.6))
                with contextlib.suppress(ProcessLookupError):
                    cleaning.kill()
                cleaning.wait()
        done = place("clean", "--json")
        if done.returncode != 0:
            self.problems.append(f"clean: {done.returncode} {done.stdout}{done.stderr}")
        else:
            self.removed = len(json.loads(done.stdout)["removed"])

    def _read_results(self, place: Place) -> None:
        results = place.results(self.number)
        if not results.is_dir():
            return
        self.problems += torn_files(results)
        for directory in sorted(path.parent for path in results.rglob("manifest.json")):
            if (directory / "sweep.json").exists():
                continue
            self._reads(place, ["show", directory], directory)
            if self.thorough:
                self._reads(place, ["show", directory, "--json"], directory)
                self._reads(place, ["report", directory], directory)
        for directory in results.glob("*") if self.resume else ():
            if (directory / "sweep.json").exists():
                words = ["sweep", place.folder / "soak.toml", "--resume", directory, "--no-calibration", "--json"]
                done = place(*words)
                if done.returncode not in (0, 1) or not json.loads(done.stdout)["complete"]:
                    self.problems.append(f"resume: {done.returncode} {done.stdout[-600:]}{done.stderr[-400:]}")

    def _reads(self, place: Place, words: Sequence[object], directory: Path) -> None:
        done = place(*words)
        whole = (directory / "summary.json").exists()
        if done.returncode != 0:
            self.problems.append(f"{words[0]}: {done.returncode} {done.stderr[-400:]}")
        elif not whole and "incomplete" not in done.stdout:
            self.problems.append(f'{words[0]}: does not say "incomplete": {done.stdout[-400:]}')
