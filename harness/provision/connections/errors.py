"""Errors about namespaces, common to all connections."""

from __future__ import annotations

from harness.errors import MachineError


class NamespaceMissing(MachineError):
    """There is no network namespace of that name."""

    def __init__(self, name: str) -> None:
        super().__init__(f"network namespace {name}: there is none of that name")
        self.name = name


class NamespaceExists(MachineError):
    """A network namespace of that name is there already, and it is not ours to use."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"network namespace {name}: exists already and is someone else's; it stays as it is, use another run id"
        )
        self.name = name
