"""A figure of a run by its dotted path in summary.json. Pure."""

from __future__ import annotations

from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel

from harness.profile.checks import suggestion
from harness.record.summary import RunSummary


def metric_problem(path: str) -> str:
    """What is wrong with a dotted path into RunSummary; empty when it leads to a number."""
    model: type[BaseModel] = RunSummary
    keys = path.split(".")
    for depth, key in enumerate(keys):
        if key not in model.model_fields:
            where = ".".join(keys[:depth]) or "a run's summary"
            return f"{path!r:.80}: {where} has no {key!r:.60}{suggestion(key, tuple(model.model_fields))}"
        kinds = _kinds(model.model_fields[key].annotation)
        below = next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), None)
        if depth == len(keys) - 1:
            return "" if kinds & {int, float} and bool not in kinds else f"{path!r:.80} is not a number"
        if below is None:
            return f"{path!r:.80}: {'.'.join(keys[: depth + 1])} has nothing below it"
        model = below
    return f"{path!r:.80} is not a figure"


def metric_value(summary: RunSummary, path: str) -> float | None:
    """The figure; None where the run did not measure it."""
    value: Any = summary
    for key in path.split("."):
        value = getattr(value, key, None)
    return None if value is None else float(value)


def _kinds(annotation: Any) -> set[Any]:
    """The types a field may have, without None."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return _kinds(get_args(annotation)[0])
    if origin in (Union, UnionType):
        return {kind for member in get_args(annotation) for kind in _kinds(member)}
    return set() if annotation is NoneType else {annotation}
