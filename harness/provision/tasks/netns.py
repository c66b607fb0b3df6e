"""A named network namespace."""

from __future__ import annotations

from collections.abc import Sequence

from harness.provision.connections.errors import NamespaceExists
from harness.provision.kernel import NamespaceIdentity
from harness.provision.task import Change, Context, State, Task

_KIND = "namespace"


class NetworkNamespace(Task):
    """Create a namespace. One of the same name that this run did not make is refused, never used."""

    name = "create network namespace"

    def __init__(self, node: str, netns: str) -> None:
        super().__init__(node)
        self.netns = netns

    @property
    def provides(self) -> str:
        return self.netns

    def wanted(self) -> State:
        return {self.netns: "present"}

    def observe(self, context: Context) -> State:
        identity = context.connection.namespace_identity(self.netns)
        if identity is None:
            return {}
        return {self.netns: "present" if identity == self._recorded(context) else "foreign"}

    def diff(self, observed: State) -> list[Change]:
        if observed.get(self.netns) == "foreign":
            raise NamespaceExists(self.netns)
        return super().diff(observed)

    def apply(self, context: Context, changes: Sequence[Change]) -> None:
        number = context.ownership.intend(_KIND, self.netns)

        def announce(identity: NamespaceIdentity) -> None:
            context.ownership.made(number, {"device": identity.device, "inode": identity.inode})

        try:
            context.connection.create_namespace(self.netns, announce)
        except NamespaceExists:
            context.ownership.gone(number)
            raise

    def undo(self, context: Context) -> None:
        item = context.ownership.find(_KIND, self.netns)
        if item is None:
            return
        identity = self._recorded(context)
        if identity is not None:
            context.connection.remove_namespace(self.netns, identity)
        context.ownership.gone(item.number)

    def _recorded(self, context: Context) -> NamespaceIdentity | None:
        item = context.ownership.find(_KIND, self.netns)
        if item is None or not item.made:
            return None
        return NamespaceIdentity(item.identity["device"], item.identity["inode"])
