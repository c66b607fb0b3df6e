"""Is the final state what a reference reaches on the same packets? Asked of a process of its own, after the traffic."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness.experiment.processes import trace_path
from harness.profile.images import known_images
from harness.profile.model import Profile

DEADLINE_S = 120.0


def compare_with_reference(
    profile: Profile,
    folder: Path,
    instances: Sequence[str],
    state: Path | None,
    doubts: Sequence[str],
    table_seed: int = 0,
    last_records: int | None = None,
) -> dict[str, Any] | None:
    """{"equal", "difference"}; None where the profile does not verify. `doubts` make it unknown whatever comes out.

    instances: in the order in which they had the traffic; last_records: what the last one's trace held at the dump (its
    timer may have let entries expire since). The traces are removed once they have agreed with the state.
    """
    if not profile.dataplane.verify:
        return None
    if state is None or doubts:
        return {"equal": None, "difference": "; ".join(doubts) or "the state could not be read"}
    traces = [trace_path(folder, instance) for instance in instances]
    request = {
        "image_directory": str(known_images()[profile.vnf.image]),
        "parameters": profile.vnf.parameters,
        "traces": [str(path) for path in traces],
        "state": str(state),
        "last_records": last_records,
        "table_seed": table_seed,
    }
    try:
        done = subprocess.run(
            [sys.executable, "-m", "harness.vei.verify"],
            input=json.dumps(request).encode(),
            capture_output=True,
            timeout=DEADLINE_S,
            check=True,
        )
        result: dict[str, Any] = json.loads(done.stdout)
    except (subprocess.SubprocessError, OSError, ValueError) as error:
        return {"equal": None, "difference": f"the comparison did not finish: {error}"}
    if result.get("equal") is True:
        for path in traces:
            path.unlink(missing_ok=True)
    return result
