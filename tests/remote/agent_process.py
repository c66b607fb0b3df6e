"""An agent as a process of its own, spoken to over pipes as SSH would."""

from __future__ import annotations

import subprocess
from typing import Any

from harness.remote.frames import FrameReader, pack


class AgentProcess:
    """Its process, and what it has said so far."""

    def __init__(self, popen: subprocess.Popen[bytes]) -> None:
        self.popen = popen
        self._reader = FrameReader()

    def ask(self, number: int, call: str, /, **arguments: Any) -> None:
        assert self.popen.stdin is not None
        self.popen.stdin.write(pack({"id": number, "call": call, "arguments": arguments}))
        self.popen.stdin.flush()

    def said(self) -> dict[str, Any]:
        assert self.popen.stdout is not None
        while (message := self._reader.next_message()) is None:
            data = self.popen.stdout.read1(65536)  # type: ignore[attr-defined]
            assert data, "the agent has ended"
            self._reader.feed(data)
        return message
