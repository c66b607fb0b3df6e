"""Is the final state what a reference reaches on the same packets? Asked of a process of its own, after the traffic."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness.errors import HarnessError
from harness.profile.images import known_images
from harness.profile.model import Profile
from harness.provision.connections.spawned import Child
from harness.provision.connections.template import Template

DEADLINE_S = 120.0
MODULE = "harness.vei.verify"


class Reference:
    """The process that compares, started before it is asked: most of a second goes by until it has loaded its code.

    Start it when the traffic has ended; it then waits for its request. `close` ends it, asked or not.
    """

    def __init__(self, template: Template | None = None) -> None:
        """template: one to fork it from, if it knows MODULE."""
        if template is not None and MODULE in template.modules:
            with Path(os.devnull).open("wb") as nowhere:
                self._process: Child = template.start(MODULE, nowhere.fileno())
        else:
            self._process = subprocess.Popen(
                [sys.executable, "-m", MODULE],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """Its answer; once. HarnessError, OSError or ValueError where there is none."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(json.dumps(request).encode())
        stdin.close()
        late = threading.Timer(DEADLINE_S, self._process.kill)
        late.start()
        try:
            output = stdout.read()
            status = self._process.wait(DEADLINE_S)
        except subprocess.TimeoutExpired as error:
            raise HarnessError(str(error)) from error
        finally:
            late.cancel()
        if status != 0:
            raise HarnessError(f"the comparing process ended with exit status {status}")
        answer: dict[str, Any] = json.loads(output)
        return answer

    def close(self) -> None:
        """End the process. Doing it twice is no error."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):  # what was buffered for a process that has ended
                    stream.close()


def compare_with_reference(
    profile: Profile,
    traces: Sequence[Path],
    state: Path | None,
    doubts: Sequence[str],
    table_seed: int = 0,
    last_records: int | None = None,
    reference: Reference | None = None,
) -> dict[str, Any] | None:
    """{"equal", "difference"}; None where the profile does not verify. `doubts` make it unknown whatever comes out.

    traces: of the instances, in the order in which they had the traffic; last_records: what the last one held at the
    dump (its timer may have let entries expire since); reference: one that has been started already, which is used up.
    The traces are removed once they have agreed with the state.
    """
    if not profile.dataplane.verify:
        return None
    if state is None or doubts:
        return {"equal": None, "difference": "; ".join(doubts) or "the state could not be read"}
    request = {
        "image_directory": str(known_images()[profile.vnf.image]),
        "parameters": profile.vnf.parameters,
        "traces": [str(path) for path in traces],
        "state": str(state),
        "last_records": last_records,
        "table_seed": table_seed,
    }
    asked = None
    try:
        asked = reference or Reference()
        result = asked.ask(request)
    except (HarnessError, OSError, ValueError) as error:
        return {"equal": None, "difference": f"the comparison did not finish: {error}"}
    finally:
        if asked is not None:
            asked.close()
    if result.get("equal") is True:
        for path in traces:
            path.unlink(missing_ok=True)
    return result
