"""Which figures of the papers show a model, and how each is drawn."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from harness.errors import UsageError
from harness.models import figures_chain, figures_multi_vm, figures_slim
from harness.models.figure import FigureData

FIGURES: dict[str, dict[int, Callable[[], FigureData]]] = {
    "slim": {6: figures_slim.statelet_factor_bound, 7: figures_slim.delta_migration},
    "multi-vm": {number: partial(figures_multi_vm.figure, number) for number in figures_multi_vm.TITLES},
    "chain": {
        2: figures_chain.comparison,
        3: figures_chain.migration_time,
        4: figures_chain.downtime,
        5: figures_chain.queues,
    },
}


def paper_figure(paper: str, number: int) -> FigureData:
    """The figure with the paper's parameters. UsageError: no such paper, or the figure shows no model."""
    if paper not in FIGURES:
        raise UsageError(f"no paper {paper!r}; there are {', '.join(FIGURES)}")
    if number not in FIGURES[paper]:
        known = ", ".join(map(str, FIGURES[paper]))
        raise UsageError(f"figure {number} of {paper!r} shows no model; those that do are {known}")
    return FIGURES[paper][number]()
