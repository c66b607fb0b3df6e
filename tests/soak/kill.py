"""`python -m tests.soak.kill [--count N] [--seed N]`: kill the program at every phase and N random moments.

After each kill `harness clean`, a clean that is killed itself twice, or the next start has to put the machine right;
what was written has to be readable. Objects of others with look-alike names stand beside it all the while. One line per
trial and a table by phase; exit status 1 at the first difference, with everything that is known of it.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.soak.look import STATE_VARIABLE, private_names
from tests.soak.results import PROVISIONING, RECORDING, TEAR_DOWN, journalled
from tests.soak.trial import Moment, Place, Trial

PHASES = (
    PROVISIONING,
    "boot",
    "warm_up",
    "window",
    "controller.snapshot",
    "controller.resynchronise",
    "controller.switchover",
    "controller.drain",
    "controller.completed",
    "load_end",
    "collect",
    RECORDING,
    TEAR_DOWN,
)
LENGTHS_S = {"run": 5.5, "calibrate": 9.0}
"""From the start of a command to its end on two idle cores; that of the calibration is learnt while the soak runs."""
DELAY_S = 0.6
"""A random moment is this long after a phase drawn by lot, at most: all are met however slow the machine is."""
LONGER = 1.15
COMPILE_S = 900.0
LOOK_ALIKE = "abcd1234"


def reached(phase: str) -> Moment:
    """Until a run has come to a phase."""
    return lambda results: phase in journalled(results)


def trials(count: int, seed: int) -> list[Trial]:
    """Every phase once, then a few of each kind, then `count` random moments."""
    dice = random.Random(seed)
    chosen = [Trial(0, after_s=0.2)]
    chosen += [Trial(0, until=reached(phase), thorough=True) for phase in PHASES]
    chosen += [
        Trial(0, command="run --keep", until=reached("window"), end="next start"),
        Trial(0, command="run --keep", until=reached(TEAR_DOWN), end="clean"),
        Trial(0, command="sweep", until=reached("boot"), resume=True),
        Trial(0, command="sweep", until=reached("collect"), end="next start", resume=True),
        Trial(0, command="calibrate", after_s=4.0, end="clean killed"),
        Trial(0, until=reached("window"), end="clean killed"),
    ]
    for _ in range(count):
        command = dice.choices(["run", "sweep", "calibrate", "run --keep"], [70, 15, 10, 5])[0]
        end = dice.choices(["clean", "next start", "clean killed"], [70, 15, 15])[0]
        chosen.append(
            Trial(
                0,
                command=command,
                end=end,
                fraction=dice.random() if command == "calibrate" else None,
                until=None if command == "calibrate" else reached(dice.choice(PHASES)),
                delay_s=0.0 if command == "calibrate" else dice.uniform(0.0, DELAY_S),
                thorough=dice.random() < 0.1,
                resume=dice.random() < 0.3,
                seed=dice.getrandbits(32),
            )
        )
    for number, trial in enumerate(chosen, 1):
        trial.number = number
    return chosen


@contextmanager
def look_alikes(place: Place) -> Iterator[None]:
    """A namespace, a link, a process, a temporary folder and a state of others that look like ours."""
    owner = f"1:1:1:{place.folder / 'other'}"
    environment = {**os.environ, "SLIM_HARNESS_OWNER": owner, STATE_VARIABLE: str(place.folder / "other")}
    name = f"{LOOK_ALIKE}-source"
    subprocess.run(["ip", "netns", "add", name], check=True)
    link = f"soak{os.getpid()}"
    subprocess.run(["ip", "link", "add", link, "type", "bridge"], check=True)
    subprocess.run(["ip", "link", "set", link, "alias", f"slim-harness run={LOOK_ALIKE}"], check=True)
    (place.temporary / "slim-harness-bench-others").mkdir()
    words = ["ip", "netns", "exec", name, sys.executable, "-c", "input()", "-m", "harness.vei"]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, env=environment) as process:
        try:
            yield
            if process.poll() is not None:
                raise AssertionError("the process of another owner was ended")
        finally:
            process.kill()
            subprocess.run(["ip", "link", "del", link], check=False)
            subprocess.run(["ip", "netns", "del", name], check=False)


def learn(lengths_s: dict[str, float], trial: Trial) -> None:
    """How long a command takes here: one that had ended took less than thought, one that had far to go takes longer."""
    if trial.fraction is None:
        return
    if not trial.was_running:
        lengths_s[trial.command] = max(LENGTHS_S[trial.command], lengths_s[trial.command] / LONGER)
    elif trial.fraction > 0.7:
        lengths_s[trial.command] = min(4 * LENGTHS_S[trial.command], lengths_s[trial.command] * LONGER)


def line_of(trial: Trial) -> str:
    """One line for a trial."""
    kinds: dict[str, int] = defaultdict(int)
    for entry in trial.left:
        kinds[entry.split(":")[0]] += 1
    left = ", ".join(f"{count} {kind}" for kind, count in kinds.items()) or "nothing"
    verdict = "as before" if not trial.problems else "DIFFERENT"
    removed = f"{trial.removed} removed" if trial.end != "next start" else "next start"
    head = f"{trial.number:4} {trial.command:10} {trial.moment_s:6.2f} s  {trial.phase:26}"
    return f"{head} {trial.end:13} left {left}; {removed}; {verdict}"


def table_of(made: list[Trial]) -> list[str]:
    """By phase: trials, of which left something, objects removed, different."""
    rows: dict[str, list[Trial]] = defaultdict(list)
    for trial in made:
        rows[trial.phase].append(trial)
    order = sorted(rows, key=lambda phase: (PHASES.index(phase) if phase in PHASES else -1, phase))
    lines = [f"{'phase':28} {'trials':>6} {'left something':>14} {'removed':>8} {'different':>9}"]
    for phase in [*order, "all"]:
        of = made if phase == "all" else rows[phase]
        removed = sum(trial.removed for trial in of)
        leaving, different = sum(bool(trial.left) for trial in of), sum(bool(trial.problems) for trial in of)
        lines.append(f"{phase:28} {len(of):6} {leaving:14} {removed:8} {different:9}")
    return lines


def main() -> int:
    """Run the soak; 0 when the machine was as before after every trial."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--skip", type=int, default=0, metavar="N", help="leave the first N trials out")
    parser.add_argument("--go-on", action="store_true", help="do not end at the first difference")
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # what stands beside the trials goes in any case
    private_names()
    folder = Path(tempfile.mkdtemp(prefix="soak-kill-"))
    place = Place(folder)
    place.temporary.mkdir()
    warmed = place("doctor", "--warm-cache", "--quiet", deadline_s=COMPILE_S)
    print(f"warm: {warmed.returncode}; in {folder}", flush=True)
    made: list[Trial] = []
    began = time.monotonic()
    with look_alikes(place):
        lengths_s = dict(LENGTHS_S)
        for trial in trials(asked.count, asked.seed)[asked.skip :]:
            if trial.fraction is not None:
                trial.after_s = trial.fraction * lengths_s[trial.command]
            trial.carry_out(place)
            learn(lengths_s, trial)
            made.append(trial)
            print(line_of(trial), flush=True)
            for problem in trial.problems:
                print(f"     {problem}", flush=True)
            if trial.problems and not asked.go_on:
                print(f"everything of it is in {folder}; left when killed:", *trial.left, sep="\n     ")
                break
            for results in (place.results(trial.number), folder / f"next-{trial.number}"):
                shutil.rmtree(results, ignore_errors=True)
    print(*table_of(made), sep="\n")
    print(f"{time.monotonic() - began:.0f} s, seed {asked.seed}")
    failed = any(trial.problems for trial in made)
    if not failed:
        shutil.rmtree(folder)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
