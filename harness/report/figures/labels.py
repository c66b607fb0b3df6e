"""Labels moved apart along one axis."""

from __future__ import annotations

from collections.abc import Sequence


def spread(places: Sequence[float], gap: float) -> list[float]:
    """Places in [0, 1], in the order given, moved as little as needed so that neighbours are `gap` apart.

    Their order is kept. Where they do not all fit they are spaced evenly, closer than `gap`.
    """
    count = len(places)
    order = sorted(range(count), key=lambda i: places[i])
    gap = min(gap, 1.0 / (count - 1)) if count > 1 else gap
    # Blocks of labels that touch, each centred on where its members want to be.
    blocks: list[list[int]] = []
    starts: list[float] = []
    for i in order:
        blocks.append([i])
        starts.append(_start(places, [i], gap))
        while len(blocks) > 1 and starts[-2] + gap * len(blocks[-2]) > starts[-1]:
            last = blocks.pop()
            starts.pop()
            blocks[-1] = blocks[-1] + last
            starts[-1] = _start(places, blocks[-1], gap)
    moved = [0.0] * count
    for block, start in zip(blocks, starts, strict=True):
        for rank, i in enumerate(block):
            moved[i] = start + rank * gap
    return moved


def _start(places: Sequence[float], block: Sequence[int], gap: float) -> float:
    """Where the first label of a block goes, inside [0, 1]."""
    middle = sum(places[i] for i in block) / len(block)
    length = gap * (len(block) - 1)
    return min(max(middle - length / 2, 0.0), 1.0 - length)
