"""Round trips generator - NAT - echo - NAT - generator without loss, each trial with a fresh load pair."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from harness.bench.scope import Scope
from harness.bench.search import SearchSettings, search_rate
from harness.bench.setting import Workload, trial_specs
from harness.profile.model import Profile
from harness.testbed.testbed import Testbed

START_PPS = 50_000
BACKLOG_SHARE = 0.05
"""A trial whose last reply comes later than this share of the trial after its request was due has only filled
buffers: several of 16 MiB lie on the way, which would hide an overload of a tenth for a second."""
_DRAIN_NS = 500_000_000
_LEAD_NS = 150_000_000
_DONE_TIMEOUT_S = 30.0


@dataclass(frozen=True)
class Trial:
    """One trial at one rate. `backlog_ns`: from the last request's due time to the last reply."""

    rate_pps: int
    intended_packets: int
    delivered_packets: int
    backlog_ns: int
    allowed_backlog_ns: int
    rtt_p50_ns: int | None
    loadgen_dropped_packets: int
    echoserver_dropped_packets: int

    @property
    def passed(self) -> bool:
        """Nothing lost, and the rate sustained."""
        return self.delivered_packets == self.intended_packets and self.backlog_ns <= self.allowed_backlog_ns

    @property
    def outcome(self) -> str:
        """Why it failed, in a few words; "held" where it did not."""
        if self.passed:
            return "held"
        lost = self.intended_packets - self.delivered_packets
        if lost:
            return f"lost {lost}"
        return f"backlog of {self.backlog_ns / 1e6:.0f} ms"


@dataclass
class RoundTrips:
    """Runs trials on a testbed whose source serves; `tell` hears of each one. `failures` counts why trials failed."""

    testbed: Testbed
    profile: Profile
    scratch: Path
    tell: Callable[[str], None]
    number: int = 0
    failures: Counter[str] = field(default_factory=Counter)

    def trial(self, rate_pps: int, frame_bytes: int, duration_ns: int) -> Trial:
        """Start a load pair, run it at `rate_pps`, end it, and read what it recorded."""
        self.number += 1
        folder = self.scratch / f"trial-{self.number}"
        folder.mkdir()
        workload = Workload(rate_pps, duration_ns, frame_bytes, _DRAIN_NS)
        pair = self.testbed.start(trial_specs(self.profile, self.testbed, self.number, workload, folder))
        try:
            echoserver, loadgen = (started.process for started in pair)
            start_ns = time.monotonic_ns() + _LEAD_NS
            for process in (echoserver, loadgen):
                process.send({"cmd": "start", "start_ns": start_ns})
            loadgen.wait_event("done", _DONE_TIMEOUT_S)
            echoserver.send({"cmd": "stop"})
            echoserver.wait_event("done", _DONE_TIMEOUT_S)
        finally:
            for started in pair:
                started.process.stop()
        trial = judge(folder, rate_pps, duration_ns)
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()
        if not trial.passed:
            self.failures["lost" if trial.delivered_packets < trial.intended_packets else "backlog"] += 1
        self.tell(f"{frame_bytes} bytes, {rate_pps:,} round trips/s: {trial.outcome}")
        return trial

    def rates(self, frame_bytes: int, scope: Scope) -> list[int]:
        """Rates without loss (1/s) of `scope.searches` searches; the later ones begin where the one before ended."""
        found: list[int] = []
        for number in range(scope.searches):
            settings = SearchSettings(
                start=found[-1] if number and found[-1] else START_PPS,
                growth=1.15 if number and found[-1] else 2.0,
                resolution=scope.round_trip_resolution,
                attempts=scope.attempts,
                confirmations=scope.confirmations,
            )
            result = search_rate(lambda rate: self.trial(rate, frame_bytes, scope.round_trip_trial_ns).passed, settings)
            self.tell(f"{frame_bytes} bytes, search {number + 1} of {scope.searches}: {result.rate:,} round trips/s")
            found.append(result.rate)
        return found


def judge(folder: Path, rate_pps: int, duration_ns: int) -> Trial:
    """The trial from the files its load pair left in `folder`. OSError, KeyError or ValueError where they are not
    whole."""
    report = json.loads((folder / "loadgen.json").read_bytes())
    echo_report = json.loads((folder / "echoserver.json").read_bytes())
    with np.load(folder / "loadgen.npz") as arrays:
        intended_ns, received_ns = arrays["intended_ns"], arrays["received_ns"]
    back = received_ns > 0
    backlog_ns = int(received_ns.max() - intended_ns[-1]) if back.any() else 0
    return Trial(
        rate_pps=rate_pps,
        intended_packets=int(intended_ns.size),
        delivered_packets=int(np.count_nonzero(back)),
        backlog_ns=backlog_ns,
        allowed_backlog_ns=int(duration_ns * BACKLOG_SHARE),
        rtt_p50_ns=int(np.median((received_ns - intended_ns)[back])) if back.any() else None,
        loadgen_dropped_packets=int(report["kernel_dropped_packets"]),
        echoserver_dropped_packets=int(echo_report["kernel_dropped_packets"]),
    )
