"""What would be sent of a capture file: `python -m loadgen.capture_describe`, before anything is provisioned.

A loadgen.capture_schedule.CaptureConfiguration as JSON on standard input; one event on standard output, "done" with
`figures` or "error" with a message.
"""

from __future__ import annotations

import sys

from pydantic import ValidationError

from harness.errors import UsageError
from loadgen.capture_flows import read_load
from loadgen.capture_schedule import CaptureConfiguration, build_capture_schedule, figures
from loadgen.process import LineReader, emit, run_process


def describe(_reader: LineReader, first_line: bytes) -> None:
    """Read, schedule, report. Raises UsageError."""
    try:
        configuration = CaptureConfiguration.model_validate_json(first_line)
    except ValidationError as error:
        raise UsageError(f"configuration: {error.errors(include_url=False)[0]['msg']}") from error
    load = read_load(configuration.path)
    emit("done", figures=figures(load, build_capture_schedule(load, configuration)))


if __name__ == "__main__":
    sys.exit(run_process(describe))
