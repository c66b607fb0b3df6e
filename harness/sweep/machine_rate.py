"""Round trips/s this machine carries without loss, by frame size: read from a bench report, or measured on the spot."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

from pydantic import ValidationError

from harness.bench.figures import BenchReport
from harness.errors import UsageError

_NAME = re.compile(r"round_trips_([0-9]+)B_per_s", re.ASCII)
MAX_FILE_BYTES = 16 << 20


def read_rates(path: Path) -> dict[int, float]:
    """Medians of the figures round_trips_<size>B_per_s of a report of `harness bench --output`, by size in bytes.

    UsageError where the file is no such report or has no such figure.
    """
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise UsageError(f"--bench {path}: larger than any report of harness bench")
        report = BenchReport.model_validate_json(path.read_bytes())
    except OSError as error:
        raise UsageError(f"--bench {path}: cannot be read ({error.strerror})") from error
    except ValidationError as error:
        where = ".".join(str(part) for part in error.errors()[0]["loc"]) or "the file"
        raise UsageError(f"--bench {path}: not a report of 'harness bench --output' ({where})") from error
    rates = {int(match[1]): f.median for name, f in report.figures.items() if (match := _NAME.fullmatch(name))}
    if not any(rate > 0 for rate in rates.values()):
        raise UsageError(f"--bench {path}: has no figure of round trips without loss; measure again")
    return {size: rate for size, rate in rates.items() if rate > 0}


def measure_rates(frame_sizes: Sequence[int], tell: Callable[[str], None]) -> dict[int, float]:
    """One coarse search per frame size on a testbed of its own, as `harness bench --quick` does it; removed after.

    HarnessError where it cannot be built.
    """
    # Imported here: all of it is compiled code, which reading a file needs none of.
    from harness.bench.round_trip import RoundTrips
    from harness.bench.scope import QUICK
    from harness.bench.setting import activate_source, bench_profile, bench_topology, source_spec
    from harness.bench.startup import new_secrets
    from harness.experiment.experiment import new_run_id
    from harness.provision.scratch import scratch_directory
    from harness.testbed.testbed import Testbed

    profile = bench_profile(dataplane={"verify": False})
    testbed = Testbed(bench_topology(new_run_id()))
    with scratch_directory("sweep") as scratch:
        try:
            testbed.provision()
            own = new_secrets()
            (started,) = testbed.start([source_spec(profile, testbed, scratch, own)])
            activate_source(testbed, started, own)
            trips = RoundTrips(testbed, profile, scratch, tell)
            return {size: float(trips.rates(size, QUICK)[0]) for size in frame_sizes}
        finally:
            testbed.teardown()
