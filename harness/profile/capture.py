"""What a capture file amounts to as a load, asked of the program that will send it, and the profile that says so."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any

from harness.errors import MachineError, UsageError
from harness.profile.derived import NS_PER_S, load_duration_ns, requests
from harness.profile.model import Profile

DEADLINE_S = 300.0
_FLOWS_MAX = 16_384


def capture_configuration(profile: Profile) -> dict[str, Any]:
    """What the load generator is told of the capture."""
    load = profile.load
    return {
        "path": str(Path(load.capture.path).absolute()),
        "pace": load.capture.pace,
        "speed": load.capture.speed,
        "rate_bps": load.rate_bps,
        "duration_ns": load_duration_ns(profile),
        "hosts": load.hosts,
        "echo_addresses": load.echo_addresses,
    }


def with_capture(profile: Profile) -> Profile:
    """The profile with the rate, sizes and flows that its capture file has, and nothing sent beside them.

    UsageError (one line, the file's path first) for a file that cannot be sent.
    """
    configuration = capture_configuration(profile)
    try:
        status = Path(configuration["path"]).stat()
        mark = (status.st_mtime_ns, status.st_size, status.st_ino)
    except OSError:
        mark = (0, 0, 0)  # the program says it better
    found = capture_figures(json.dumps(configuration), mark)
    rate_bps = profile.load.rate_bps
    if profile.load.capture.pace == "capture":
        rate_bps = 2 * 8 * found["bytes"] * NS_PER_S // load_duration_ns(profile)
    capture = profile.load.capture.model_copy(
        update={
            "path": configuration["path"],
            "mean_frame_bytes": round(found["bytes"] / found["packets"]),
            "flows": found["flows"],
        }
    )
    of_file = {"rate_bps": max(1, rate_bps), "new_flows_per_s": 0, "server_packets_per_s": 0, "capture": capture}
    resolved = profile.model_copy(update={"load": profile.load.model_copy(update=of_file)})
    flows = max(1, min(found["flows"], _FLOWS_MAX, requests(resolved)))
    counted = {"flows": flows, "hosts": min(profile.load.hosts, flows)}
    return resolved.model_copy(update={"load": resolved.load.model_copy(update=counted)})


@lru_cache(maxsize=64)
def capture_figures(configuration: str, mark: tuple[int, ...]) -> dict[str, Any]:
    """Figures of loadgen.capture_schedule.figures for a configuration (JSON); `mark`: tells a changed file.

    UsageError for a file that cannot be sent, MachineError when the program that reads it does not run.
    """
    argv = [sys.executable, "-m", "loadgen.capture_describe"]
    try:
        done = subprocess.run(argv, input=f"{configuration}\n".encode(), capture_output=True, timeout=DEADLINE_S)
        event = json.loads(done.stdout.splitlines()[-1])
    except (OSError, subprocess.SubprocessError, ValueError, IndexError) as error:
        raise MachineError(f"the program that reads captures did not answer ({type(error).__name__})") from error
    if event.get("event") != "done":
        raise UsageError(str(event.get("message", "the capture cannot be read")))
    figures: dict[str, Any] = event["figures"]
    return figures
