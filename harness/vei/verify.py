"""`python -m harness.vei.verify`: compares an instance's final state with that of a reference on the same packets.

One JSON object on standard input, one on standard output: {"equal": true, false or null, "difference": text,
"records": n}. null is doubt: the traces do not hold everything the comparison needs.
"""

from __future__ import annotations

import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from harness.dataplane.replay import read_trace, replay
from harness.dataplane.table_check import live_records
from harness.dataplane.table_layout import table_specs
from harness.errors import HarnessError, UsageError
from harness.vei.image import load_image


class VerifyRequest(BaseModel):
    """traces: of the instances in the order in which they had the traffic; state: the dump (npz) of the last, made
    when its trace held `last_records` (null: all); table_seed: theirs, so that timer ticks find the same entries."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    image_directory: Path
    parameters: dict[str, bool | int | float | str]
    traces: tuple[Path, ...]
    state: Path
    last_records: int | None = None
    table_seed: int = 0


class Comparison(BaseModel):
    """What came of it."""

    equal: bool | None
    difference: str
    records: int = 0


def verify(request: VerifyRequest) -> Comparison:
    """Replay the traces through a fresh instance and compare every table. Doubt is `equal` None, never True."""
    image = load_image(request.image_directory, request.parameters, request.table_seed)
    try:
        traces = [read_trace(path) for path in request.traces]
        if request.last_records is not None:
            if len(traces[-1]) < request.last_records:
                raise HarnessError(f"the last trace holds {len(traces[-1])} of {request.last_records} packets")
            traces[-1] = traces[-1][: request.last_records]
        records = np.concatenate(traces)
        with np.load(request.state, allow_pickle=False) as archive:
            state = {name: archive[name] for name in archive.files}
        done = replay(image.announce, image.install, image.tables, records)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, HarnessError) as error:
        return Comparison(equal=None, difference=f"cannot be compared: {error}")
    reference = {spec.name: live_records(image.tables, tid) for tid, spec in enumerate(table_specs(image.tables))}
    difference = first_difference(reference, state)
    if difference:
        return Comparison(equal=False, difference=difference, records=done)
    entries = sum(int(table.shape[0]) for table in reference.values())
    return Comparison(equal=True, difference=f"{entries} entries equal after {done} packets", records=done)


def first_difference(reference: Mapping[str, Any], state: Mapping[str, Any]) -> str:
    """Empty when all tables are equal; else the first table that is not, and how many entries differ."""
    if set(reference) != set(state):
        return f"tables differ: {sorted(set(reference) ^ set(state))}"
    for name, expected in reference.items():
        found = {tuple(row) for row in np.atleast_2d(state[name]).tolist()}
        wanted = {tuple(row) for row in expected.tolist()}
        if found != wanted:
            missing, extra = wanted - found, found - wanted
            example = f", for instance {sorted(missing or extra)[0]}"
            return f"table {name}: {len(missing)} entries missing or changed, {len(extra)} not expected{example}"
    return ""


def main() -> int:
    """Entry point."""
    try:
        request = VerifyRequest.model_validate_json(sys.stdin.buffer.read())
        result = verify(request)
    except ValidationError as error:
        result = Comparison(equal=None, difference=str(UsageError(f"request: {error.error_count()} faults")))
    except HarnessError as error:
        result = Comparison(equal=None, difference=str(error))
    sys.stdout.write(result.model_dump_json() + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
