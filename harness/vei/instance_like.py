"""What the sessions need of an instance: the part of harness.dataplane.instance.Instance they use.

The sessions are tested against an in-memory instance of this shape, and a test verifies that against the real one.
"""

from __future__ import annotations

from typing import Any, Protocol


class InstanceLike(Protocol):
    """See harness.dataplane.instance.Instance for the meaning of each method."""

    image_name: str
    image_version: str
    tables: Any

    @property
    def statelets_closed(self) -> bool: ...

    @property
    def announcing_overflowed(self) -> bool: ...

    @property
    def drained(self) -> tuple[int, ...]: ...

    def set_mode(self, mode: int) -> None: ...

    def freeze_and_announce(self, updates: int) -> int: ...

    def unfreeze(self) -> None: ...

    def stop_announcing(self) -> None: ...

    def commit(self) -> None: ...

    def take_statelets(self, out: Any, limit_bytes: int) -> tuple[int, int, int]: ...

    def install_statelets(self, data: Any, nbytes: int) -> tuple[int, int]: ...

    def install_duplicates(self, data: Any, nbytes: int) -> tuple[int, int]: ...

    def status(self) -> dict[str, Any]: ...
