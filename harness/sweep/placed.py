"""Sweeps of profiles that put their nodes on several hosts: these are connected once, before the first run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import UsageError
from harness.experiment.placed import require_root
from harness.profile.model import Profile
from harness.sweep.matrix import Cell

if TYPE_CHECKING:
    from harness.remote.spread import Spread

SpreadOf = Callable[[Profile], "Spread | None"]
"""The hosts of a profile's nodes; None where all are here."""


def placed_cells(cells: Sequence[Cell]) -> list[Cell]:
    """Cells whose nodes are not all on one host."""
    return [cell for cell in cells if cell.profile.placement.hosts]


def require_here(cells: Sequence[Cell], option: str) -> None:
    """UsageError where `option`, which sends whole runs to other machines or measures this one, meets such a cell."""
    for cell in placed_cells(cells):
        node, host = next(iter(cell.profile.placement.hosts.items()))
        raise UsageError(f"{option}: not for cell {cell.title}, whose {node} is on host {host!r} (placement.{node})")


@contextmanager
def connected_hosts(cells: Sequence[Cell], inventory: Path, tell: Callable[[str], None]) -> Iterator[SpreadOf]:
    """Reach all hosts that any cell has nodes on; they are left with the block. Errors as
    harness.remote.spread.connected."""
    placed = {_key(cell.profile): cell.profile.placement.hosts for cell in placed_cells(cells)}
    with ExitStack() as stack:
        spreads: dict[tuple[tuple[str, str], ...], Spread] = {}
        if placed:
            from harness.remote.spread import connected  # with the SSH library

            require_root()
            for key, nodes in placed.items():
                tell(f"connecting {', '.join(dict.fromkeys(nodes.values()))}")
                spreads[key] = stack.enter_context(connected(nodes, inventory, tell))
        yield lambda profile: spreads.get(_key(profile))


def _key(profile: Profile) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(profile.placement.hosts.items()))
