"""What is needed of an agent by whoever asks it: one call at a time, with a deadline."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol


class Caller(Protocol):
    """Someone who answers the calls of an agent: harness.remote.session.RemoteHost, or this process itself."""

    def call(self, name: str, deadline_s: float = ..., **arguments: Any) -> dict[str, Any]:
        """One call and its answer. HarnessError."""


class LocalCaller:
    """The harness's own host: the same calls, made here."""

    def __init__(self, calls: Mapping[str, Callable[..., dict[str, Any]]]) -> None:
        self._calls = calls

    def call(self, name: str, deadline_s: float = 0.0, **arguments: Any) -> dict[str, Any]:
        """Make the call; it keeps its own deadlines."""
        return self._calls[name](**arguments)
