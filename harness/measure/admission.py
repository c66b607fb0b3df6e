"""Who explains what vanished: packets missing on several wires, and causes that each admit to a number on some of them.

Pure. Small: four wires, some twenty bounds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def apportion(total: int, weights: Sequence[int]) -> list[int]:
    """Split `total` in proportion to `weights` by largest remainder (Hamilton); no part exceeds its weight.

    ValueError unless 0 <= total <= sum(weights). Ties go to the first.
    """
    whole = sum(weights)
    if not 0 <= total <= whole or any(weight < 0 for weight in weights):
        raise ValueError(f"cannot split {total} over {list(weights)}")
    if whole == 0:
        return [0] * len(weights)
    parts = [total * weight // whole for weight in weights]
    remainders = sorted(range(len(weights)), key=lambda i: (-(total * weights[i] % whole), i))
    for i in remainders[: total - sum(parts)]:
        parts[i] += 1
    return parts


def admit(vanished: Mapping[str, int], bounds: Sequence[tuple[Sequence[str], int]]) -> list[dict[str, int]]:
    """For each bound (wires, packets it admits to on all of them together) what it explains, by wire.

    The first bounds explain as much as they can, in proportion to what their wires still miss. What a wire misses then
    is explained by moving: a bound takes there what it gives to another wire, where a later one makes up for it. So as
    many packets are explained as the bounds allow at all (a maximum flow), and no bound explains more than it admits.
    """
    left = dict(vanished)
    given: list[dict[str, int]] = []
    for wires, packets in bounds:
        weights = [left[name] for name in wires]
        parts = dict(zip(wires, apportion(min(packets, sum(weights)), weights), strict=True))
        given.append(parts)
        for name, part in parts.items():
            left[name] -= part
    spare = [packets - sum(parts.values()) for (_, packets), parts in zip(bounds, given, strict=True)]
    for wire in vanished:
        while left[wire] > 0 and (path := _moves(wire, given, spare)):
            moved = min([left[wire], spare[path[-1][0]], *(given[bound][source] for bound, _, source in path[:-1])])
            for bound, target, source in path:
                given[bound][target] += moved
                if source:
                    given[bound][source] -= moved
                else:
                    spare[bound] -= moved
            left[wire] -= moved
    return given


def _moves(wire: str, given: Sequence[Mapping[str, int]], spare: Sequence[int]) -> list[tuple[int, str, str]]:
    """The shortest row of moves that explains more on `wire`, each (bound, to, from), the last from what is spare ("");
    empty if there is none.
    """
    reached: dict[str, list[tuple[int, str, str]]] = {wire: []}
    waiting = [wire]
    while waiting:
        target = waiting.pop(0)
        for bound, parts in enumerate(given):
            if target not in parts:
                continue
            if spare[bound] > 0:
                return [*reached[target], (bound, target, "")]
            for source, part in parts.items():
                if part > 0 and source not in reached:
                    reached[source] = [*reached[target], (bound, target, source)]
                    waiting.append(source)
    return []
